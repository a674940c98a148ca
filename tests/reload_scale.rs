//! How long a reload of a large config takes. Printed, not judged:
//! `cargo test --release --test reload_scale -- --nocapture`.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use std::{fmt::Write, fs, time::Instant};

use common::{
    bench::{Encryption::Insecure, GREETING, exchange, service_to},
    notify::Notify,
    peer::{Peer, Server, client},
    proxy::Proxy,
};
use tempfile::TempDir;

const SERVICES: usize = 1000;

/// All services; those for which it holds have another limit.
fn config(port: u16, is_changed: impl Fn(usize) -> bool) -> String {
    let mut text =
        format!("[watch]\nenabled = false\n[limits]\nconnections_per_client = {SERVICES}\n");
    for number in 0..SERVICES {
        let keys = if is_changed(number) { "limits.literal = 1" } else { "" };
        let service = service_to(&format!("s{number}"), Insecure, Insecure, port, keys);
        writeln!(text, "{service}").expect("memory");
    }
    text
}

fn session(proxy: &Proxy, number: usize, server: &Server) -> (Peer, Peer) {
    let mut client = client(proxy.address(&format!("s{number}")));
    let mut upstream = server.accept();
    upstream.send(GREETING);
    client.expect(GREETING);
    (client, upstream)
}

#[test]
fn a_thousand_services_with_a_thousand_sessions() {
    let (notify, server) = (Notify::listen(), Server::listen());
    let port = server.address().port();
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("config.toml");
    fs::write(&file, config(port, |_| false)).expect("written");
    let started = Instant::now();
    let variables = [("NOTIFY_SOCKET", notify.path()), ("RUST_LOG", "info")];
    let proxy = Proxy::start_in(dir, &file, &variables);
    notify.wait("READY");
    println!("start: {:?}", started.elapsed());

    let mut sessions: Vec<_> =
        (0..SERVICES).map(|number| session(&proxy, number, &server)).collect();
    let (one, all) = (|number| number == 500, |_| true);
    let steps: [(&str, &dyn Fn(usize) -> bool); 3] =
        [("nothing changed", &|_| false), ("one changed", &one), ("all others changed", &all)];
    for (what, is_changed) in steps {
        proxy.write_config(&config(port, is_changed));
        proxy.hup();
        notify.wait("RELOADING");
        let begun = Instant::now();
        let ready = notify.wait("READY");
        println!("{what}: {:?} from RELOADING=1 to READY=1", begun.elapsed());
        assert!(ready.status().starts_with("services: 1000, sessions: 1000; "), "{ready:?}");
    }
    for (client, server) in &mut sessions {
        exchange(client, server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    }
    proxy.wait_log("changed \"s500\" (for new sessions)");
}
