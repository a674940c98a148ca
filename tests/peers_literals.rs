//! Small literals, which the proxy collects, between scripted peers.

mod common;

use common::{
    bench::{Bench, exchange},
    peer::Peer,
};

/// What a client gets for each synchronizing literal that the proxy collects.
const ACCEPTED: &str = "+ proxy: Literal accepted by proxy\r\n";

#[test]
fn client_sees_the_proxy_accept_and_server_sees_the_original() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 RENAME {4}\r\n");
    client.expect(ACCEPTED);
    client.send("old\0 {3}\r\n");
    client.expect(ACCEPTED);
    client.send("new\r\n");
    server.expect("A1 RENAME {4}\r\n");
    server.send("+ go on\r\n");
    server.expect("old\0 {3}\r\n");
    server.send("+\r\n");
    server.expect("new\r\n");
    server.send("A1 OK renamed\r\n");
    client.expect("A1 OK renamed\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// Content is content: blank, empty, or as a command or an announcement would look.
#[test]
fn odd_contents() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    for content in ["", "\r\n", "A2 LOGOUT\r\n", "{5}\r\n", "\r\n\r\n+ x\r\n", "caf\u{e9}\0"] {
        let n = content.len();
        client.send(format!("A1 SELECT {{{n}}}\r\n"));
        client.expect(ACCEPTED);
        client.send(format!("{content}\r\n"));
        server.expect(format!("A1 SELECT {{{n}}}\r\n"));
        server.send("+ go on\r\n");
        server.expect(format!("{content}\r\n"));
        server.send("A1 NO no such mailbox\r\n");
        client.expect("A1 NO no such mailbox\r\n");
    }
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// Instead of `+` a server may answer the command at once (RFC 9051 7.6, RFC 7889).
#[test]
fn server_answers_instead_of_accepting() {
    for answer in [
        "A1 NO [TRYCREATE] no such mailbox\r\n",
        "A1 NO [OVERQUOTA] full\r\n",
        "A1 NO\r\n",
        "A1 BAD no\r\n",
        "A1 BAD\r\n",
        "a1 no caf\u{e9}\r\n",
        "A1 OK surprise\r\n",
    ] {
        let bench = Bench::insecure();
        let (mut client, mut server) = bench.session();
        let tag = &answer[..2];
        client.send(format!("{tag} APPEND Nope {{5}}\r\n"));
        client.expect(ACCEPTED);
        client.send("hello\r\n");
        server.expect(format!("{tag} APPEND Nope {{5}}\r\n"));
        server.send(answer);
        client.expect(answer);
        // The server never gets the literal: the next thing it sees is the next command.
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
        exchange(&mut client, &mut server, b"A3 LOGOUT\r\n", b"* BYE bye\r\nA3 OK done\r\n");
    }
}

#[test]
fn server_refuses_the_second_literal() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 RENAME {3}\r\nold {3}\r\nnew\r\nA2 NOOP\r\n");
    client.expect([ACCEPTED, ACCEPTED].concat());
    server.expect("A1 RENAME {3}\r\n");
    server.send("+ go on\r\n");
    server.expect("old {3}\r\n");
    server.send("A1 NO no such mailbox\r\n");
    client.expect("A1 NO no such mailbox\r\n");
    server.expect("A2 NOOP\r\n");
    server.send("A2 OK done\r\n");
    client.expect("A2 OK done\r\n");
}

/// What else the server has to say while the proxy waits for its `+` goes on to the client.
#[test]
fn other_responses_before_the_continuation() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A0 NOOP\r\nA1 SELECT {5}\r\n");
    client.expect(ACCEPTED);
    client.send("INBOX\r\n");
    server.expect("A0 NOOP\r\nA1 SELECT {5}\r\n");
    server.send("* 3 EXISTS\r\nA0 NO sorry\r\n* OK {5}\r\n+ go on\r\n");
    server.expect("INBOX\r\n");
    server.send("A1 OK done\r\n");
    client.expect("* 3 EXISTS\r\nA0 NO sorry\r\n* OK {5}\r\nA1 OK done\r\n");
}

/// A `+` that nothing waits for is the server's own affair.
#[test]
fn unexpected_continuations_are_forwarded() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 SELECT {5}\r\nINBOX\r\n");
    client.expect(ACCEPTED);
    server.expect("A1 SELECT {5}\r\n");
    server.send("+ one\r\n+ two\r\n+\r\n");
    client.expect("+ two\r\n+\r\n");
    server.expect("INBOX\r\n");
    server.send("A1 OK done\r\n");
    client.expect("A1 OK done\r\n");
}

#[test]
fn literals_that_come_in_pieces() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send_bytewise("A1 SELECT {5}\r\nINBOX\r\nA2 SELECT {5+}\r\nINBOX\r\n");
    client.expect(ACCEPTED);
    for tag in ["A1", "A2"] {
        server.expect(format!("{tag} SELECT {{5}}\r\n"));
        server.send_bytewise("+ go on\r\n");
        server.expect("INBOX\r\n");
        server.send(format!("{tag} OK done\r\n"));
        client.expect(format!("{tag} OK done\r\n"));
    }
}

/// RFC 9051 9: a number may begin with zeros.
#[test]
fn leading_zeros() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
    client.send("A1 RENAME {0003}\r\n");
    client.expect(ACCEPTED);
    client.send("old {003+}\r\nnew\r\n");
    server.expect("A1 RENAME {0003}\r\n");
    server.send("+ go on\r\n");
    server.expect("old {003+}\r\nnew\r\n");
    server.send("A1 OK done\r\n");
    client.expect("A1 OK done\r\n");
}

/// RFC 7888: with LITERAL+ of any size, with LITERAL- (and `IMAP4rev2`) up to 4096 bytes.
#[test]
fn non_synchronizing_literals_pass_where_the_server_offers_them() {
    let bench = Bench::insecure();
    for offer in ["LITERAL+", "LITERAL-", "IMAP4rev2", "literal+", "IMAP4rev1 LITERAL-"] {
        let (mut client, mut server) = bench.capable(offer);
        for content in ["INBOX", "", &"x".repeat(4096)] {
            let command = format!("A1 SELECT {{{}+}}\r\n{content}\r\n", content.len());
            exchange(&mut client, &mut server, command.as_bytes(), b"A1 OK done\r\n");
        }
    }
}

/// Where the server did not offer them, the proxy waits in place of the client.
#[test]
fn non_synchronizing_literals_where_the_server_does_not_offer_them() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable("IMAP4rev1");
    for content in ["INBOX", "", "A2 NOOP\r\n"] {
        let n = content.len();
        client.send(format!("A1 RENAME {{{n}+}}\r\n{content} {{3+}}\r\nnew\r\n"));
        server.expect(format!("A1 RENAME {{{n}}}\r\n"));
        server.send("+ go on\r\n");
        server.expect(format!("{content} {{3}}\r\n"));
        server.send("+ go on\r\n");
        server.expect("new\r\n");
        server.send("A1 OK done\r\n");
        client.expect("A1 OK done\r\n");
    }
}

#[test]
fn refused_non_synchronizing_literal() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable("IMAP4rev1");
    client.send("A1 APPEND Nope {12+}\r\nA3 LOGOUT\r\n!\r\nA2 NOOP\r\n");
    server.expect("A1 APPEND Nope {12}\r\n");
    server.send("A1 NO [TRYCREATE] no such mailbox\r\n");
    client.expect("A1 NO [TRYCREATE] no such mailbox\r\n");
    server.expect("A2 NOOP\r\n");
    server.send("A2 OK done\r\n");
    client.expect("A2 OK done\r\n");
}

/// The latest list counts: most servers tell more of themselves after login.
#[test]
fn later_capabilities_count() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable("IMAP4rev1");
    let list = b"A1 OK [CAPABILITY IMAP4rev1 LITERAL+] logged in\r\n";
    exchange(&mut client, &mut server, b"A1 LOGIN alice \"\"\r\n", list);
    let command = b"A2 SELECT {5+}\r\nINBOX\r\n";
    exchange(&mut client, &mut server, command, b"A2 OK done\r\n");
}

/// A server may take `{5+}` for plain text in a command it does not know, and the literal for the
/// next command. By waiting, proxy and server agree on where that begins.
#[test]
fn unknown_commands_with_literals() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
    client.send("A1 FROBNICATE {13+}\r\nA3 EXPUNGE 1\0\r\nA2 NOOP\r\n");
    server.expect("A1 FROBNICATE {13}\r\n");
    server.send("A1 BAD unknown command\r\n");
    client.expect("A1 BAD unknown command\r\n");
    server.expect("A2 NOOP\r\n");
    server.send("A2 OK done\r\n");
    client.expect("A2 OK done\r\n");

    client.send("A4 FROBNICATE {5}\r\n");
    client.expect(ACCEPTED);
    client.send("hello\r\n");
    server.expect("A4 FROBNICATE {5}\r\n");
    server.send("+ I do know it\r\n");
    server.expect("hello\r\n");
    server.send("A4 OK done\r\n");
    client.expect("A4 OK done\r\n");
}

/// RFC 3516 4.4: literals that may hold NUL.
#[test]
fn literal8() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+ BINARY");
    client.send("A1 APPEND INBOX ~{5}\r\n");
    client.expect(ACCEPTED);
    client.send("he\0lo\r\n");
    server.expect("A1 APPEND INBOX ~{5}\r\n");
    server.send("+ go on\r\n");
    server.expect("he\0lo\r\n");
    server.send("A1 OK done\r\n");
    client.expect("A1 OK done\r\n");
    let command = b"A2 APPEND INBOX ~{5+}\r\nhe\0lo\r\n";
    exchange(&mut client, &mut server, command, b"A2 OK done\r\n");
    // RFC 6855 4: APPEND with UTF8.
    let command = b"A3 APPEND INBOX UTF8 (~{7+}\r\nh\xc3\xa9 ll\0)\r\n";
    exchange(&mut client, &mut server, command, b"A3 OK done\r\n");
}

/// RFC 3502: several messages in one APPEND.
#[test]
fn multiappend() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+ MULTIAPPEND");
    client.send("A1 APPEND INBOX {5}\r\n");
    client.expect(ACCEPTED);
    client.send("one\r\n (\\Seen) {5}\r\n");
    client.expect(ACCEPTED);
    client.send("two\r\n {7+}\r\nthree\r\n\r\n");
    server.expect("A1 APPEND INBOX {5}\r\n");
    server.send("+ go on\r\n");
    server.expect("one\r\n (\\Seen) {5}\r\n");
    server.send("+ go on\r\n");
    server.expect("two\r\n {7+}\r\nthree\r\n\r\n");
    server.send("A1 OK [APPENDUID 1 2:4] done\r\n");
    client.expect("A1 OK [APPENDUID 1 2:4] done\r\n");

    let command = b"A2 APPEND INBOX {3+}\r\none {3+}\r\ntwo {5+}\r\nthree\r\n";
    exchange(&mut client, &mut server, command, b"A2 OK done\r\n");
}

/// Braces that announce nothing.
#[test]
fn no_literals() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    for command in [
        "A1 SELECT \"x {5}\"\r\n",
        "A1 NOOP {}\r\n",
        "A1 NOOP {x}\r\n",
        "A1 NOOP {-1}\r\n",
        "A1 NOOP {5}x\r\n",
        "A1 NOOP {99999999999999999999}\r\n",
        "A1 NOOP {5 }\r\n",
        "A1 NOOP {5++}\r\n",
        "A1 NOOP 5}\r\n",
        "{5\r\n",
    ] {
        unremarkable(&mut client, &mut server, command);
    }
}

#[track_caller]
fn unremarkable(client: &mut Peer, server: &mut Peer, command: &str) {
    exchange(client, server, command.as_bytes(), b"A1 BAD what?\r\n");
}
