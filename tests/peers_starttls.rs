//! STARTTLS on either side: nothing passes before TLS, and nothing survives it.

mod common;

use common::{
    bench::{
        Bench,
        Encryption::{Insecure, StartTls, Tls},
        GREETING, SERVICE, exchange, service, told_bye,
    },
    certs::certs,
    peer::{self, Peer, Server},
    proxy::Proxy,
    secrets::{ACCOUNT, SASL, USER, sasl_plain},
};

const OFFER: &str = "CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED";

/// A client of a `StartTls` listener that was greeted and has no TLS yet.
fn before_tls(bench: &Bench) -> Peer {
    let mut client = peer::client(bench.proxy.address(SERVICE));
    client.expect_line_starting(format!("* OK [{OFFER}] proxy: "));
    client
}

/// Its session goes on under TLS.
fn goes_on(bench: &Bench, mut client: Peer) {
    client.send("tls STARTTLS\r\n");
    client.expect_line_starting("tls OK proxy: ");
    let mut client = client.start_tls();
    let mut server = bench.server.accept();
    server.send(GREETING);
    exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
}

#[test]
fn before_tls_the_proxy_answers_alone() {
    let bench = Bench::new(StartTls, Insecure, "trace = \"full\"");
    let mut client = before_tls(&bench);
    client.send("a CAPABILITY\r\n");
    client.expect(format!("* {OFFER}\r\n"));
    client.expect_line_starting("a OK proxy: ");
    client.send("a NOOP\r\n");
    client.expect_line_starting("a OK proxy: ");
    for command in [
        format!("a LOGIN {USER} {ACCOUNT}\r\n"),
        format!("a LOGIN {USER} {{{}}}\r\n", ACCOUNT.len()),
        format!("a LOGIN {USER} {{{}+}}\r\n{ACCOUNT}\r\n", ACCOUNT.len()),
        format!("a AUTHENTICATE PLAIN {}\r\n", sasl_plain(SASL)),
        "a AUTHENTICATE PLAIN\r\n".to_owned(),
        "a ID NIL\r\n".to_owned(),
        "a APPEND INBOX {4294967296+}\r\n".to_owned(),
    ] {
        let huge = command.contains("4294967296");
        client.send(command);
        if !huge {
            client.expect_line_starting("a NO [PRIVACYREQUIRED] proxy: ");
        }
    }
    // The last one is swallowed for ever; a client that leaves is let go.
    drop(client);
    bench.proxy.wait_log("session ended: the client closed the connection");

    let mut client = before_tls(&bench);
    client.send_bytewise("b NOOP\r\nc FOO\r\n\r\n");
    client.expect_line_starting("b OK proxy: ");
    client.expect_line_starting("c BAD proxy: ");
    client.expect_line_starting("* BAD proxy: ");
    client.send(format!("d {}\r\n", "x".repeat(100_000)));
    client.expect_line_starting("d BAD proxy: ");
    goes_on(&bench, client);
}

#[test]
fn after_tls_the_server_answers() {
    for connect in [Insecure, StartTls, Tls] {
        let bench = Bench::new(StartTls, connect, "");
        let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+ AUTH=PLAIN");
        // The server's greeting told that it takes literals without waiting.
        exchange(&mut client, &mut server, b"A1 LOGIN {1+}\r\na b\r\n", b"A1 NO who?\r\n");
        let list = b"* CAPABILITY IMAP4rev1 IDLE\r\nA2 OK done\r\n";
        exchange(&mut client, &mut server, b"A2 CAPABILITY\r\n", list);
        client.send("A3 STARTTLS\r\n");
        client.expect_line_starting("A3 BAD proxy: ");
        exchange(&mut client, &mut server, b"A4 NOOP\r\n", b"A4 OK done\r\n");
    }
}

/// CVE-2011-0411 and its kind: what comes with STARTTLS in clear is not taken for what comes after.
#[test]
fn commands_injected_with_starttls_end_the_session() {
    let bench = Bench::new(StartTls, Insecure, "");
    for injected in ["b NOOP\r\n", "b", "\r\n", "\u{16}\u{3}\u{1}"] {
        let mut client = before_tls(&bench);
        client.send(format!("a STARTTLS\r\n{injected}"));
        told_bye(client);
    }
    let line = bench.proxy.wait_log("data came together with STARTTLS");
    assert!(line.contains("fault=\"client\""), "{line}");
    goes_on(&bench, before_tls(&bench));
}

#[test]
fn commands_injected_after_starttls_are_no_handshake() {
    let bench = Bench::new(StartTls, Insecure, "");
    let mut client = before_tls(&bench);
    client.send("a STARTTLS\r\n");
    client.expect_line_starting("a OK proxy: ");
    client.send("b NOOP\r\n");
    client.gone();
    bench.proxy.wait_log("TLS handshake with the client failed");
    goes_on(&bench, before_tls(&bench));
}

#[test]
fn logout_before_tls() {
    let bench = Bench::new(StartTls, Insecure, "");
    let mut client = before_tls(&bench);
    client.send("a LOGOUT\r\nb NOOP\r\n");
    client.expect_line_starting("* BYE proxy: ");
    client.expect_line_starting("a OK proxy: ");
    client.eof();
    bench.proxy.wait_log("session ended: the client logged out");
}

#[test]
fn no_server_hears_of_a_client_before_tls() {
    let bench = Bench::new(StartTls, Insecure, "");
    let mut early = before_tls(&bench);
    early.send("a NOOP\r\n");
    early.expect_line_starting("a OK ");
    // The first connection at the server is that of the client under TLS.
    goes_on(&bench, before_tls(&bench));
}

#[test]
fn deadlines_before_and_during_the_handshake() {
    let keys = "timeouts = { login = \"1s\", handshake = \"1s\" }";
    let bench = Bench::new(StartTls, Insecure, keys);
    told_bye(before_tls(&bench));
    bench.proxy.wait_log("the client did not log in in time");
    let mut client = before_tls(&bench);
    client.send("a STARTTLS\r\n");
    client.expect_line_starting("a OK ");
    client.gone();
    bench.proxy.wait_log("the client did not finish the TLS handshake in time");
}

#[test]
fn the_proxy_stops_before_tls() {
    let mut bench = Bench::new(StartTls, Insecure, "");
    let client = before_tls(&bench);
    bench.proxy.terminate();
    told_bye(client);
    assert_eq!(bench.proxy.exit_code(), Some(0));
}

#[test]
fn a_server_whose_greeting_cannot_follow_starttls() {
    let bench = Bench::new(StartTls, Insecure, "");
    for (greeting, answer) in [
        ("* PREAUTH in\r\n", "* BYE proxy: "),
        ("* BYE busy\r\n", "* BYE busy"),
        ("", "* BYE proxy: "),
    ] {
        let mut client = bench.client();
        let mut server = bench.server.accept();
        server.send(greeting);
        server.shutdown_write();
        client.expect_line_starting(answer);
        client.eof();
    }
}

/// A server that speaks in clear what the test wants, behind a `StartTls` side.
fn in_clear() -> (Proxy, Server) {
    let server = Server::listen();
    let proxy = Proxy::start(&service(Insecure, StartTls, &server, "trace = \"full\""));
    (proxy, server)
}

#[test]
fn nothing_goes_to_a_server_in_clear() {
    let (proxy, server) = in_clear();
    for said in [
        &["* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"][..],
        &["* OK hi\r\n", "proxy NO not now\r\n"],
        &["* OK hi\r\n", "proxy BAD what?\r\n"],
        &["* OK hi\r\n", "* BYE no\r\n"],
        &["* PREAUTH hi\r\n"],
        &["* BYE [REFERRAL imap://evil.example/] no\r\n"],
        &["+OK POP3\r\n"],
        &["* OK hi\r\n", "proxy OK go on\r\n* CAPABILITY FORGED\r\n"],
    ] {
        let mark = proxy.mark();
        let mut client = peer::client(proxy.address(SERVICE));
        client.send(format!("a LOGIN {USER} {ACCOUNT}\r\n"));
        let mut upstream = server.accept();
        upstream.send(said[0]);
        if let Some(answer) = said.get(1) {
            upstream.expect("proxy STARTTLS\r\n");
            upstream.send(answer);
        }
        told_bye(client);
        upstream.gone_without_a_word();
        let line = proxy.wait_log_after(mark, "session ended: ");
        assert!(line.contains("fault=\"server\""), "{line}");
    }
}

#[test]
fn a_server_that_falls_silent() {
    for said in [&[][..], &["* OK hi\r\n"], &["* OK hi\r\n", "proxy OK go on\r\n"]] {
        let server = Server::listen();
        let keys = "timeouts = { greeting = \"1s\" }";
        let proxy = Proxy::start(&service(Insecure, StartTls, &server, keys));
        let client = peer::client(proxy.address(SERVICE));
        let mut upstream = server.accept();
        for line in said {
            upstream.send(line);
        }
        told_bye(client);
        upstream.gone();
    }
}

#[test]
fn a_server_whose_certificate_is_not_trusted() {
    let server = Server::listen_starttls(certs().misnamed_server_config());
    let proxy = Proxy::start(&service(Insecure, StartTls, &server, ""));
    let client = peer::client(proxy.address(SERVICE));
    assert!(server.try_accept().is_err());
    told_bye(client);
    let line = proxy.wait_log("TLS with the server failed");
    assert!(line.contains("fault=\"server\""), "{line}");
}

/// What a client sends ahead is kept until the server is ready, and nothing is forged.
#[test]
fn capabilities_from_before_tls_are_forgotten() {
    let (proxy, server) = in_clear();
    let mut client = peer::client(proxy.address(SERVICE));
    client.send("A1 NOOP\r\n");
    let mut upstream = server.accept();
    upstream.send_bytewise("* OK [CAPABILITY IMAP4rev1 STARTTLS LITERAL+ ID] hi\r\n");
    upstream.expect("proxy STARTTLS\r\n");
    upstream.send_bytewise("* CAPABILITY IMAP4rev1 IDLE\r\nproxy OK go on\r\n");
    let mut upstream = upstream.start_tls_as_server(certs().server_config());
    upstream.expect("proxy CAPABILITY\r\n");
    upstream
        .send_bytewise("* CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS\r\nproxy OK done\r\n* OK x\r\n");
    client.expect("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] proxy: the server is ready\r\n");
    client.expect("* OK x\r\n");
    upstream.expect("A1 NOOP\r\n");
    upstream.send("A1 OK done\r\n");
    client.expect("A1 OK done\r\n");
    // LITERAL+ was said before TLS only: the literal waits.
    client.send("A2 SEARCH TEXT {5+}\r\nalice\r\n");
    upstream.expect("A2 SEARCH TEXT {5}\r\n");
    // The trace tells whose words they were.
    for line in ["server→proxy Greeting", "proxy→server Command", "proxy→client Greeting"] {
        proxy.wait_log(line);
    }
}

/// As a monitor does that closes its side at once and reads.
#[test]
fn a_client_that_only_reads_gets_the_greeting() {
    let server = Server::listen_starttls(certs().server_config());
    let proxy = Proxy::start(&service(Insecure, StartTls, &server, ""));
    let mut client = peer::client(proxy.address(SERVICE));
    client.shutdown_write();
    let mut upstream = server.accept();
    upstream.expect("proxy CAPABILITY\r\n");
    upstream.send("proxy OK done\r\n");
    client.expect("* OK proxy: the server is ready\r\n");
    upstream.eof();
    drop(upstream);
    client.eof();
}
