//! Large literals, which stream, and commands that are too large, between scripted peers.

mod common;

use std::time::Instant;

use common::{
    bench::{Bench, COMBINATIONS, Encryption::Insecure, exchange, log_in},
    peer::{Peer, transfer},
    proxy::DEADLINE,
};

/// What a client gets for each synchronizing literal that the proxy collects.
const ACCEPTED: &str = "+ proxy: Literal accepted by proxy\r\n";

/// The shipped limit for collected literals, and one byte more.
const LARGE: usize = 4097;

#[test]
fn responses_without_end_are_shown_while_they_come() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    client.send("A1 FETCH 1:* (FLAGS)\r\n");
    server.expect("A1 FETCH 1:* (FLAGS)\r\n");
    let responses = "* 1 FETCH (FLAGS (\\Seen))\r\n".repeat(1000);
    let (begin, mark) = (Instant::now(), bench.proxy.mark());
    while !bench.proxy.log_after(mark).contains("server→client * FETCH, ") {
        assert!(begin.elapsed() < DEADLINE, "nothing of them is shown");
        transfer(&mut server, &mut client, responses.as_bytes());
    }
}

#[test]
fn large_literals_are_negotiated_with_the_server() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.logged_in();
        for size in [LARGE, 65_535, 65_536, 65_537, 3_000_000] {
            let announcement = format!("A1 APPEND INBOX (\\Seen) {{{size}}}\r\n");
            exchange(&mut client, &mut server, announcement.as_bytes(), b"+ OK go ahead {3}\r\n");
            transfer(&mut client, &mut server, &content(size));
            exchange(&mut client, &mut server, b"\r\n", b"A1 OK [APPENDUID 1 2] done\r\n");
        }
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

#[test]
fn large_responses_arrive_whole() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.logged_in();
        for size in [65_535, 65_536, 65_537, 3_000_000] {
            let head = format!("* 1 FETCH (BODY[] {{{size}}}\r\n").into_bytes();
            let message = [head, content(size), b" FLAGS ())\r\nA1 OK done\r\n".to_vec()].concat();
            transfer(&mut server, &mut client, &message);
        }
        let line = [b"* SEARCH", " 1".repeat(500_000).as_bytes(), b"\r\n"].concat();
        transfer(&mut server, &mut client, &line);
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// After a refusal the client does not send the literal: what comes next is a command.
#[test]
fn server_refuses_a_large_literal() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    for answer in ["A1 NO [TOOBIG] too big\r\n", "A1 NO\r\n", "A1 BAD\r\n", "A1 BAD no\r\n"] {
        let announcement = b"A1 APPEND INBOX {30000000}\r\n";
        exchange(&mut client, &mut server, announcement, answer.as_bytes());
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// A client that does not wait for `+` is held until the server speaks.
#[test]
fn literal_before_its_time() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    let content = content(LARGE);
    client.send(format!("A1 APPEND INBOX {{{LARGE}}}\r\n"));
    client.send(&content);
    client.send("\r\nA2 NOOP\r\n");
    server.expect(format!("A1 APPEND INBOX {{{LARGE}}}\r\n"));
    let (mut other_client, mut other_server) = bench.logged_in();
    exchange(&mut other_client, &mut other_server, b"B1 NOOP\r\n", b"B1 OK done\r\n");
    server.expect_nothing_so_far();
    server.send("+ go on\r\n");
    server.expect([&content[..], b"\r\nA2 NOOP\r\n"].concat());
    client.expect("+ go on\r\n");
}

#[test]
fn large_non_synchronizing_literals_stream_at_once() {
    let bench = Bench::insecure();
    let (mut client, mut server) = capable(&bench, "IMAP4rev1 LITERAL+");
    for announcement in ["A1 APPEND INBOX", "A1 APPEND INBOX ~", "A1 APPEND INBOX UTF8 (~"] {
        let head = format!("{announcement}{{3000000+}}\r\n").into_bytes();
        let command = [head, content(3_000_000), b")\r\n".to_vec()].concat();
        transfer(&mut client, &mut server, &command);
        server.send("A1 OK done\r\n");
        client.expect("A1 OK done\r\n");
    }
}

/// RFC 7888 5: LITERAL- ends at 4096 bytes, so the proxy waits in place of the client.
#[test]
fn large_non_synchronizing_literals_where_the_server_does_not_offer_them() {
    let bench = Bench::insecure();
    for offer in ["IMAP4rev1", "IMAP4rev1 LITERAL-", "IMAP4rev2"] {
        let (mut client, mut server) = capable(&bench, offer);
        let content = content(LARGE);
        client.send(format!("A1 APPEND INBOX {{{LARGE}+}}\r\n"));
        client.send(&content);
        client.send("\r\nA2 NOOP\r\n");
        server.expect(format!("A1 APPEND INBOX {{{LARGE}}}\r\n"));
        server.send("+ go on\r\n");
        server.expect([&content[..], b"\r\nA2 NOOP\r\n"].concat());
        server.send("A1 OK done\r\nA2 OK done\r\n");
        client.expect("A1 OK done\r\nA2 OK done\r\n");

        // Refused, the literal is on its way all the same: it is swallowed.
        client.send(format!("A3 APPEND Nope {{{LARGE}+}}\r\n"));
        server.expect(format!("A3 APPEND Nope {{{LARGE}}}\r\n"));
        server.send("A3 NO [TRYCREATE] no such mailbox\r\n");
        client.expect("A3 NO [TRYCREATE] no such mailbox\r\n");
        client.send(&content);
        client.send("\r\nA4 NOOP\r\n");
        server.expect("A4 NOOP\r\n");
    }
}

/// What was collected goes ahead when a large literal follows.
#[test]
fn small_literal_before_a_large_one() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    client.send("A1 APPEND {5}\r\n");
    client.expect(ACCEPTED);
    client.send(format!("INBOX {{{LARGE}}}\r\n"));
    server.expect("A1 APPEND {5}\r\n");
    server.send("+ for the proxy\r\n");
    server.expect(format!("INBOX {{{LARGE}}}\r\n"));
    server.send("+ for the client\r\n");
    client.expect("+ for the client\r\n");
    transfer(&mut client, &mut server, &content(LARGE));
    exchange(&mut client, &mut server, b"\r\n", b"A1 OK done\r\n");

    // The server may refuse what was collected.
    client.send("A2 APPEND {4}\r\n");
    client.expect(ACCEPTED);
    client.send(format!("Nope {{{LARGE}}}\r\n"));
    server.expect("A2 APPEND {4}\r\n");
    server.send("A2 NO no literals\r\n");
    client.expect("A2 NO no literals\r\n");
    exchange(&mut client, &mut server, b"A3 NOOP\r\n", b"A3 OK done\r\n");
}

/// The limit is for the whole command: many small literals are a large one.
#[test]
fn literals_add_up() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    let part = "x".repeat(2000);
    client.send("A1 APPEND INBOX {2000}\r\n");
    client.expect(ACCEPTED);
    client.send(format!("{part} {{2000}}\r\n"));
    client.expect(ACCEPTED);
    client.send(format!("{part} {{2000}}\r\n"));
    server.expect("A1 APPEND INBOX {2000}\r\n");
    server.send("+ 1\r\n");
    server.expect(format!("{part} {{2000}}\r\n"));
    server.send("+ 2\r\n");
    server.expect(format!("{part} {{2000}}\r\n"));
    server.send("+ 3\r\n");
    client.expect("+ 3\r\n");
    let rest = format!("{part} {{2000}}\r\n");
    exchange(&mut client, &mut server, rest.as_bytes(), b"+ 4\r\n");
    let rest = format!("{part}\r\n");
    exchange(&mut client, &mut server, rest.as_bytes(), b"A1 OK done\r\n");
}

/// Sizes that nobody can mean. The server says no, and goes on.
#[test]
fn absurd_sizes() {
    let bench = Bench::insecure();
    let (mut client, mut server) = capable(&bench, "IMAP4rev1 LITERAL+");
    for size in ["4294967295", "4294967296", "18446744073709551615"] {
        let announcement = format!("A1 APPEND INBOX {{{size}}}\r\n");
        exchange(&mut client, &mut server, announcement.as_bytes(), b"A1 BAD too big\r\n");
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
    let announcement = b"A1 APPEND INBOX {4294967296+}\r\n";
    client.send(announcement);
    server.expect(announcement);
    // All of it is content now, whatever it looks like.
    exchange(&mut client, &mut server, b"A2 COMPRESS DEFLATE\r\n", b"* BYE too big\r\n");
}

/// Without a tag nobody can say which command an answer is for.
#[test]
fn large_literal_without_a_tag() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    exchange(&mut client, &mut server, b"{30000000}\r\n", b"* BAD no tag\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    // There may be others that wait for an answer.
    client.send("A3 NOOP\r\n{30000000}\r\n");
    server.expect("A3 NOOP\r\n{30000000}\r\n");
    server.send("* BAD no tag\r\nA3 OK done\r\n");
    client.expect("* BAD no tag\r\nA3 OK done\r\n");
    exchange(&mut client, &mut server, b"A4 NOOP\r\n", b"A4 OK done\r\n");
}

#[test]
fn literal_over_the_configured_maximum() {
    let bench = Bench::new(Insecure, Insecure, "limits = { literal = 10000 }");
    let (mut client, mut server) = capable(&bench, "IMAP4rev1 LITERAL+");
    client.send("A1 APPEND INBOX {10001}\r\n");
    client.expect_line_starting("A1 NO [TOOBIG] proxy: ");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");

    client.send("A3 APPEND INBOX {3000000+}\r\n");
    client.send(content(3_000_000));
    client.send("\r\n");
    client.expect_line_starting("A3 NO [TOOBIG] proxy: ");
    exchange(&mut client, &mut server, b"A4 NOOP\r\n", b"A4 OK done\r\n");

    // It may be the second one.
    client.send("A5 APPEND {5}\r\n");
    client.expect(ACCEPTED);
    client.send("INBOX {10001}\r\n");
    client.expect_line_starting("A5 NO [TOOBIG] proxy: ");
    exchange(&mut client, &mut server, b"A6 NOOP\r\n", b"A6 OK done\r\n");
    client.send("A7 SELECT {5}\r\n");
    client.expect(ACCEPTED);
    client.send("INBOX\r\n");
    server.expect("A7 SELECT {5}\r\n");
    server.send("+ go on\r\n");
    server.expect("INBOX\r\n");

    let announcement = b"A5 APPEND INBOX {10000}\r\n";
    exchange(&mut client, &mut server, announcement, b"+ go on\r\n");
    transfer(&mut client, &mut server, &content(10_000));
    exchange(&mut client, &mut server, b"\r\n", b"A5 OK done\r\n");
}

#[test]
fn command_line_over_its_maximum() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    let long = "x".repeat(70_000);
    for (command, answer) in [
        (format!("A1 SEARCH {long}\r\n"), "A1 BAD proxy: "),
        (format!("A1 SEARCH {long}\n"), "A1 BAD proxy: "),
        (format!("{long}\r\n"), "* BAD proxy: "),
        (format!("A1 SEARCH {}\r\n", long.repeat(30)), "A1 BAD proxy: "),
        // The client waits for a `+` that never comes.
        (format!("A1 SEARCH {long} {{5}}\r\n"), "A1 BAD proxy: "),
        // The literal belongs to the command, so it must not become one.
        (format!("A1 SEARCH {long} {{12+}}\r\nA3 EXPUNGE\r\n\r\n"), "A1 BAD proxy: "),
    ] {
        client.send(command);
        client.expect_line_starting(answer);
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// The maximum is for the command, not for each of its lines.
#[test]
fn command_over_its_maximum_in_many_lines() {
    let bench = Bench::new(Insecure, Insecure, "limits = { command_line = 8192 }");
    let (mut client, mut server) = capable(&bench, "IMAP4rev1 LITERAL+");
    let line = format!("{} {{1+}}\r\n", "x".repeat(3000));
    client.send(format!("A1 SEARCH {line}1{line}2{line}3\r\n"));
    client.expect_line_starting("A1 BAD proxy: ");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// Everything up to the maximum passes.
#[test]
fn long_command_line() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    let command = format!("A1 UID FETCH {}1 (FLAGS)\r\n", "1,".repeat(30_000));
    exchange(&mut client, &mut server, command.as_bytes(), b"A1 OK done\r\n");
}

/// Content in which a lost, doubled or moved block shows.
fn content(size: usize) -> Vec<u8> {
    let mut lines = (0u32..).flat_map(|n| format!("line {n} (\"{{5}}\r\n").into_bytes());
    lines.by_ref().take(size).collect()
}

/// A session that is logged in, with these capabilities (all of which must pass).
fn capable(bench: &Bench, capabilities: &str) -> (Peer, Peer) {
    let (mut client, mut server) = bench.capable(capabilities);
    log_in(&mut client, &mut server);
    (client, server)
}
