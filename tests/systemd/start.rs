//! Start, stop, and what may keep the proxy from starting.

use std::net::TcpListener;

use crate::{
    clients::{Session, is_refused},
    common::{
        bench::Encryption::Insecure,
        dovecot::Dovecot,
        peer::{self, Server},
    },
    rig::{CONFIG, Rig, eventually, service},
};

#[test]
fn is_ready_once_it_listens() {
    let dovecot = Dovecot::start();
    let upstream = dovecot.address(Insecure).port();
    let rig = Rig::start(|rig| service("mail", rig.at(143), Insecure, upstream));
    for _ in 0..10 {
        rig.ok("systemctl stop imap-proxy");
        assert!(is_refused(rig.at(143)));
        rig.ok("systemctl start imap-proxy");
        Session::open(rig.at(143), Insecure).logout();
    }
    // The last session may end a little later than its client.
    let none = "services: 1, sessions: 0; configuration of ";
    eventually("no sessions", || rig.status().starts_with(none), || rig.status());
    let session = Session::open(rig.at(143), Insecure);
    assert!(rig.status().starts_with("services: 1, sessions: 1; "), "{}", rig.status());
    let shown = rig.ok("systemctl status imap-proxy");
    assert!(shown.contains("Status: \"services: 1, sessions: 1; "), "{shown}");
    session.logout();
    assert_eq!(rig.property("Result"), "success");
}

/// What the offline score cannot see: that the directives are in force on the host.
#[test]
fn is_confined() {
    let server = Server::listen();
    let rig = Rig::start(|rig| service("mail", rig.at(143), Insecure, server.address().port()));
    let exposure = exposure(&rig);
    assert!(exposure <= 1.4, "{exposure}");
}

#[test]
fn a_bad_config_is_told_and_not_tried_again() {
    let server = Server::listen();
    let upstream = server.address().port();
    let rig = Rig::start(|rig| service("mail", rig.at(143), Insecure, upstream));
    rig.ok("systemctl stop imap-proxy");
    let config = service("mail", rig.at(143), Insecure, upstream);
    let broken = config.replacen("\"Insecure\"", "\"No\"", 1);
    let column = broken.lines().find_map(|line| line.find("\"No\"")).expect("just put there") + 1;
    rig.write(CONFIG, &broken);
    rig.fails("systemctl start imap-proxy");
    assert_eq!(rig.property("ActiveState"), "failed");
    assert_eq!(rig.property("ExecMainStatus"), "78");
    assert_eq!(rig.property("NRestarts"), "0");
    rig.wait_log(&format!("{CONFIG}:3:{column}: `encryption`: unknown value `No`"));

    rig.write(CONFIG, &config);
    rig.ok("systemctl start imap-proxy");
    assert!(!is_refused(rig.at(143)));
}

/// It may be a daemon that stops a little later: systemd tries again.
#[test]
fn an_address_that_is_taken_is_waited_for() {
    let server = Server::listen();
    let rig = Rig::start(|rig| service("mail", rig.at(143), Insecure, server.address().port()));
    rig.ok("systemctl stop imap-proxy");
    let other = TcpListener::bind(rig.at(143)).expect("free now");
    rig.fails("systemctl start imap-proxy");
    rig.wait_log(&format!(
        "service \"mail\" cannot listen on {}: Address already in use",
        rig.at(143)
    ));
    assert_ne!(rig.property("ActiveState"), "active");
    drop(other);
    rig.wait_property("ActiveState", "active");
    let _client = peer::client(rig.at(143));
}

/// systemd binds the ports; the order of its sockets says nothing about which is which.
#[test]
fn sockets_come_from_systemd() {
    let (one, two) = (Server::listen(), Server::listen());
    let rig = Rig::start(|rig| two_services(rig, &one, &two));
    socket_activated(&rig, &["10-socket-activated"]);
    for _ in 0..5 {
        // The first client starts it.
        served(&rig, &one, &two);
        rig.wait_property("ActiveState", "active");
        rig.ok("systemctl stop imap-proxy");
    }
    served(&rig, &one, &two);
    rig.wait_property("ActiveState", "active");
    assert_eq!(rig.property("CapabilityBoundingSet"), "");
    let exposure = exposure(&rig);
    assert!(exposure <= 1.1, "{exposure}");
    let log = rig.log();
    assert!(!log.contains("no service does") && !log.contains("cannot listen"), "{log}");
}

/// The least that it can do with: no capability, an empty root, and nobody but this host.
#[test]
fn all_drop_ins_together() {
    let (one, two) = (Server::listen(), Server::listen());
    let rig = Rig::start(|rig| two_services(rig, &one, &two));
    socket_activated(&rig, &["10-socket-activated", "20-chroot", "30-ip-allow"]);
    served(&rig, &one, &two);
    rig.wait_property("ActiveState", "active");
    let exposure = exposure(&rig);
    assert!(exposure <= 0.9, "{exposure}");

    let third = service("three", rig.at(1143), Insecure, one.address().port());
    rig.reload(&(two_services(&rig, &one, &two) + &third));
    rig.wait_log("changed: added \"three\"");
    rig.ok("systemctl restart imap-proxy");
    served(&rig, &one, &two);
    let mut client = peer::client(rig.at(1143));
    one.accept().send("* OK ready\r\n");
    client.expect("* OK ready\r\n");
    let trace = || rig.fields("IMAP_RESPONSE", "IMAP_SERVICE=three");
    eventually("a trace", || trace().first().is_some_and(|first| first == "OK"), || rig.log());
}

fn two_services(rig: &Rig, one: &Server, two: &Server) -> String {
    service("one", rig.at(143), Insecure, one.address().port())
        + &service("two", rig.at(993), Insecure, two.address().port())
}

/// Has systemd listen in place of the proxy, which is stopped, with these drop-ins of the package.
fn socket_activated(rig: &Rig, drop_ins: &[&str]) {
    let (examples, units) = ("/usr/share/doc/imap-proxy/examples", "/etc/systemd/system");
    rig.ok("systemctl stop imap-proxy");
    rig.ok(&format!("cp {examples}/*.socket {units} && mkdir {units}/imap-proxy.service.d"));
    for name in drop_ins {
        let file = format!("imap-proxy.service.d/{name}.conf");
        rig.ok(&format!("cp {examples}/{file} {units}/{file}"));
    }
    // The sockets as shipped would be those of the whole host.
    for (socket, port) in [("imap-proxy-imap", 143), ("imap-proxy-imaps", 993)] {
        let text = format!("[Socket]\nListenStream=\nListenStream={}\n", rig.at(port));
        rig.write(&format!("{units}/{socket}.socket.d/test.conf"), &text);
    }
    rig.ok("systemctl daemon-reload");
    rig.ok("systemctl start imap-proxy-imap.socket imap-proxy-imaps.socket");
    assert_eq!(rig.property("ActiveState"), "inactive");
}

/// A client of each service reaches the server of that service.
fn served(rig: &Rig, one: &Server, two: &Server) {
    for (port, server) in [(143, one), (993, two)] {
        let mut client = peer::client(rig.at(port));
        server.accept().send("* OK ready\r\n");
        client.expect("* OK ready\r\n");
    }
}

/// The exposure level of the unit as it runs.
fn exposure(rig: &Rig) -> f64 {
    let report = rig.ok("systemd-analyze security --no-pager imap-proxy.service");
    let line =
        report.lines().find(|line| line.contains("Overall exposure level")).expect("a level");
    let (_, level) = line.rsplit_once(": ").expect("a level");
    level.split_whitespace().next().expect("a level").parse().expect("a number")
}
