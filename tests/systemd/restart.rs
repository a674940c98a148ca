//! Restarts, crashes and hangs under clients that connect without pause.

use crate::{
    clients::{Session, Stream},
    common::{bench::Encryption::Insecure, dovecot::Dovecot, peer},
    rig::{Rig, service},
};

struct Site {
    rig: Rig,
    dovecot: Dovecot,
}

impl Site {
    fn start() -> Self {
        let dovecot = Dovecot::start();
        let upstream = dovecot.address(Insecure).port();
        let rig = Rig::start(|rig| service("mail", rig.at(143), Insecure, upstream));
        Self { rig, dovecot }
    }

    fn stream(&self) -> Stream {
        Stream::to(self.rig.at(143))
    }
}

#[test]
fn restart_refuses_nobody() {
    let site = Site::start();
    let stream = site.stream();
    for _ in 0..5 {
        let mut idle = Session::open(site.rig.at(143), Insecure);
        site.rig.ok("systemctl restart imap-proxy");
        idle.0.expect_line_starting("* BYE proxy: ");
        idle.0.eof();
        stream.wait_greeted();
    }
    assert_eq!(stream.stop(), 0);
    Session::open(site.rig.at(143), Insecure).logout();
}

#[test]
fn crash_refuses_nobody() {
    let site = Site::start();
    let stream = site.stream();
    for restarts in 1..=3 {
        site.rig.ok("systemctl kill --signal KILL --kill-whom main imap-proxy");
        site.rig.wait_property("NRestarts", &restarts.to_string());
        stream.wait_greeted();
    }
    assert_eq!(stream.stop(), 0);
    Session::open(site.rig.at(143), Insecure).logout();
}

/// The tests above are able to fail.
#[test]
fn without_the_store_clients_are_refused() {
    let site = Site::start();
    site.rig.drop_in("[Service]\nFileDescriptorStoreMax=0\n");
    site.rig.ok("systemctl restart imap-proxy");
    let stream = site.stream();
    site.rig.ok("systemctl restart imap-proxy");
    stream.wait_greeted();
    let by_restart = stream.refused();
    assert_ne!(by_restart, 0);
    site.rig.ok("systemctl kill --signal KILL --kill-whom main imap-proxy");
    site.rig.wait_property("NRestarts", "1");
    stream.wait_greeted();
    assert!(stream.stop() > by_restart);
}

#[test]
fn a_hang_is_found_and_ended() {
    let site = Site::start();
    site.rig.drop_in("[Service]\nWatchdogSec=2s\n");
    site.rig.ok("systemctl restart imap-proxy");
    let hung = site.rig.property("MainPID");
    site.rig.ok("systemctl kill --signal STOP --kill-whom main imap-proxy");
    // Who comes meanwhile waits, and is served.
    let mut client = peer::client(site.rig.at(143));
    client.expect_line_starting("* OK");
    site.rig.wait_property("ActiveState", "active");
    assert_eq!(site.rig.property("NRestarts"), "1");
    assert_ne!(site.rig.property("MainPID"), hung);
    let log = site.rig.log();
    assert!(log.contains("Watchdog timeout (limit 2s)"), "{log}");
}

/// A service that is gone leaves no socket behind that nobody reads.
#[test]
fn the_store_holds_what_is_listened_to() {
    let site = Site::start();
    let rig = &site.rig;
    let upstream = site.dovecot.address(Insecure).port();
    let mail = service("mail", rig.at(143), Insecure, upstream);
    let more = service("more", rig.at(1143), Insecure, upstream);
    rig.reload(&(mail.clone() + &more));
    rig.wait_property("NFileDescriptorStore", "2");
    rig.reload(&mail);
    rig.wait_property("NFileDescriptorStore", "1");
    rig.reload(&more);
    rig.ok("systemctl restart imap-proxy");
    rig.wait_property("NFileDescriptorStore", "1");
    Session::open(rig.at(1143), Insecure).logout();
}
