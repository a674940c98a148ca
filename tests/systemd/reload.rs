//! Sessions that live through whatever happens to the config.

use std::{fs, net::TcpListener};

use crate::{
    clients::{Session, is_refused},
    common::{
        bench::Encryption::{Insecure, Tls},
        certs::KEY,
        dovecot::Dovecot,
    },
    keys::Pair,
    rig::{CONFIG, Rig, eventually, service},
};

/// More than the buffers between a server and a client hold.
const MESSAGE: usize = 12_000_000;
const SESSIONS: usize = 50;

/// A site with [`SESSIONS`] clients, half of them over TLS: every other one is in IDLE, the rest in
/// the middle of a FETCH.
struct Site {
    rig: Rig,
    upstream: u16,
    message: Vec<u8>,
    idle: Vec<Session>,
    fetching: Vec<Session>,
    _dovecot: Dovecot,
}

impl Site {
    fn start() -> Self {
        let dovecot = Dovecot::start();
        let upstream = dovecot.address(Insecure).port();
        let rig = Rig::start(|rig| config(rig, upstream));
        let message = message();
        Session::open(rig.at(143), Insecure).append(&message);
        let (mut idle, mut fetching) = (Vec::new(), Vec::new());
        for number in 0..SESSIONS {
            let (address, encryption) =
                if number % 4 < 2 { (rig.at(143), Insecure) } else { (rig.at(993), Tls) };
            let mut session = Session::open(address, encryption);
            if number % 2 == 0 {
                session.idle();
                idle.push(session);
            } else {
                session.begin_fetch(&message);
                fetching.push(session);
            }
        }
        Self { rig, upstream, message, idle, fetching, _dovecot: dovecot }
    }

    fn config(&self) -> String {
        config(&self.rig, self.upstream)
    }

    /// Each session does what it is there for. `port` is one that is served now.
    fn end(self, port: u16) {
        // Others may end a little later than their clients.
        let status = || self.rig.status();
        let all = format!(" sessions: {SESSIONS};");
        eventually("all sessions, and no other", || status().contains(&all), status);
        let fetched = || self.rig.fields("IMAP_SIZE", "IMAP_RESPONSE=FETCH");
        assert!(fetched().is_empty(), "a message that went through is in the middle of nothing");

        Session::open(self.rig.at(port), Insecure).append(b"Subject: news\r\n\r\nnews\r\n");
        for mut session in self.idle {
            session.wait_line("* 2 EXISTS", "* 2 EXISTS");
            session.0.send("DONE\r\n");
            session.finish();
            session.logout();
        }
        for mut session in self.fetching {
            session.end_fetch(&self.message);
            session.logout();
        }
        eventually(
            "all FETCH responses",
            || fetched().len() == SESSIONS / 2,
            || fetched().join("\n"),
        );
    }
}

#[test]
fn sessions_live_through_every_change() {
    let site = Site::start();
    let rig = &site.rig;
    let config = site.config();
    let changed = |text: &str| rig.wait_log(&format!("configuration reloaded, changed: {text}"));

    // Added, and removed again.
    let added = service("added", rig.at(2143), Insecure, site.upstream);
    rig.reload(&(config.clone() + &added));
    changed("added");
    Session::open(rig.at(2143), Insecure).logout();
    rig.reload(&config);
    eventually("the added one gone", || is_refused(rig.at(2143)), || rig.log());

    // Changed: what is shown, for how long, and where to.
    let elsewhere =
        config.replace("connect = { host = \"127.0.0.1\"", "connect = { host = \"localhost\"");
    rig.reload(&format!("trace = \"full\"\ntimeouts = {{ login = \"1m\" }}\n{elsewhere}"));
    let server_of_next = || {
        Session::open(rig.at(143), Insecure).logout();
        rig.fields("IMAP_SERVER", "IMAP_COMMAND=LOGIN").pop().unwrap_or_default()
    };
    let expected = format!("localhost:{}", site.upstream);
    eventually("the new server", || server_of_next() == expected, server_of_next);
    rig.wait_log("Login {");

    // Both of them at each other's address.
    let (plain, tls) = (rig.at(143), rig.at(993));
    let traded =
        service("plain", tls, Insecure, site.upstream) + &service("tls", plain, Tls, site.upstream);
    rig.reload(&traded);
    eventually("TLS there", || is_tls(plain), || rig.log());
    Session::open(plain, Tls).logout();
    Session::open(tls, Insecure).logout();

    // Other addresses.
    let moved = traded.replace("port = 143", "port = 3143").replace("port = 993", "port = 3993");
    rig.reload(&moved);
    eventually("nobody there", || is_refused(plain) && is_refused(tls), || rig.log());
    Session::open(rig.at(3143), Tls).logout();

    // A new certificate.
    let pair = Pair::new();
    pair.put(rig);
    rig.ok("systemctl reload imap-proxy");
    pair.wait_shown(rig.at(3143));

    // All that the sessions came through, gone.
    rig.reload(&added);
    eventually("nobody there", || is_refused(rig.at(3993)), || rig.log());
    assert!(is_refused(rig.at(3143)));
    site.end(2143);
}

#[test]
fn sessions_live_through_a_hundred_reloads() {
    let site = Site::start();
    let rig = &site.rig;
    let config = site.config();
    for round in 0..100 {
        // Every other one changes something.
        rig.reload(&format!("[limits]\ncommand_line = {}\n{config}", 60_000 + round / 2));
    }
    Session::open(rig.at(143), Insecure).logout();
    assert_eq!(rig.property("NRestarts"), "0");
    site.end(143);
}

#[test]
fn sessions_live_through_reloads_that_fail() {
    let site = Site::start();
    let rig = &site.rig;
    let config = site.config();
    let other = TcpListener::bind(rig.at(4143)).expect("a free port");
    let taken = config.clone() + &service("taken", rig.at(4143), Insecure, site.upstream);
    let failures = [
        (config.replace("[[services]]", "[[services"), "config.toml:1:"),
        (format!("nonsense = 1\n{config}"), "config.toml:1:1: "),
        (config.replace("\"tls\"", "\"plain\""), "config.toml:"),
        (config.replace("Insecure", "Insexure"), "unknown value `Insexure`"),
        (config.replace(KEY, "none.pem"), "none.pem"),
        (String::new(), "[[services]]"),
        (taken, "service \"taken\" cannot listen on "),
    ];
    for (text, problem) in &failures {
        fails(rig, text, problem);
        let status = || rig.property("StatusText");
        let failed = || status().contains("; RELOAD FAILED, configuration of ");
        eventually("a status that tells", failed, status);
    }
    drop(other);

    let key = rig.path(&format!("/etc/imap-proxy/tls/{KEY}"));
    let text = fs::read_to_string(&key).expect("readable");
    for (wrong, problem) in [(Pair::new().key.as_str(), KEY), ("no key", KEY)] {
        fs::write(&key, wrong).expect("written");
        fails(rig, &config, problem);
    }
    fs::write(&key, text).expect("written");
    rig.ok(&format!("chmod 0600 /etc/imap-proxy/tls/{KEY}"));
    fails(rig, &config, "Permission denied");
    rig.ok(&format!("chmod 0644 /etc/imap-proxy/tls/{KEY}"));

    let mended = || !rig.status().contains("FAILED");
    rig.reload(&config);
    eventually("a status that all is well", mended, || rig.status());
    Session::open(rig.at(993), Tls).logout();
    site.end(143);
}

/// The reload fails and says why, and new clients are served as before.
#[track_caller]
fn fails(rig: &Rig, config: &str, problem: &str) {
    let before = rig.log();
    rig.write(CONFIG, config);
    rig.fails("systemctl reload imap-proxy");
    let log = rig.log();
    let news = log.strip_prefix(&before).unwrap_or(&log);
    assert!(news.contains(problem), "expected {problem:?} in:\n{news}");
    assert_eq!(rig.property("ActiveState"), "active");
    Session::open(rig.at(143), Insecure).logout();
    Session::open(rig.at(993), Tls).logout();
}

fn config(rig: &Rig, upstream: u16) -> String {
    service("plain", rig.at(143), Insecure, upstream) + &service("tls", rig.at(993), Tls, upstream)
}

fn is_tls(address: std::net::SocketAddr) -> bool {
    use std::io::{Read, Write};
    let mut tcp = std::net::TcpStream::connect(address).expect("somebody listens");
    // Neither a greeting nor a handshake comes of this: an alert, or nothing.
    let _ = tcp.write_all(b"A1 NOOP\r\n");
    let mut first = [0];
    tcp.read_exact(&mut first).is_ok() && first != *b"*"
}

/// Lines that are told from each other.
fn message() -> Vec<u8> {
    let lines =
        (0u32..).flat_map(|n| format!("This is line {n} of a long message.\r\n").into_bytes());
    let mut message = b"Subject: long\r\n\r\n".to_vec();
    message.extend(lines.take(MESSAGE));
    message.extend(b"\r\n");
    message
}
