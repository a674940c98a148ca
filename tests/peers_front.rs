//! The PROXY protocol: load balancers in front tell who the client is, and the server behind is
//! told. <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

#![allow(clippy::expect_used, clippy::panic, reason = "a test that panics is a test that fails")]

mod common;

use std::fs;

use common::{
    bench::{
        Bench,
        Encryption::{Insecure, StartTls, Tls},
        GREETING, SERVICE, exchange,
    },
    peer::{self, Peer},
};

/// The clients of the tests come from 127.0.0.1, unless they say otherwise.
const FROM_HERE: &str = "proxy_protocol_from = [\"192.0.2.0/24\", \"127.0.0.1\"],";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2, from what follows the signature, without the length.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("it fits").to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// Addresses and ports of a client `192.0.2.7:49152` that connected to `198.51.100.2:143`.
const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 2, 0xC0, 0x00, 0x00, 0x8F];
const V4_TEXT: &str = "PROXY TCP4 192.0.2.7 198.51.100.2 49152 143\r\n";
/// The same for `[2001:db8::7]:49152` and `[2001:db8::2]:143`.
const V6: &[u8] = &[
    0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 2, 0xC0, 0x00, 0x00, 0x8F,
];
const V6_TEXT: &str = "PROXY TCP6 2001:db8::7 2001:db8::2 49152 143\r\n";

/// That the client spoke TLS 1.3 with the balancer.
const TLS_13: &[u8] = b"\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.3";

/// Headers, and the client's address by each; `None` where it is the balancer's own connection.
fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let (v4, v6) = (Some("192.0.2.7:49152"), Some("[2001:db8::7]:49152"));
    vec![
        (V4_TEXT.into(), v4),
        (V6_TEXT.into(), v6),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN 192.0.2.7 198.51.100.2 49152 143\r\n".to_vec(), None),
        (v2(0x21, 0x11, V4), v4),
        (v2(0x21, 0x21, V6), v6),
        // With more to say than anybody asks for.
        (v2(0x21, 0x11, &[V4, &[0xEE; 65_523]].concat()), v4),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, V4), None),
        (v2(0x21, 0x31, &[b'/'; 216]), None),
    ]
}

fn connect(bench: &Bench) -> Peer {
    peer::client(bench.proxy.address(SERVICE))
}

/// The session works, and is that client's. `mark` is a point of the log before it began.
#[track_caller]
fn works_for(bench: &Bench, mut peer: Peer, client: &str, mark: usize) {
    let mut server = bench.server.accept();
    server.send(GREETING);
    peer.expect(GREETING);
    exchange(&mut peer, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    peer.shutdown_write();
    server.eof();
    drop(server);
    peer.eof();
    let ended = bench.proxy.wait_log_after(mark, " ended: ");
    assert!(ended.contains(&format!("client={client:?}")), "{client} in: {ended}");
    let started = bench.proxy.wait_log_after(mark, "session started");
    assert!(started.contains(&format!("client={client:?}")), "{client} in: {started}");
}

#[test]
fn the_header_says_who_the_client_is() {
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "");
    for (header, client) in headers() {
        let mark = bench.proxy.mark();
        let mut peer = connect(&bench);
        let client = client.map_or_else(|| peer.address().to_string(), str::to_owned);
        peer.send(header);
        works_for(&bench, peer, &client, mark);
    }
}

#[test]
fn the_header_may_come_byte_by_byte() {
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "");
    for header in [V4_TEXT.as_bytes().to_vec(), v2(0x21, 0x21, &[V6, TLS_13].concat())] {
        let mut peer = connect(&bench);
        peer.send_bytewise(header);
        let mut server = bench.server.accept();
        server.send(GREETING);
        peer.expect(GREETING);
    }
}

/// Nothing of what follows is lost, and nothing is read of it too early.
#[test]
fn the_first_command_may_come_with_the_header() {
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "");
    for (header, _) in headers() {
        let mut peer = connect(&bench);
        peer.send([&header[..], b"A1 NOOP\r\n"].concat());
        let mut server = bench.server.accept();
        server.send(GREETING);
        peer.expect(GREETING);
        server.expect("A1 NOOP\r\n");
    }
}

#[test]
fn tls_begins_behind_the_header() {
    let bench = Bench::between(Tls, FROM_HERE, Insecure, "");
    for (header, client) in headers() {
        let mark = bench.proxy.mark();
        let peer = connect(&bench);
        let client = client.map_or_else(|| peer.address().to_string(), str::to_owned);
        works_for(&bench, peer.tls_after(&header), &client, mark);
    }
}

#[test]
fn starttls_comes_behind_the_header() {
    let bench = Bench::between(StartTls, FROM_HERE, Insecure, "proxy_protocol = \"v2\",");
    let mut peer = connect(&bench);
    peer.send(v2(0x21, 0x11, V4));
    peer.expect_line_starting("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] proxy: ");
    peer.send("A0 STARTTLS\r\n");
    peer.expect_line_starting("A0 OK proxy: ");
    let mut peer = peer.start_tls();
    let mut server = bench.server.accept();
    server.expect(v2(0x21, 0x11, &[V4, TLS_13].concat()));
    server.send(GREETING);
    exchange(&mut peer, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
}

/// Ends such a connection, says so in one line, and never bothers the server.
#[track_caller]
fn is_refused(bench: &Bench, send: impl FnOnce(&mut Peer), reason: &str) {
    let mark = bench.proxy.mark();
    let mut peer = connect(bench);
    send(&mut peer);
    peer.gone();
    let line = bench.proxy.wait_log_after(mark, "session ended: ");
    assert!(line.contains(&format!("the load balancer 127.0.0.1 {reason}")), "{reason} in: {line}");
    // Of many lines like it, some may be told for debugging only.
    assert!(bench.proxy.log().contains("fault=\"client\""), "{line}");
    assert!(!bench.proxy.log_after(mark).contains("session started"), "it must not start");
}

#[test]
fn a_load_balancer_without_a_good_header_is_refused() {
    for bind in [Insecure, StartTls, Tls] {
        let bench = Bench::between(bind, FROM_HERE, Insecure, "");
        let none = "sent something else than a PROXY header";
        let invalid = "sent a PROXY header that makes no sense";
        let endless = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
        for (bytes, reason) in [
            (&b"A1 NOOP\r\n"[..], none),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", none),
            (b"proxy TCP4 192.0.2.7 198.51.100.2 49152 143\r\n", none),
            (b"PROXY TCP4 192.0.2.7 198.51.100.2 49152 143 \r\n", invalid),
            (b"PROXY TCP4 2001:db8::7 2001:db8::2 49152 143\r\n", invalid),
            (b"PROXY TCP4 192.0.2.7\r\nA1 NOOP\r\n", invalid),
            (&v2(0x31, 0x11, V4), invalid),
            (&v2(0x21, 0x12, V4), invalid),
            (&v2(0x21, 0x21, V4), invalid),
            (&endless, "sent a PROXY header of more than 107 bytes"),
        ] {
            is_refused(&bench, |peer| peer.send_in_vain(bytes), reason);
        }
        let half = "sent half a PROXY header only";
        is_refused(&bench, |peer| peer.send_and_end(&V4_TEXT[..20]), half);
        let binary = v2(0x21, 0x11, V4);
        is_refused(&bench, |peer| peer.send_and_end(&binary[..binary.len() - 1]), half);
    }
}

#[test]
fn a_load_balancer_that_never_sends_its_header_is_cut_off() {
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "");
    set_handshake(&bench, "1s");
    for said in ["", "PROXY TCP4 192.0.2.7 "] {
        is_refused(&bench, |peer| peer.send(said), "sent no whole PROXY header in time");
    }
}

fn set_handshake(bench: &Bench, limit: &str) {
    let config = fs::read_to_string(bench.proxy.config()).expect("readable");
    bench.proxy.reload(&format!("{config}timeouts = {{ handshake = \"{limit}\" }}\n"));
}

/// Balancers check in every other second.
#[test]
fn health_checks_do_not_fill_the_log() {
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "");
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x20, 0x00, b""), Vec::new()] {
        let mark = bench.proxy.mark();
        let mut peer = connect(&bench);
        let own = v4_of(&peer, &bench, "v1", b"");
        peer.send(if header.is_empty() { own } else { header });
        let mut server = bench.server.accept();
        peer.reset();
        server.gone();
        bench.proxy.wait_log_after(mark, "DEBUG health check ended: ");
        assert!(!bench.proxy.log_after(mark).contains("session ended"), "that is for clients");
    }
}

/// Many a check looks only whether anybody listens: nobody is at fault.
#[test]
fn a_load_balancer_may_leave_without_a_word() {
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "");
    let mut peer = connect(&bench);
    peer.shutdown_write();
    peer.gone();
    let line = bench.proxy.wait_log("session ended: ");
    assert!(line.contains("the client closed the connection"), "{line}");
    assert!(!line.contains("fault="), "{line}");
}

#[test]
fn a_stop_does_not_wait_for_headers() {
    let mut bench = Bench::between(Insecure, FROM_HERE, Insecure, "");
    // Longer than the test waits.
    set_handshake(&bench, "10m");
    let _silent = connect(&bench);
    let mut half = connect(&bench);
    half.send(&V4_TEXT[..20]);
    bench.proxy.terminate();
    assert_eq!(bench.proxy.exit_code(), Some(0));
}

/// From anywhere else a header is what it looks like to IMAP: a line of a client.
#[test]
fn who_is_no_load_balancer_is_not_believed() {
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "");
    let elsewhere = "127.0.0.77";
    let mark = bench.proxy.mark();
    let mut peer = peer::client_from(elsewhere, bench.proxy.address(SERVICE));
    let mut server = bench.server.accept();
    server.send(GREETING);
    peer.expect(GREETING);
    exchange(&mut peer, &mut server, V4_TEXT.as_bytes(), b"PROXY BAD what?\r\n");
    let started = bench.proxy.wait_log_after(mark, "session started");
    assert!(started.contains(&format!("client=\"{}\"", peer.address())), "{started}");

    let bench = Bench::between(Tls, FROM_HERE, Insecure, "");
    let mut peer = peer::client_from(elsewhere, bench.proxy.address(SERVICE));
    peer.send(v2(0x21, 0x11, V4));
    peer.gone();
    let line = bench.proxy.wait_log("session ended: ");
    assert!(line.contains("TLS handshake with the client failed"), "{line}");
    assert!(line.contains(&format!("client=\"{}\"", peer.address())), "{line}");
}

/// The header for the server, if the client at `peer` came directly.
fn v4_of(peer: &Peer, bench: &Bench, version: &str, tls: &[u8]) -> Vec<u8> {
    let (client, proxy) = (peer.address(), bench.proxy.address(SERVICE));
    if version == "v1" {
        let text = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", client.port(), proxy.port());
        return text.into();
    }
    let ports = [client.port().to_be_bytes(), proxy.port().to_be_bytes()].concat();
    v2(0x21, 0x11, &[&[127, 0, 0, 1, 127, 0, 0, 1], &ports[..], tls].concat())
}

#[test]
fn the_server_hears_of_the_client_first() {
    for version in ["v1", "v2"] {
        let key = format!("proxy_protocol = \"{version}\",");
        for (bind, tls) in [(Insecure, &b""[..]), (Tls, TLS_13)] {
            let bench = Bench::between(bind, "", Insecure, &key);
            let (mut peer, mut server) = bench.connect();
            server.expect(v4_of(&peer, &bench, version, tls));
            server.send(GREETING);
            peer.expect(GREETING);
            exchange(&mut peer, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
        }
        let bench = Bench::between(Insecure, "", Tls, &key);
        let (mut peer, server) = bench.connect();
        let mut server = server.expect_and_tls(v4_of(&peer, &bench, version, b""));
        server.send(GREETING);
        peer.expect(GREETING);
        exchange(&mut peer, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    }
}

/// What one balancer said is what the next hop hears, in the version that it asks for.
#[test]
fn what_the_load_balancer_said_goes_on_to_the_server() {
    let with_tls = |addresses: &[u8]| [addresses, TLS_13].concat();
    for (version, sent, heard) in [
        ("v1", V4_TEXT.into(), V4_TEXT.into()),
        ("v1", v2(0x21, 0x21, V6), V6_TEXT.into()),
        ("v1", v2(0x21, 0x11, &with_tls(V4)), V4_TEXT.into()),
        ("v2", V6_TEXT.into(), v2(0x21, 0x21, V6)),
        ("v2", v2(0x21, 0x11, &with_tls(V4)), v2(0x21, 0x11, &with_tls(V4))),
    ] {
        let key = format!("proxy_protocol = \"{version}\",");
        let bench = Bench::between(Insecure, FROM_HERE, Insecure, &key);
        let mut peer = connect(&bench);
        peer.send(sent);
        let mut server = bench.server.accept();
        server.expect(heard);
        server.send(GREETING);
        peer.expect(GREETING);
    }
    // A connection of the balancer's own is told as that.
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "proxy_protocol = \"v2\",");
    let mut peer = connect(&bench);
    peer.send("PROXY UNKNOWN\r\n");
    bench.server.accept().expect(v4_of(&peer, &bench, "v2", b""));
}

/// The arguments of the ID command for this client, the session's name left out.
fn id_fields(client: &str, port: u16, connected: &str, at: u16, transport: &str) -> [String; 2] {
    [
        format!(
            "(\"x-originating-ip\" \"{client}\" \"x-originating-port\" \"{port}\" \
             \"x-connected-ip\" \"{connected}\" \"x-connected-port\" \"{at}\" \"x-session-id\" \""
        ),
        format!("\" \"x-client-transport\" \"{transport}\" \"x-proxy-ttl\" \"4\")\r\n"),
    ]
}

/// The server's next line is an ID command with these fields. Returns its tag.
#[track_caller]
fn expect_id(server: &mut Peer, [start, end]: &[String; 2]) -> String {
    let line = String::from_utf8(server.line()).expect("UTF-8");
    let (tag, arguments) = line.split_once(" ID ").expect("an ID command");
    let session = arguments.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    let is_name =
        |name: &str| name.len() < 65 && name.chars().all(|c| c.is_alphanumeric() || c == '-');
    assert!(session.is_some_and(is_name), "expected {start}NAME{end} but came {line}");
    tag.to_owned()
}

/// It comes before any command of the client, and the client sees nothing of it.
#[test]
fn the_server_may_be_told_by_id() {
    for bind in [Insecure, Tls] {
        for connect in [Insecure, Tls, StartTls] {
            let bench = Bench::between(bind, "", connect, "send_client_id = true,");
            for answer in ["* ID NIL\r\n@ OK done\r\n", "@ NO who?\r\n", "@ BAD what?\r\n"] {
                let (mut peer, mut server) = bench.connect();
                peer.send("A1 NOOP\r\n");
                match connect {
                    Insecure => server.send(GREETING),
                    Tls => {
                        server = server.expect_and_tls("");
                        server.send(GREETING);
                    }
                    StartTls => {
                        server.send("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n");
                        server.expect("proxy STARTTLS\r\n");
                        server.send("proxy OK go on\r\n");
                        server = server.expect_and_tls("");
                        server.expect("proxy CAPABILITY\r\n");
                        server.send("* CAPABILITY IMAP4rev1 IDLE\r\nproxy OK done\r\n");
                    }
                }
                let transport = if bind == Tls { "TLS" } else { "insecure" };
                let (from, to) = (peer.address().port(), bench.proxy.address(SERVICE).port());
                let fields = id_fields("127.0.0.1", from, "127.0.0.1", to, transport);
                let tag = expect_id(&mut server, &fields);
                server.expect_nothing_so_far();
                server.send(answer.replace('@', &tag));
                peer.expect_line_starting("* OK ");
                server.expect("A1 NOOP\r\n");
                server.send("A1 OK done\r\n");
                peer.expect("A1 OK done\r\n");
            }
        }
    }
}

#[test]
fn what_the_load_balancer_said_goes_on_by_id() {
    let bench = Bench::between(Insecure, FROM_HERE, Insecure, "send_client_id = true,");
    for (header, client, connected, transport) in [
        (V6_TEXT.into(), "2001:db8::7", "2001:db8::2", "insecure"),
        (v2(0x21, 0x11, &[V4, TLS_13].concat()), "192.0.2.7", "198.51.100.2", "TLS"),
    ] {
        let mut peer = connect(&bench);
        peer.send(header);
        let mut server = bench.server.accept();
        server.send(GREETING);
        expect_id(&mut server, &id_fields(client, 49152, connected, 143, transport));
    }
}
