//! Time-outs in each phase: a peer that sends one byte after the other has no more time than one
//! that sends nothing, and the other side is told.
//!
//! `idle` is not here: half an hour is the least that the config allows.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

mod common;

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use common::{
    bench::{
        Bench, COMBINATIONS,
        Encryption::{self, Insecure, Tls},
        SERVICE, client, exchange, service_to, told_bye,
    },
    certs::certs,
    peer::{self, Peer},
    proxy::Proxy,
};
use rustls::{ClientConnection, pki_types::ServerName};
use socket2::{Domain, Socket, Type};

/// Between two bytes of a slow peer: far less than any deadline.
const SLOWLY: Duration = Duration::from_millis(50);

#[test]
fn handshake() {
    let bench = Bench::new(Tls, Insecure, "timeouts = { handshake = \"3s\" }");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(certs().client_config(), name).expect("a client");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("memory");
    // At that pace, far more than the time.
    assert!(hello.len() > 150);
    let mut slow = peer::client(bench.proxy.address(SERVICE));
    drip_until_gone(&mut slow, hello);
    bench.proxy.wait_log("the client did not finish the TLS handshake in time");
    bench.serves_another();
}

/// The server's queue is full: it does not even answer a SYN.
#[test]
fn connect() {
    for bind in [Insecure, Tls] {
        let full = FullQueue::new();
        let config = service_to(SERVICE, bind, Insecure, full.port, "timeouts.connect = \"1s\"");
        let proxy = Proxy::start(&config);
        let mut client = client(&proxy, bind);
        client.expect("* BYE proxy: the server did not answer in time\r\n");
        client.eof();
        proxy.wait_log("session ended: the server did not answer in time");
    }
}

#[test]
fn greeting() {
    everywhere(|bind, connect| {
        let bench = Bench::new(bind, connect, "timeouts = { greeting = \"3s\" }");
        let (mut client, mut slow) = bench.connect();
        drip_until_gone(&mut slow, b"* OK ".iter().copied().chain([b'x'; 400]));
        client.expect("* BYE proxy: the server did not greet in time\r\n");
        client.eof();
        // A greeting in time is as good as ever.
        bench.serves_another();
    });
}

#[test]
fn login() {
    for (bind, connect) in [(Insecure, Insecure), (Tls, Tls)] {
        let bench = Bench::new(bind, connect, "timeouts = { login = \"3s\" }");
        let mut sessions = Vec::new();
        for (said, answer) in [
            ("", ""),
            ("A1 LOGIN al", ""),
            ("A1 LOGIN {5}\r\nal", "+ proxy: Literal accepted by proxy\r\n"),
        ] {
            let (mut client, server) = bench.session();
            client.send(said);
            client.expect(answer);
            sessions.push((client, server));
        }
        for (said, answer) in [
            ("A1 NOOP\r\n", "* OK nearly\r\n"),
            ("A1 IDLE\r\n", "+ idling\r\n"),
            ("A1 AUTHENTICATE PLAIN\r\n", "+ \r\n"),
            ("A1 APPEND INBOX {9000}\r\n", "+ go on\r\n"),
            ("A1 LOGIN alice \"\"\r\n", "A1 NO sorry\r\n"),
        ] {
            let (mut client, mut server) = bench.session();
            exchange(&mut client, &mut server, said.as_bytes(), answer.as_bytes());
            sessions.push((client, server));
        }
        let (mut client, mut server) = bench.session();
        exchange(&mut client, &mut server, b"A1 LOGIN alice \"\"\r\n", b"A1 OK welcome\r\n");
        sessions.push(bench.session());
        for (mut client, mut server) in sessions {
            client.expect("* BYE proxy: too slow to log in\r\n");
            client.eof();
            server.gone();
        }
        // Logged in, it was as silent for as long.
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// The client that uploads is told, if it listens.
#[test]
fn server_that_takes_nothing() {
    for connect in [Insecure, Tls] {
        let keys = "timeouts.write_stall = \"1s\"\nlimits.literal_before_login = 5000000000";
        let bench = Bench::new(Insecure, connect, keys);
        let (mut client, mut stalled) = bench.session();
        let announcement = b"A1 APPEND INBOX {4000000000}\r\n";
        exchange(&mut client, &mut stalled, announcement, b"+ go on\r\n");
        let mut speaker = client.speaker();
        thread::scope(|scope| {
            scope.spawn(move || speaker.send_until_gone([b'x'; 16_384]));
            client.expect("* BYE proxy: the server does not take what is sent\r\n");
            client.gone();
        });
        bench.proxy.wait_log("the server did not read what was sent to it");
        bench.serves_another();
    }
}

#[test]
fn client_that_takes_nothing() {
    everywhere(|bind, connect| {
        let bench = Bench::new(bind, connect, "timeouts = { write_stall = \"1s\" }");
        let (_stalled, mut server) = bench.session();
        server.send("* 1 FETCH (BODY[] {4000000000}\r\n");
        server.send_until_gone([b'x'; 16_384]);
        bench.proxy.wait_log("the client did not read what was sent to it");
        bench.serves_another();
    });
}

/// A client that takes a little now and then is slow, not stalled.
#[test]
fn client_that_takes_little() {
    const SIZE: usize = 40_000_000;
    let bench = Bench::new(Insecure, Insecure, "timeouts = { write_stall = \"4s\" }");
    let (mut client, mut server) = bench.session();
    let response = format!("* 1 FETCH (BODY[] {{{SIZE}}}\r\n{})\r\n", "x".repeat(SIZE));
    thread::scope(|scope| {
        scope.spawn(|| server.send(&response));
        // In total more than the time.
        for part in response.as_bytes().chunks(response.len() / 40 + 1) {
            thread::sleep(SLOWLY * 3);
            client.expect(part);
        }
    });
    exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
}

/// Nobody answers the command that is under way.
#[test]
fn shutdown() {
    everywhere(|bind, connect| {
        let bench = Bench::new(bind, connect, "timeouts = { shutdown = \"1s\" }");
        let (mut client, mut server) = bench.session();
        client.send("A1 NOOP\r\n");
        server.expect("A1 NOOP\r\n");
        let (mut uploader, mut other) = bench.session();
        exchange(&mut uploader, &mut other, b"A1 APPEND INBOX {9000}\r\n", b"+ go on\r\n");
        bench.proxy.terminate();
        // Slow uploads have no more time than others.
        drip_until_gone(&mut uploader, [b'x'; 400]);
        told_bye(client);
        // It sent when nobody listened any more, so that its end is a reset.
        uploader.expect_line_starting("* BYE proxy: ");
        server.gone();
        other.gone();
    });
}

/// Runs a test, which mostly waits, for all encryptions at once.
fn everywhere(test: impl Fn(Encryption, Encryption) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for (bind, connect) in COMBINATIONS {
            scope.spawn(move || test(bind, connect));
        }
    });
}

/// Sends one byte after the other, until the other side has closed.
#[track_caller]
fn drip_until_gone(peer: &mut Peer, bytes: impl IntoIterator<Item = u8>) {
    for byte in bytes {
        if peer.try_send([byte]).is_err() {
            return;
        }
        thread::sleep(SLOWLY);
    }
    panic!("the connection outlasts {SLOWLY:?} a byte");
}

/// A listening socket that has as many connections as it will ever have.
struct FullQueue {
    port: u16,
    _socket: Socket,
    _waiting: Vec<TcpStream>,
}

impl FullQueue {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bound");
        socket.listen(0).expect("listening");
        let address = socket.local_addr().ok().and_then(|at| at.as_socket()).expect("bound");
        let try_connect = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
        let waiting = std::iter::from_fn(try_connect).collect();
        Self { port: address.port(), _socket: socket, _waiting: waiting }
    }
}
