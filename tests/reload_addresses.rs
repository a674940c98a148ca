//! A listening socket belongs to its address.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use common::{
    bench::{Encryption::Insecure, GREETING, service_to},
    live::{ALL, Live, free_port, refuses},
    peer::Server,
    proxy::Proxy,
};

const BY_SIGHUP: &str = "[watch]\nenabled = false\n";

fn service(name: &str, host: &str, port: u16, server: &Server) -> String {
    service_to(name, Insecure, Insecure, server.address().port(), "").replacen(
        "\"127.0.0.1\", port = 0",
        &format!("\"{host}\", port = {port}"),
        1,
    )
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Whether a new client gets to this server.
#[track_caller]
fn leads_to(address: SocketAddr, server: &Server) {
    Live::begin(address, server, ALL[0]).survives();
}

#[test]
fn services_that_trade_addresses_refuse_nobody() {
    let servers = [Server::listen(), Server::listen()];
    let ports = [free_port(), free_port()];
    let config = |ports: [u16; 2]| {
        let [a, b] = [("a", ports[0], &servers[0]), ("b", ports[1], &servers[1])]
            .map(|(name, port, server)| service(name, "127.0.0.1", port, server));
        format!("{BY_SIGHUP}{a}{b}")
    };
    let proxy = Proxy::start(&config(ports));
    let (done, connects) = (AtomicBool::new(false), AtomicUsize::new(0));
    // Servers that nobody accepts at would refuse sooner or later; so one greets them all.
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    server.accept().send(GREETING);
                }
            });
        }
        for port in ports {
            let (done, connects) = (&done, &connects);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    TcpStream::connect(local(port)).expect("somebody always listens");
                    connects.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..10 {
            let ports = if round % 2 == 0 { [ports[1], ports[0]] } else { ports };
            let before = connects.load(Ordering::Relaxed);
            let line = proxy.reload(&config(ports));
            assert!(line.contains("\"a\" (address), \"b\" (address)"), "{line}");
            while connects.load(Ordering::Relaxed) < before + 10 {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        // The last ones to wait.
        for server in &servers {
            let _ = TcpStream::connect(server.address());
        }
    });
    assert!(!proxy.log().contains("no longer listening"));
}

#[test]
fn services_that_trade_addresses_lead_to_the_right_server() {
    let (one, two) = (Server::listen(), Server::listen());
    let (p, q) = (free_port(), free_port());
    let config = |p, q| {
        let (a, b) = (service("a", "127.0.0.1", p, &one), service("b", "127.0.0.1", q, &two));
        format!("{BY_SIGHUP}{a}{b}")
    };
    let proxy = Proxy::start(&config(p, q));
    leads_to(local(p), &one);
    leads_to(local(q), &two);
    for _ in 0..3 {
        proxy.reload(&config(q, p));
        leads_to(local(q), &one);
        leads_to(local(p), &two);
        proxy.reload(&config(p, q));
        leads_to(local(p), &one);
        leads_to(local(q), &two);
    }
}

#[test]
fn a_service_that_moves_leaves_its_old_address() {
    let server = Server::listen();
    let (old, new) = (free_port(), free_port());
    let config = |port| format!("{BY_SIGHUP}{}", service("a", "127.0.0.1", port, &server));
    let proxy = Proxy::start(&config(old));
    leads_to(local(old), &server);
    proxy.reload(&config(new));
    leads_to(local(new), &server);
    refuses(local(old));
}

#[test]
fn a_service_that_is_removed_stops_listening() {
    let server = Server::listen();
    let (kept, gone) = (free_port(), free_port());
    let a = service("a", "127.0.0.1", kept, &server);
    let b = service("b", "127.0.0.1", gone, &server);
    let proxy = Proxy::start(&format!("{BY_SIGHUP}{a}{b}"));
    let live = Live::begin(local(gone), &server, ALL[1]);
    proxy.reload(&format!("{BY_SIGHUP}{a}"));
    refuses(local(gone));
    leads_to(local(kept), &server);
    live.survives();
}

/// Another name for the service, or for the address, is the same socket.
#[test]
fn the_same_address_by_another_name_is_kept() {
    let server = Server::listen();
    let port = free_port();
    let mut proxy = Proxy::start(&service("a", "localhost", port, &server));
    let address = proxy.address("a");
    for (name, host) in [("b", "localhost"), ("b", &address.ip().to_string()), ("c", "localhost")] {
        let line = proxy.reload(&service(name, host, port, &server));
        assert!(!line.contains("not reloaded"), "{line}");
        leads_to(address, &server);
    }
    assert!(!proxy.log().contains("no longer listening"));
    proxy.terminate();
    assert_eq!(proxy.exit_code(), Some(0));
}

#[test]
fn one_that_cannot_listen_changes_nothing() {
    let (server, other) = (Server::listen(), Server::listen());
    let (old, good) = (free_port(), free_port());
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("bound").port();
    let proxy = Proxy::start(&format!("{BY_SIGHUP}{}", service("a", "127.0.0.1", old, &server)));
    let config = [
        service("a", "127.0.0.1", old, &other),
        service("good", "127.0.0.1", good, &other),
        service("bad", "127.0.0.1", taken, &other),
    ];
    let line = proxy.fail_to_reload(&format!("{BY_SIGHUP}{}", config.concat()));
    let reason = format!("service \"bad\" cannot listen on 127.0.0.1:{taken}: ");
    assert!(line.contains(&reason), "{line}");
    refuses(local(good));
    leads_to(local(old), &server);

    drop(holder);
    proxy.hup();
    proxy.wait_log("added \"good\", \"bad\"; changed \"a\" (for new sessions)");
    for port in [old, good, taken] {
        leads_to(local(port), &other);
    }
}

#[test]
fn check_knows_what_the_running_daemon_holds() {
    let server = Server::listen();
    let (port, new) = (free_port(), free_port());
    let a = service("a", "127.0.0.1", port, &server);
    let proxy = Proxy::start(&format!("{BY_SIGHUP}{a}"));
    let check = |config: &str| {
        proxy.write_config(config);
        let output = Command::new(env!("CARGO_BIN_EXE_imap-proxy"))
            .args(["check", "--running", &proxy.pid().to_string(), "--config"])
            .arg(proxy.config())
            .output()
            .expect("it runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let free = service("b", "127.0.0.1", new, &server);
    assert_eq!(check(&a), (Some(0), String::new()));
    assert_eq!(check(&format!("{a}{free}")), (Some(0), String::new()));
    let taken = server.address().port();
    let (code, problems) = check(&format!("{a}{}", service("c", "127.0.0.1", taken, &server)));
    let expected = format!("service \"c\" cannot listen on 127.0.0.1:{taken}: ");
    assert!(problems.starts_with(&expected), "{problems}");
    assert_eq!(problems.lines().count(), 1);
    assert_eq!(code, Some(78));
}

#[test]
fn an_address_in_use_at_the_start_is_the_systems_fault() {
    let server = Server::listen();
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("config.toml");
    let text = service("a", "127.0.0.1", server.address().port(), &server);
    std::fs::write(&config, text).expect("written");
    let mut proxy = Proxy::start_in(dir, &config, &[]);
    proxy.wait_log("service \"a\" cannot listen on 127.0.0.1:");
    assert_eq!(proxy.exit_code(), Some(71));
}
