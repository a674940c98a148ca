//! How the proxy stops: clients are told, commands under way are finished, nothing hangs.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use std::thread;

use common::{
    bench::{Bench, COMBINATIONS, Encryption::Insecure, Encryption::Tls, SERVICE, exchange},
    live::{ALL, Doing, Live, refuses},
    peer,
};

const BYE: &str = "* BYE proxy: shutting down\r\n";
const STOPPING: &str = "stopping, ";

#[test]
fn idle_sessions_are_told_at_once() {
    for (bind, connect) in COMBINATIONS {
        let mut bench = Bench::new(bind, connect, "");
        let (mut before_login, mut server_of_one) = bench.session();
        let (mut idling, mut server_of_other) = bench.session();
        exchange(&mut idling, &mut server_of_other, b"A1 IDLE\r\n", b"+ idling\r\n");
        bench.proxy.terminate();
        for client in [&mut before_login, &mut idling] {
            client.expect(BYE);
            client.eof();
        }
        server_of_one.eof();
        server_of_other.eof();
        drop((before_login, idling, server_of_one, server_of_other));
        assert_eq!(bench.proxy.exit_code(), Some(0));
    }
}

#[test]
fn a_command_under_way_is_finished_first() {
    for doing in ALL.into_iter().filter(|doing| *doing != Doing::Idle) {
        let mut bench = Bench::insecure();
        let address = bench.proxy.address(SERVICE);
        let live = Live::begin(address, &bench.server, doing);
        bench.proxy.terminate();
        refuses(address);
        let (mut client, mut server) = live.finish();
        client.expect(BYE);
        client.eof();
        server.eof();
        drop((client, server));
        assert_eq!(bench.proxy.exit_code(), Some(0), "{doing:?}");
    }
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() {
    let mut bench = Bench::new(Insecure, Insecure, "timeouts.shutdown = \"1s\"");
    let (mut client, mut server) = bench.session();
    client.send("A1 NOOP\r\n");
    server.expect("A1 NOOP\r\n");
    bench.proxy.terminate();
    client.expect(BYE);
    client.eof();
    drop((client, server));
    assert_eq!(bench.proxy.exit_code(), Some(0));
}

#[test]
fn a_client_that_never_reads_is_not_waited_for() {
    let mut bench = Bench::new(Insecure, Insecure, "timeouts.shutdown = \"1s\"");
    let (mut client, mut server) = bench.session();
    client.send("A1 FETCH 1 BODY[]\r\n");
    server.expect("A1 FETCH 1 BODY[]\r\n");
    let flood = thread::spawn(move || {
        server.send("* 1 FETCH (BODY[] {1000000000}\r\n");
        server.send_until_gone([b'x'; 8192]);
    });
    // It is under way.
    client.expect("* 1 FETCH (BODY[] {1000000000}\r\n");
    bench.proxy.terminate();
    assert_eq!(bench.proxy.exit_code(), Some(0));
    flood.join().expect("the server's end");
}

#[test]
fn a_session_that_waits_for_its_server_is_told() {
    let mut bench = Bench::insecure();
    // Neither a greeting nor anything else.
    let (mut client, server) = bench.connect();
    bench.proxy.wait_log("session started");
    bench.proxy.terminate();
    client.expect(BYE);
    client.eof();
    drop((client, server));
    assert_eq!(bench.proxy.exit_code(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    for second in ["TERM", "INT"] {
        let mut bench = Bench::new(Insecure, Insecure, "timeouts.shutdown = \"1h\"");
        let (mut client, mut server) = bench.session();
        client.send("A1 NOOP\r\n");
        server.expect("A1 NOOP\r\n");
        bench.proxy.terminate();
        bench.proxy.wait_log(STOPPING);
        bench.proxy.signal(second);
        bench.proxy.wait_log("stopped at once, sessions cut: 1");
        assert_eq!(bench.proxy.exit_code(), Some(0));
        client.gone();
    }
}

#[test]
fn a_client_in_the_handshake_is_not_waited_for() {
    let mut bench = Bench::new(Tls, Insecure, "timeouts.handshake = \"1h\"");
    let mut silent = peer::client(bench.proxy.address(SERVICE));
    let (mut client, mut server) = bench.session();
    bench.proxy.terminate();
    client.expect(BYE);
    client.eof();
    server.eof();
    silent.gone();
    drop((client, server));
    assert_eq!(bench.proxy.exit_code(), Some(0));
    assert!(bench.proxy.log().contains("session ended: the proxy shuts down"));
}

#[test]
fn a_reload_while_stopping_changes_nothing() {
    let mut bench = Bench::insecure();
    let live = Live::begin(bench.proxy.address(SERVICE), &bench.server, Doing::Fetch);
    bench.proxy.terminate();
    bench.proxy.wait_log(STOPPING);
    bench.proxy.hup();
    let (mut client, server) = live.finish();
    client.expect(BYE);
    drop((client, server));
    assert_eq!(bench.proxy.exit_code(), Some(0));
    assert!(!bench.proxy.log().contains("configuration reloaded"));
}
