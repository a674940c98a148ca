//! A real `HAProxy` in front and a real Dovecot behind: Dovecot sees the client's own address.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that panics is a test that fails")]

mod common;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{
    bench::{
        Encryption::{Insecure, Tls},
        SERVICE, service_to,
    },
    certs::{CHAIN, KEY, certs},
    dovecot::Dovecot,
    live::free_port,
    peer::{self, Peer},
    proxy::{DEADLINE, Proxy},
    secrets::{ACCOUNT, USER, WRONG},
};
use tempfile::TempDir;

const BALANCED: &str = "proxy_protocol_from = [\"127.0.0.1\"],";

/// A proxy without TLS on either side, with these keys for the listener and for the server.
fn proxy(bind_keys: &str, server: SocketAddr, keys: &str) -> Proxy {
    let config = service_to(SERVICE, Insecure, Insecure, server.port(), "")
        .replacen("bind = { ", &format!("bind = {{ {bind_keys} "), 1)
        .replacen("connect = { ", &format!("connect = {{ {keys} "), 1);
    Proxy::start(&config)
}

/// An address of this host that no other client has.
fn own_address() -> String {
    let [high, low] = free_port().to_be_bytes();
    format!("127.1.{high}.{low}")
}

/// Sends a command, and reads up to its answer, which must be `OK` or `NO` as expected.
#[track_caller]
fn command(peer: &mut Peer, command: &str, expected: &str) {
    peer.send(format!("A1 {command}\r\n"));
    loop {
        let line = String::from_utf8_lossy(&peer.line()).into_owned();
        if line.starts_with("A1 ") {
            assert!(line.starts_with(&format!("A1 {expected}")), "{line}");
            return;
        }
    }
}

fn log_in(peer: &mut Peer) {
    peer.expect_line_starting("* OK ");
    command(peer, &format!("LOGIN {USER} {ACCOUNT}"), "OK");
}

/// `HAProxy` in front of an address. It listens on 127.0.0.1, and speaks to the server from there.
struct Haproxy {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Haproxy {
    /// `bind` and `server` are options of the lines of these names.
    fn start(bind: &str, to: SocketAddr, server: &str) -> Self {
        let dir = TempDir::new().expect("a folder");
        let identity = [certs().read(CHAIN), certs().read(KEY)].concat();
        fs::write(dir.path().join("identity.pem"), identity).expect("written");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        // A connection to the first would go on to the proxy.
        let ready = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 20s\n  timeout client 60s\n  timeout server 60s\n\
             listen mail\n  bind {address} {bind}\n  server proxy {to} {server}\n\
             frontend ready\n  bind {ready}\n  tcp-request connection reject\n"
        );
        fs::write(dir.path().join("haproxy.cfg"), config).expect("written");
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let child = Command::new("haproxy")
            .args(["-db", "-f", "haproxy.cfg"])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("haproxy is installed");
        let haproxy = Self { child, address, dir };
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(ready).is_err() {
            assert!(Instant::now() < deadline, "HAProxy does not listen: {}", haproxy.log());
            thread::sleep(Duration::from_millis(10));
        }
        haproxy
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("readable")
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of HAProxy ---\n{}----------------------", self.log());
        }
    }
}

/// The ways to tell Dovecot: where it listens for that, and the key.
fn ways(dovecot: &Dovecot) -> [(SocketAddr, &'static str); 3] {
    [
        (dovecot.proxied(), "proxy_protocol = \"v1\","),
        (dovecot.proxied(), "proxy_protocol = \"v2\","),
        (dovecot.address(Insecure), "send_client_id = true,"),
    ]
}

#[test]
fn dovecot_sees_the_client_through_both() {
    let dovecot = Dovecot::start_trusting();
    for (server, key) in ways(&dovecot) {
        for send in ["send-proxy", "send-proxy-v2"] {
            let proxy = proxy(BALANCED, server, key);
            let haproxy = Haproxy::start("", proxy.address(SERVICE), send);
            let client = own_address();

            let mut peer = peer::client_from(&client, haproxy.address);
            log_in(&mut peer);
            command(&mut peer, "LOGOUT", "OK");
            let (rip, lip) = (format!("rip={client},"), "lip=127.0.0.1,");
            let line = dovecot.wait_log(&["Login: ", &rip, lip]);
            proxy.wait_log(&format!("client=\"{}\"", peer.address()));
            if key.contains("send_client_id") {
                // One name for the session in both logs.
                let (_, name) = line.split_once("session=<").expect("a session");
                let name = name.split('>').next().expect("its end");
                assert!(proxy.log().contains(&format!("session=\"{name}\"")), "{line}");
            }

            // What fail2ban looks for behind.
            let mut peer = peer::client_from(&own_address(), haproxy.address);
            peer.expect_line_starting("* OK ");
            command(&mut peer, &format!("LOGIN {USER} {WRONG}"), "NO");
            let rip = format!("rip={},", peer.address().ip());
            drop(peer);
            dovecot.wait_log(&["auth failed", &rip]);
        }
    }
}

#[test]
fn dovecot_sees_direct_clients_and_whether_they_speak_tls() {
    let dovecot = Dovecot::start_trusting();
    for bind in [Insecure, Tls] {
        let config = service_to(SERVICE, bind, Insecure, dovecot.proxied().port(), "").replacen(
            "connect = { ",
            "connect = { proxy_protocol = \"v2\", ",
            1,
        );
        let proxy = Proxy::start(&config);
        let client = own_address();
        let mut peer = peer::client_from(&client, proxy.address(SERVICE));
        if bind == Tls {
            peer = peer.start_tls();
        }
        log_in(&mut peer);
        let line = dovecot.wait_log(&["Login: ", &format!("rip={client},")]);
        assert_eq!(line.contains("secured"), bind == Tls, "{line}");
    }
    // Where HAProxy ends TLS, it says so.
    let proxy = proxy(BALANCED, dovecot.proxied(), "proxy_protocol = \"v2\",");
    let haproxy =
        Haproxy::start("ssl crt identity.pem", proxy.address(SERVICE), "send-proxy-v2-ssl");
    let client = own_address();
    let mut peer = peer::client_from(&client, haproxy.address).start_tls();
    log_in(&mut peer);
    dovecot.wait_log(&["Login: ", &format!("rip={client},"), "secured"]);
}

/// A client that tells of itself what only the proxy may tell is not believed: it comes too late.
#[test]
fn a_client_cannot_forge_its_address_by_id() {
    let dovecot = Dovecot::start_trusting();
    let proxy = proxy("", dovecot.address(Insecure), "send_client_id = true,");
    let client = own_address();
    let mut peer = peer::client_from(&client, proxy.address(SERVICE));
    // With the first bytes of all.
    peer.send("A0 ID (\"x-originating-ip\" \"203.0.113.66\" \"x-session-id\" \"forged\")\r\n");
    peer.expect_line_starting("* OK ");
    peer.expect_line_starting("* ID ");
    peer.expect_line_starting("A0 OK ");
    command(&mut peer, &format!("LOGIN {USER} {ACCOUNT}"), "OK");
    let line = dovecot.wait_log(&["Login: ", &format!("rip={client},")]);
    assert!(!line.contains("forged"), "{line}");
    assert!(!dovecot.log().contains("203.0.113.66"), "{}", dovecot.log());
}

/// `HAProxy`'s checks are nobody's fault, and find the proxy up.
#[test]
fn health_checks_of_haproxy_succeed() {
    let dovecot = Dovecot::start_trusting();
    for (send, check) in [
        ("send-proxy", "check inter 100ms"),
        ("send-proxy-v2", "check inter 100ms"),
        ("send-proxy-v2", "check-send-proxy check inter 100ms"),
    ] {
        let proxy = proxy(BALANCED, dovecot.proxied(), "proxy_protocol = \"v1\",");
        let haproxy =
            Haproxy::start("", proxy.address(SERVICE), &format!("{send} {check} fall 1 rise 1"));
        for _ in 0..5 {
            proxy.wait_log_after(proxy.mark(), "DEBUG health check ended: ");
        }
        assert!(!proxy.log().contains("fault=\"client\""), "they leave by a reset");
        log_in(&mut peer::client(haproxy.address));
        assert!(!haproxy.log().contains("is DOWN"), "{}", haproxy.log());
    }
}
