//! IDLE (RFC 2177) between scripted peers.

mod common;

use common::{
    bench::{Bench, exchange},
    peer::transfer,
};

#[test]
fn idle_ends_by_done() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 IDLE\r\n", b"+ idling\r\n");
    server.send("* 4 EXISTS\r\n");
    client.expect("* 4 EXISTS\r\n");
    exchange(&mut client, &mut server, b"DONE\r\n", b"A1 OK done\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK still here\r\n");
}

/// Messages that may be shown together with the next ones do not wait for them.
#[test]
fn what_the_server_tells_is_shown_while_nothing_else_happens() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    exchange(&mut client, &mut server, b"A1 IDLE\r\n", b"+ idling\r\n");
    server.send("* 4 EXISTS\r\n");
    client.expect("* 4 EXISTS\r\n");
    bench.proxy.wait_log("server→client * EXISTS (12 bytes)");
    transfer(&mut server, &mut client, b"* 5 EXISTS\r\n* 6 EXISTS\r\n");
    bench.proxy.wait_log("server→client * EXISTS, 2 messages (24 bytes)");
}

/// A bare `+` and a status without text are as good as any.
#[test]
fn idle_with_terse_answers() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 IDLE\r\n", b"+\r\n");
    exchange(&mut client, &mut server, b"DONE\r\n", b"A1 OK\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK\r\n");
}

#[test]
fn refused_idle() {
    for refusal in ["A1 NO\r\n", "A1 NO not now\r\n", "A1 BAD\r\n", "A1 BAD what?\r\n"] {
        let bench = Bench::insecure();
        let (mut client, mut server) = bench.session();
        exchange(&mut client, &mut server, b"A1 IDLE\r\n", refusal.as_bytes());
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// The server may end IDLE by itself. The late `DONE` is a line like any other.
#[test]
fn server_ends_idle() {
    for status in ["A1 NO stop\r\n", "A1 OK enough\r\n", "A1 BAD no more\r\n", "A1 NO\r\n"] {
        let bench = Bench::insecure();
        let (mut client, mut server) = bench.session();
        exchange(&mut client, &mut server, b"A1 IDLE\r\n", b"+ idling\r\n");
        server.send(status);
        client.expect(status);
        exchange(&mut client, &mut server, b"DONE\r\n", b"* BAD unknown command\r\n");
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// Whatever the client says to end IDLE, the server judges it.
#[test]
fn odd_words_end_idle() {
    for done in ["done\r\n", "DONE \r\n", "DONE\n", "A2 NOOP\r\n", "caf\u{e9}\r\n", "\r\n"] {
        let bench = Bench::insecure();
        let (mut client, mut server) = bench.session();
        exchange(&mut client, &mut server, b"A1 IDLE\r\n", b"+ idling\r\n");
        exchange(&mut client, &mut server, done.as_bytes(), b"A1 BAD expected DONE\r\n");
        exchange(&mut client, &mut server, b"A3 NOOP\r\n", b"A3 OK done\r\n");
    }
}

/// The client must wait for `+`. When it does not, its `DONE` is held until the server speaks.
#[test]
fn pipelined_done_waits_for_the_server() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 IDLE\r\nDONE\r\nA2 NOOP\r\n");
    server.expect("A1 IDLE\r\n");
    let (mut other_client, mut other_server) = bench.session();
    exchange(&mut other_client, &mut other_server, b"B1 NOOP\r\n", b"B1 OK done\r\n");
    server.expect_nothing_so_far();
    server.send("+ idling\r\n");
    client.expect("+ idling\r\n");
    server.expect("DONE\r\n");
    server.send("A1 OK done\r\n");
    client.expect("A1 OK done\r\n");
    server.expect("A2 NOOP\r\n");
    server.send("A2 OK done\r\n");
    client.expect("A2 OK done\r\n");
}

/// What follows a refused IDLE is commands again.
#[test]
fn pipelined_command_after_a_refused_idle() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 IDLE\r\nA2 NOOP\r\n");
    server.expect("A1 IDLE\r\n");
    server.send("A1 NO not now\r\n");
    client.expect("A1 NO not now\r\n");
    server.expect("A2 NOOP\r\n");
    server.send("A2 OK done\r\n");
    client.expect("A2 OK done\r\n");
}

/// Answers to commands before IDLE may come at any time, and do not end it.
#[test]
fn idle_behind_an_unanswered_command() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 NOOP\r\nA2 IDLE\r\n");
    server.expect("A1 NOOP\r\nA2 IDLE\r\n");
    server.send("A1 OK done\r\n* 1 EXISTS\r\n+ idling\r\n* 2 EXISTS\r\n");
    client.expect("A1 OK done\r\n* 1 EXISTS\r\n+ idling\r\n* 2 EXISTS\r\n");
    exchange(&mut client, &mut server, b"DONE\r\n", b"A2 OK done\r\n");
}

/// The verb's case does not matter.
#[test]
fn idle_in_any_case() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("a1 iDLe\r\ndone\r\n");
    server.expect("a1 iDLe\r\n");
    server.expect_nothing_so_far();
    server.send("+ idling\r\n");
    server.expect("done\r\n");
    server.send("a1 OK done\r\n");
    client.expect("+ idling\r\na1 OK done\r\n");
}

/// A literal in a response during IDLE is content, whatever it looks like.
#[test]
fn literal_during_idle_is_no_status() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 IDLE\r\n", b"+ idling\r\n");
    let push = b"* 1 FETCH (BODY[] {12}\r\nA1 OK fake\r\n)\r\n";
    server.send(push);
    client.expect(push);
    exchange(&mut client, &mut server, b"DONE\r\n", b"A1 OK done\r\n");
}
