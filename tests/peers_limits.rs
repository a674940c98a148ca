//! How much clients may ask for: connections, literals, commands that make no sense.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use common::{
    bench::{
        Bench, Encryption,
        Encryption::{Insecure, StartTls, Tls},
        GREETING, SERVICE, exchange, service_to, told_bye,
    },
    live::free_port,
    peer::{Peer, Server, client, client_from, tls_client},
    proxy::Proxy,
};

/// Only SIGHUP counts here: so each test knows which reload it sees.
const BY_SIGHUP: &str = "[watch]\nenabled = false\n";
const OF_ALL: &str = "* BYE [UNAVAILABLE] proxy: too many connections\r\n";
const OF_CLIENT: &str = "* BYE [LIMIT] proxy: too many connections from your address\r\n";

/// Of each kind of a listener, one.
const SIDES: [(Encryption, Encryption); 3] =
    [(Insecure, Insecure), (StartTls, Insecure), (Tls, Tls)];

/// Neighbours on loopback.
const OTHERS: [&str; 3] = ["127.0.7.1", "127.0.7.2", "127.0.8.1"];

#[test]
fn connections_of_a_client() {
    for bind in [Insecure, StartTls, Tls] {
        let bench = Bench::new(bind, Insecure, "limits = { connections_per_client = 2 }");
        let address = bench.proxy.address(SERVICE);
        let another = || if bind == Tls { tls_client(address) } else { client(address) };
        let (first, _second) = (bench.session(), bench.session());
        told(another(), OF_CLIENT);
        told(another(), OF_CLIENT);
        let line = bench.proxy.wait_log("connection refused");
        let said = "connection refused, client 127.0.0.1: too many connections from its address";
        assert!(line.contains(said) && line.contains("INFO"), "{line}");
        assert!(line.contains("fault=\"client\"") && line.contains(&named(SERVICE)), "{line}");
        ends(&bench.proxy, || drop(first));
        let (mut client, mut server) = bench.session();
        exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
        told(another(), OF_CLIENT);
    }
}

#[test]
fn each_client_counts_for_itself_in_all_services() {
    let server = Server::listen();
    let proxy = Proxy::start(&format!(
        "[limits]\nconnections_per_client = 2\n{}{}",
        plain("a", &server, ""),
        plain("b", &server, "limits.connections_per_client = 3")
    ));
    let (a, b) = (proxy.address("a"), proxy.address("b"));
    let mut sessions = Vec::new();
    for other in OTHERS {
        sessions.push(greeted(client_from(other, a), &server));
        sessions.push(greeted(client_from(other, b), &server));
        told(client_from(other, a), OF_CLIENT);
        // What a service says counts for clients that come in there.
        sessions.push(greeted(client_from(other, b), &server));
        told(client_from(other, b), OF_CLIENT);
    }
    sessions.push(greeted(client(a), &server));
}

/// Behind a load balancer the address counts that it tells; of IPv6 the network of 64 bits.
#[test]
fn clients_behind_a_load_balancer() {
    let server = Server::listen();
    let service = plain(SERVICE, &server, "limits.connections_per_client = 1");
    let trusting =
        service.replacen("bind = {", "bind = { proxy_protocol_from = [\"127.0.0.1\"],", 1);
    let proxy = Proxy::start(&trusting);
    let announced = |from: &str| {
        let mut client = client(proxy.address(SERVICE));
        let (family, to) = if from.contains(':') { (6, "::1") } else { (4, "127.0.0.1") };
        client.send(format!("PROXY TCP{family} {from} {to} 49152 143\r\n"));
        client
    };
    let _sessions = ["192.0.2.7", "192.0.2.8", "2001:db8::7", "2001:db8:0:1::7"]
        .map(|from| greeted(announced(from), &server));
    for from in ["192.0.2.7", "2001:db8::7", "2001:db8::ffff:0:0:8", "2001:db8:0:1:8::"] {
        told(announced(from), OF_CLIENT);
    }
    proxy.wait_log("connection refused, client 192.0.2.7: too many connections from its address");
}

#[test]
fn connections_of_a_service_and_of_all() {
    let server = Server::listen();
    let proxy = Proxy::start(&format!(
        "[limits]\nconnections = 3\n{}{}",
        plain("a", &server, "limits = { connections = 2 }"),
        service_to("b", Tls, Insecure, server.address().port(), "")
    ));
    let (a, b) = (proxy.address("a"), proxy.address("b"));
    let first = greeted(client(a), &server);
    let _second = greeted(client(a), &server);
    told(client(a), OF_ALL);
    proxy.wait_log("client 127.0.0.1: too many connections to the service");
    let _third = greeted(tls_client(b), &server);
    told(tls_client(b), OF_ALL);
    proxy.wait_log("client 127.0.0.1: too many connections in all");
    ends(&proxy, || drop(first));
    let _fourth = greeted(tls_client(b), &server);
    told(client_from(OTHERS[0], a), OF_ALL);
}

/// Handshakes cost something: they are done for so many at a time who cannot come in.
#[test]
fn not_all_who_are_refused_are_told() {
    const TOLD: usize = 256;
    let keys = "limits = { connections = 1 }\ntimeouts = { handshake = \"10m\" }";
    let bench = Bench::new(Tls, Insecure, keys);
    let address = bench.proxy.address(SERVICE);
    let _session = bench.session();
    let _waiting: Vec<_> = (0..TOLD).map(|_| client(address)).collect();
    client(address).eof();
}

#[test]
fn limits_change_with_a_reload() {
    let server = Server::listen();
    let config = |all: usize, services: &[String]| {
        format!("{BY_SIGHUP}[limits]\nconnections = {all}\n{}", services.concat())
    };
    let port = format!("port = {}", free_port());
    let b = |limit: usize| {
        let b = plain("b", &server, &format!("limits.connections = {limit}"));
        b.replacen("port = 0", &port, 1)
    };
    let a = plain("a", &server, "");
    let proxy = Proxy::start(&config(2, &[a.clone(), b(9)]));
    let at = |name| client(proxy.address(name));
    let (first, mut second) = (greeted(at("a"), &server), greeted(at("a"), &server));
    told(at("b"), OF_ALL);

    // More for all, and so for a service that says nothing itself.
    let line = proxy.reload(&config(3, &[a.clone(), b(9)]));
    assert!(line.contains("changed \"a\" (for new sessions); connections in all"), "{line}");
    let third = greeted(at("b"), &server);
    told(at("b"), OF_ALL);

    // Less ends no session; those of a service that is gone count for the whole.
    proxy.reload(&config(2, &[b(9)]));
    exchange(&mut second.0, &mut second.1, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    told(at("b"), OF_ALL);
    ends(&proxy, || drop(first));
    told(at("b"), OF_ALL);
    ends(&proxy, || drop(second));
    let _fourth = greeted(at("b"), &server);
    told(at("b"), OF_ALL);

    // A service that comes back finds its own count.
    proxy.reload(&config(9, std::slice::from_ref(&a)));
    proxy.reload(&config(9, &[a.clone(), b(2)]));
    told(at("b"), OF_ALL);
    ends(&proxy, || drop(third));
    let _fifth = greeted(at("b"), &server);
    told(at("b"), OF_ALL);
    proxy.reload(&config(9, &[a, b(3)]));
    let _sixth = greeted(at("b"), &server);
}

/// Whatever ends a session makes room for the next one.
#[test]
fn every_end_makes_room() {
    let keys = "limits = { connections_per_client = 1, bad_commands = 1, login_attempts = 1 }";
    for (bind, connect) in SIDES {
        let bench = Bench::new(bind, connect, keys);
        makes_room(&bench, || drop(bench.session()));
        makes_room(&bench, || bench.session().0.reset());
        makes_room(&bench, || bench.session().1.reset());
        makes_room(&bench, || {
            let (client, mut server) = bench.session();
            server.shutdown_write();
            told_bye(client);
        });
        makes_room(&bench, || {
            let (mut client, mut server) = bench.connect();
            server.send_and_end("* BYE overloaded\r\n");
            client.expect("* BYE overloaded\r\n");
        });
        for (command, answer) in [("A1 X\r\n", "A1 BAD\r\n"), ("A1 LOGIN a b\r\n", "A1 NO\r\n")] {
            makes_room(&bench, || {
                let (mut client, mut server) = bench.session();
                exchange(&mut client, &mut server, command.as_bytes(), answer.as_bytes());
                told_bye(client);
            });
        }
        if bind == Tls {
            let address = bench.proxy.address(SERVICE);
            makes_room(&bench, || client(address).send("A1 NOOP\r\n"));
            makes_room(&bench, || drop(client(address)));
        }
    }
}

#[test]
fn every_timeout_makes_room() {
    let bench = |(bind, connect), timeout: &str| {
        let keys = format!("limits.connections_per_client = 1\ntimeouts.{timeout}");
        Bench::new(bind, connect, &keys)
    };
    for sides in [(Insecure, Insecure), (Tls, Tls)] {
        let greeting = bench(sides, "greeting = \"1s\"");
        makes_room(&greeting, || told_bye(greeting.connect().0));
        let login = bench(sides, "login = \"1s\"");
        makes_room(&login, || told_bye(login.session().0));
        let stall = bench(sides, "write_stall = \"1s\"");
        makes_room(&stall, || {
            let (_client, mut server) = stall.session();
            server.send("* 1 FETCH (BODY[] {4000000000}\r\n");
            server.send_until_gone([b'x'; 16_384]);
        });
    }
    let handshake = bench((Tls, Insecure), "handshake = \"3s\"");
    makes_room(&handshake, || client(handshake.proxy.address(SERVICE)).gone());
    let handshake = bench((StartTls, Insecure), "handshake = \"3s\"");
    makes_room(&handshake, || {
        let mut client = client(handshake.proxy.address(SERVICE));
        client.send("A1 STARTTLS\r\n");
        client.gone();
    });
    let login = bench((StartTls, Insecure), "login = \"3s\"");
    makes_room(&login, || client(login.proxy.address(SERVICE)).gone());
}

#[test]
fn room_is_made_where_no_server_is() {
    let server = Server::listen();
    let gone = server.address().port();
    drop(server);
    let keys = "limits = { connections_per_client = 1 }";
    let proxy = Proxy::start(&service_to(SERVICE, Insecure, Insecure, gone, keys));
    for _ in 0..3 {
        ends(&proxy, || told_bye(client(proxy.address(SERVICE))));
    }
    assert!(!proxy.log().contains("connection refused, client"), "{}", proxy.log());
}

/// A flood of one client is one line a minute.
#[test]
fn a_hundred_refused_connections_are_one_line() {
    for bind in [Insecure, Tls] {
        let bench = Bench::new(bind, Insecure, "limits = { connections_per_client = 1 }");
        let session = bench.session();
        for _ in 0..100 {
            told(bench.client(), OF_CLIENT);
        }
        ends(&bench.proxy, || drop(session));
        let log = bench.proxy.log();
        assert_eq!(log.matches("connection refused, client 127.0.0.1:").count(), 1, "{log}");
    }
}

#[test]
fn a_hundred_failed_handshakes_are_one_line() {
    let bench = Bench::new(Tls, Insecure, "");
    let address = bench.proxy.address(SERVICE);
    for _ in 0..100 {
        ends(&bench.proxy, || client(address).send("GET / HTTP/1.1\r\n\r\n"));
    }
    ends(&bench.proxy, || client_from(OTHERS[0], address).send("GET / HTTP/1.1\r\n\r\n"));
    let log = bench.proxy.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("TLS handshake with")).collect();
    assert_eq!(lines.len(), 101, "{log}");
    let told: Vec<_> = lines.iter().filter(|line| line.contains("INFO")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn literals_before_login() {
    const TOO_BIG: &str = "A1 NO [TOOBIG] proxy: the literal is larger than allowed\r\n";
    for (keys, most) in [("", 16_384), ("limits.literal_before_login = 9", 9)] {
        let bench = Bench::new(Insecure, Insecure, keys);
        let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
        client.send(format!("A1 LOGIN {{{}}}\r\n", most + 1));
        client.expect(TOO_BIG);
        client.send(format!("A1 LOGIN {{{}+}}\r\n{}\r\n", most + 1, "x".repeat(most + 1)));
        client.expect(TOO_BIG);
        // The largest one passes, and after login any.
        let command = format!("A2 LOGIN {{{most}+}}\r\n{} \"\"\r\n", "x".repeat(most));
        exchange(&mut client, &mut server, command.as_bytes(), b"A2 OK in\r\n");
        let append = format!("A3 APPEND x {{100000+}}\r\n{}\r\n", "x".repeat(100_000));
        exchange(&mut client, &mut server, append.as_bytes(), b"A3 OK done\r\n");
    }
}

/// A client need not wait for the answer to its login.
#[test]
fn literal_behind_a_login() {
    let bench = Bench::new(Insecure, Insecure, "limits.literal_before_login = 9");
    let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
    let append = "A2 APPEND x {20+}\r\n01234567890123456789\r\n";
    client.send(["A1 LOGIN a \"\"\r\n", append].concat());
    server.expect("A1 LOGIN a \"\"\r\n");
    server.send("A1 OK in\r\n");
    server.expect(append);
    server.send("A2 OK done\r\n");
    client.expect("A1 OK in\r\nA2 OK done\r\n");
}

#[test]
fn bad_commands_of_the_servers_opinion() {
    for bind in [Insecure, StartTls, Tls] {
        let bench = Bench::new(bind, Insecure, "");
        let (mut client, mut server) = bench.session();
        for answer in ["A1 OK", "A1 NO"] {
            for _ in 0..19 {
                exchange(&mut client, &mut server, b"A1 NONSENSE\r\n", b"A1 BAD what?\r\n");
            }
            exchange(&mut client, &mut server, b"A1 NOOP\r\n", format!("{answer}\r\n").as_bytes());
        }
        exchange(&mut client, &mut server, b"A1 LOGIN a \"\"\r\n", b"A1 OK in\r\n");
        for _ in 0..20 {
            exchange(&mut client, &mut server, b"\r\n", b"* BAD what?\r\n");
        }
        told(client, "* BYE proxy: too many bad commands\r\n");
        server.eof();
        let line = bench.proxy.wait_log("session ended: too many bad commands");
        assert!(line.contains("INFO") && line.contains("fault=\"client\""), "{line}");
    }
}

#[test]
fn bad_commands_of_the_proxys_opinion() {
    let keys = "limits = { bad_commands = 3, command_line = 50 }";
    let bench = Bench::new(Insecure, Insecure, keys);
    let (mut client, mut server) = bench.session();
    client.send(format!("A1 STARTTLS\r\nA2 {}\r\nA3 NOOP {}\r\n", "x".repeat(60), "y".repeat(60)));
    client.expect("A1 BAD proxy: STARTTLS is not available on this connection\r\n");
    client.expect_line_starting("A2 BAD proxy: the command line is longer than allowed");
    client.expect_line_starting("A3 BAD proxy: ");
    told(client, "* BYE proxy: too many bad commands\r\n");
    server.eof();
}

#[test]
fn bad_commands_before_starttls() {
    let bench = Bench::new(StartTls, Insecure, "limits.bad_commands = 3");
    let mut client = client(bench.proxy.address(SERVICE));
    client.expect_line_starting("* OK ");
    client.send("A1 X\r\nA2 NOOP\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    for answer in ["A1 BAD proxy: ", "A2 OK proxy: ", "GET BAD proxy: ", "Host: BAD proxy: "] {
        client.expect_line_starting(answer);
    }
    client.expect_line_starting("* BAD proxy: ");
    told(client, "* BYE proxy: too many bad commands\r\n");
}

#[track_caller]
fn told(mut client: Peer, bye: &str) {
    client.expect(bye);
    client.eof();
}

/// Has a session end by this, and waits until it has.
#[track_caller]
fn ends(proxy: &Proxy, end: impl FnOnce()) {
    let mark = proxy.mark();
    end();
    proxy.wait_log_after(mark, "session ended: ");
}

/// Has the only session end by this; then there is room for another, which gets to the server.
#[track_caller]
fn makes_room(bench: &Bench, end: impl FnOnce()) {
    ends(&bench.proxy, end);
    ends(&bench.proxy, || drop(bench.connect()));
}

fn plain(name: &str, server: &Server, keys: &str) -> String {
    service_to(name, Insecure, Insecure, server.address().port(), keys)
}

fn greeted(mut client: Peer, server: &Server) -> (Peer, Peer) {
    let mut server = server.accept();
    server.send(GREETING);
    client.expect(GREETING);
    (client, server)
}

fn named(service: &str) -> String {
    format!("service={service:?}")
}
