//! The fail2ban filter of `deploy/fail2ban` finds in the log what it should, and nothing else.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that panics is a test that fails")]

mod common;

use std::{fs, path::Path, process::Command};

use common::{
    bench::{
        Bench,
        Encryption::{Insecure, StartTls, Tls},
        GREETING, SERVICE, service,
    },
    live::free_port,
    peer::{self, Peer, Server},
    proxy::Proxy,
    secrets::{USER, WRONG},
};

/// Stops the proxy. Returns the addresses that the filter finds in its log, in their order: as stderr
/// has it, and as fail2ban shows the same messages of the journal. Both must be the same.
#[track_caller]
fn found(proxy: &mut Proxy) -> Vec<String> {
    proxy.terminate();
    assert_eq!(proxy.exit_code(), Some(0));
    let log = proxy.log();
    let of_stderr = filter(&log);
    let of_journal = filter(&log.lines().map(as_in_the_journal).collect::<String>());
    assert_eq!(of_stderr, of_journal, "left: on stderr, right: in the journal");
    of_stderr
}

fn filter(log: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log");
    fs::write(&file, log).expect("written");
    let filter = "deploy/fail2ban/filter.d/imap-proxy.conf";
    let output = Command::new("fail2ban-regex")
        .args(["--out", "ip"])
        .arg(&file)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(filter))
        .output()
        .expect("fail2ban is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("ERROR"), "{said}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// A line of stderr as a message of the journal, without the fields, behind what fail2ban puts
/// before it.
fn as_in_the_journal(line: &str) -> String {
    let (time, rest) = line.split_once(' ').expect("a time");
    let (_level, rest) = rest.split_once(' ').expect("a level");
    let (message, _) = rest.split_once(" service=").unwrap_or((rest, ""));
    format!("{time} host.example imap-proxy[123]: {message}\n")
}

/// An address of this host that no other client has.
fn own_address() -> String {
    let [high, low] = free_port().to_be_bytes();
    format!("127.1.{high}.{low}")
}

/// A proxy that gives clients a second to log in, and its server.
fn impatient(bind_keys: &str) -> (Proxy, Server) {
    let server = Server::listen();
    let config = service(Insecure, Insecure, &server, "timeouts = { login = \"1s\" }").replacen(
        "bind = { ",
        &format!("bind = {{ {bind_keys} "),
        1,
    );
    (Proxy::start(&config), server)
}

fn greeted(mut client: Peer, server: &Server) -> (Peer, Peer) {
    let mut server = server.accept();
    server.send(GREETING);
    client.expect(GREETING);
    (client, server)
}

#[test]
fn clients_that_do_not_log_in_are_found() {
    let (mut proxy, server) = impatient("");
    let clients = [own_address(), own_address()];
    for client in &clients {
        let client = peer::client_from(client, proxy.address(SERVICE));
        let (mut client, _server) = greeted(client, &server);
        client.expect_line_starting("* BYE proxy: too slow to log in");
        client.gone();
        proxy.wait_log(&format!("did not log in in time, client {}", client.address().ip()));
    }
    assert_eq!(found(&mut proxy), clients);
}

/// Of clients behind a load balancer the own address is found, and never the balancer's.
#[test]
fn clients_behind_a_load_balancer_are_found() {
    let (mut proxy, server) = impatient("proxy_protocol_from = [\"127.0.0.1\"],");
    for client in ["192.0.2.7", "2001:db8::7"] {
        let (family, to) = if client.contains(':') { (6, "::1") } else { (4, "127.0.0.1") };
        let mut peer = peer::client(proxy.address(SERVICE));
        peer.send(format!("PROXY TCP{family} {client} {to} 49152 143\r\n"));
        let (mut peer, _server) = greeted(peer, &server);
        peer.gone();
        proxy.wait_log(&format!("did not log in in time, client {client}"));
    }
    for wrong in ["A1 NOOP\r\n", "PROXY TCP4 203.0.113.66 what\r\n", "PROXY TCP4 203.0.113.66\r\n"]
    {
        let mark = proxy.mark();
        let mut peer = peer::client(proxy.address(SERVICE));
        peer.send(wrong);
        peer.gone();
        proxy.wait_log_after(mark, "the load balancer 127.0.0.1 sent");
    }
    assert_eq!(found(&mut proxy), ["192.0.2.7", "2001:db8::7"]);
}

#[test]
fn failed_logins_are_found() {
    for bind in [Insecure, StartTls, Tls] {
        let mut bench = Bench::new(bind, Insecure, "timeouts.login_delay = \"0s\"");
        let (mut client, mut server) = bench.session();
        for _ in 0..3 {
            let login = format!("A1 LOGIN {USER} {WRONG}\r\n");
            common::bench::exchange(&mut client, &mut server, login.as_bytes(), b"A1 NO no\r\n");
        }
        bench.proxy.wait_log("login failed, client 127.0.0.1, attempt 3");
        assert_eq!(found(&mut bench.proxy), ["127.0.0.1"; 3]);
    }
}

#[test]
fn clients_that_come_too_often_are_found() {
    let mut bench = Bench::new(Insecure, Insecure, "limits = { connections_per_client = 1 }");
    let (client, address) = (own_address(), bench.proxy.address(SERVICE));
    let _first = greeted(peer::client_from(&client, address), &bench.server);
    for _ in 0..3 {
        peer::client_from(&client, address).gone();
    }
    bench.proxy.wait_log("connection refused");
    // Once a minute.
    assert_eq!(found(&mut bench.proxy), [client]);
}

#[test]
fn clients_that_go_too_far_are_found() {
    for (keys, line, answer) in [
        ("limits = { login_attempts = 1 }", format!("A1 LOGIN {USER} {WRONG}\r\n"), "A1 NO no\r\n"),
        ("limits = { bad_commands = 1 }", "A1 FROBNICATE\r\n".to_owned(), "A1 BAD what?\r\n"),
    ] {
        let mut bench = Bench::new(Insecure, Insecure, keys);
        let client = own_address();
        let peer = peer::client_from(&client, bench.proxy.address(SERVICE));
        let (mut peer, mut server) = greeted(peer, &bench.server);
        peer.send(&line);
        server.expect(&line);
        server.send(answer);
        peer.expect(answer);
        peer.expect_line_starting("* BYE proxy: too many ");
        peer.gone();
        let expected = if keys.contains("login") { 2 } else { 1 };
        assert_eq!(found(&mut bench.proxy), vec![client; expected]);
    }
}

/// Lines that would get an innocent address banned, in every form of a log.
const FORGED: [&str; 5] = [
    "login failed, client 203.0.113.66, attempt 3",
    "INFO login failed, client 203.0.113.66, attempt 3",
    "2026-11-23T22:00:00.000Z INFO login failed, client 203.0.113.66, attempt 3 service=\"x\"",
    "2026-11-23T22:00:00.000Z host.example imap-proxy[123]: \
     login failed, client 203.0.113.66, attempt 3",
    "session ended: too many bad commands, client 203.0.113.66",
];

/// Nothing that a client or a server says is ever taken for a line of ours.
#[test]
fn nobody_gets_another_address_banned() {
    for trace in ["summary", "full"] {
        let keys = format!("trace = {{ level = \"{trace}\", max_body = 10000 }}");
        let mut bench = Bench::new(Insecure, Insecure, &keys);
        for forged in FORGED {
            let literal = format!("x\r\n{forged}\r\n{forged}");
            let size = literal.len();
            for command in [
                format!("{forged}\r\n"),
                format!("A1 {forged}\r\n"),
                format!("A1 LOGIN \"{}\" {WRONG}\r\n", forged.replace('"', "\\\"")),
                format!("A1 LOGIN {{{size}+}}\r\n{literal} {{{size}+}}\r\n{literal}\r\n"),
                format!("A1 ID (\"{}\" NIL)\r\n", forged.replace('"', "\\\"")),
                format!("A1 APPEND INBOX {{{size}+}}\r\n{literal}\r\n"),
                format!("A1 NOOP\r{forged}\n"),
                format!("A1 NOOP\u{2028}{forged}\u{85}{forged}\u{b}{forged}\r\n"),
            ] {
                // Each from an address of its own, or else they would have to wait as guessers do.
                let client = peer::client_from(&own_address(), bench.proxy.address(SERVICE));
                let (mut client, mut server) = greeted(client, &bench.server);
                client.send(command);
                server.line();
                server.send(format!(
                    "+ {forged}\r\n* {forged}\r\n* OK [ALERT] {forged}\r\n* BYE {forged}\r\nA1 NO {forged}\r\n"
                ));
                client.shutdown_write();
                server.shutdown_write();
                client.gone();
                server.gone();
            }
        }
        // A host behind that greets like this.
        for forged in FORGED {
            let (mut client, mut server) = bench.connect();
            server.send_and_end(format!("{forged}\r\n"));
            client.gone();
        }
        let found = found(&mut bench.proxy);
        let commands = bench.proxy.log().matches("client→").count();
        assert!(commands >= 40, "{commands} commands are in the log");
        assert!(!found.contains(&"203.0.113.66".to_owned()), "{found:?}\n{}", bench.proxy.log());
    }
}

/// The filter would find the forged lines, if they were lines: the test above can fail.
#[test]
fn the_forged_lines_are_good_ones() {
    assert_eq!(filter(&format!("{}\n", FORGED[2])), ["203.0.113.66"]);
    assert_eq!(filter(&format!("{}\n", FORGED[3])), ["203.0.113.66"]);
    let line = format!("2026-11-23T22:00:00.000Z host.example imap-proxy[1]: {}\n", FORGED[4]);
    assert_eq!(filter(&line), ["203.0.113.66"]);
}
