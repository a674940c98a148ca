//! Large transfers arrive whole, and cost little memory; the last line always arrives.

#![allow(
    clippy::expect_used,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

mod common;

use std::{fs, sync::mpsc, thread, time::Duration};

use common::{
    bench::{
        Bench,
        Encryption::{self, Insecure, Tls},
        GREETING, service_to,
    },
    dovecot::Dovecot,
    peer::Peer,
    proxy::Proxy,
    transcript::Transcript,
};

const MEGABYTE: usize = 1 << 20;

#[test]
fn a_large_message_is_appended_and_fetched_bit_for_bit() {
    let dovecot = Dovecot::start();
    let port = dovecot.address(Tls).port();
    let keys = "trace = \"full\"";
    let proxy = Proxy::start(&service_to("transfer", Tls, Tls, port, keys));
    let mut client = Transcript::login(proxy.address("transfer"), Tls);
    client.command("SELECT INBOX");
    let message = large_message(30 * MEGABYTE);

    let memory = Memory::of(&proxy);
    let synchronising = client.append("INBOX", &message);
    let non_synchronising =
        client.command(format!("APPEND INBOX {{{}+}}\r\n{message}", message.len()));
    for answer in [synchronising, non_synchronising] {
        assert!(answer.contains(" OK [APPENDUID "), "{answer}");
    }
    for number in 1..=2 {
        client.line(format!("F{number} FETCH {number} BODY.PEEK[]"));
        let fetched = client.raw();
        let expected = format!("* {number} FETCH (BODY[] {{{}}}\r\n{message})\r\n", message.len());
        assert!(fetched == expected.as_bytes(), "message {number} was altered");
        client.wait_for(&format!("F{number} OK"));
    }
    memory.assert_grew_by_less_than(32 * MEGABYTE);
}

#[test]
fn a_stalled_download_costs_little_and_goes_on_later() {
    stalled_download(Insecure, Insecure);
}

#[test]
fn a_stalled_download_over_tls_costs_little_and_goes_on_later() {
    stalled_download(Tls, Tls);
}

#[test]
fn sessions_in_mid_transfer_hold_less_than_256_kib_each() {
    mid_transfer(Insecure, Insecure);
}

#[test]
fn sessions_in_mid_transfer_over_tls_hold_less_than_256_kib_each() {
    mid_transfer(Tls, Tls);
}

#[test]
fn the_last_line_of_a_session_always_arrives() {
    last_line(Insecure, Insecure);
}

#[test]
fn the_last_line_of_a_session_over_tls_always_arrives() {
    last_line(Tls, Tls);
}

fn stalled_download(bind: Encryption, connect: Encryption) {
    const CHUNKS: usize = 200;
    // Long against any pause of a sender that is not held up.
    const HELD_UP: Duration = Duration::from_secs(2);

    let bench = Bench::new(bind, connect, "trace = \"full\"");
    let (mut client, mut server) = bench.session();
    client.send("A1 FETCH 1 BODY[]\r\n");
    server.expect("A1 FETCH 1 BODY[]\r\n");

    let memory = Memory::of(&bench.proxy);
    let chunk = large_message(MEGABYTE).into_bytes();
    let head = format!("* 1 FETCH (BODY[] {{{}}}\r\n", CHUNKS * chunk.len());
    let tail = ")\r\nA1 OK done\r\n";
    let (progress, sent) = mpsc::channel();
    let sender = thread::spawn({
        let (head, chunk) = (head.clone(), chunk.clone());
        move || {
            server.send(head);
            for _ in 0..CHUNKS {
                server.send(&chunk);
                progress.send(()).expect("the receiver is there");
            }
            server.send(tail);
        }
    });

    let mut taken = 0;
    while sent.recv_timeout(HELD_UP).is_ok() {
        taken += 1;
    }
    assert!(taken < CHUNKS / 2, "{taken} MB were taken though the client reads nothing");
    memory.assert_grew_by_less_than(4 * MEGABYTE);

    client.expect(head);
    for number in 0..CHUNKS {
        assert!(client.exactly(chunk.len()) == chunk, "megabyte {number} was altered");
    }
    client.expect(tail);
    sender.join().expect("all was sent");
    memory.assert_grew_by_less_than(4 * MEGABYTE);
}

fn mid_transfer(bind: Encryption, connect: Encryption) {
    const SESSIONS: usize = 40;
    const SIZE: usize = 8 * MEGABYTE;

    let bench = Bench::new(bind, connect, "trace = \"summary\"");
    let (mut clients, servers): (Vec<_>, Vec<_>) = (0..SESSIONS).map(|_| bench.session()).unzip();
    let answer = format!("* 1 FETCH (BODY[] {{{SIZE}}}\r\n{})\r\n", large_message(SIZE));
    let memory = Memory::of(&bench.proxy);
    thread::scope(|scope| {
        for mut server in servers {
            scope.spawn(|| {
                server.send(&answer);
                server
            });
        }
        // Whoever has not had its turn is stalled.
        for client in &mut clients {
            assert!(client.exactly(answer.len()) == answer.as_bytes(), "the message was altered");
        }
    });
    memory.assert_grew_by_less_than(SESSIONS * 256 * 1024);
}

fn last_line(bind: Encryption, connect: Encryption) {
    const SESSIONS: usize = 1000;
    const FAREWELL: &str = "* BYE until later\r\nA1 OK done\r\n";

    let bench = Bench::new(bind, connect, "");
    let logout = |client: &mut Peer| {
        client.expect(GREETING);
        client.send("A1 LOGOUT\r\n");
        client.expect(FAREWELL);
        // Over TLS only a close_notify is a proper end.
        client.eof();
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..SESSIONS {
                let mut server = bench.server.accept();
                server.send(GREETING);
                server.expect("A1 LOGOUT\r\n");
                // The end comes in the same segment as the last line.
                server.send_and_end(FAREWELL);
            }
        });
        for _ in 0..SESSIONS {
            logout(&mut bench.client());
        }
    });
}

/// Memory of a proxy, from what it is now.
struct Memory {
    status: String,
    before: usize,
}

impl Memory {
    fn of(proxy: &Proxy) -> Self {
        let status = format!("/proc/{}/status", proxy.pid());
        let before = field(&status, "VmRSS:");
        // Makes the peak start from what is resident now (proc_pid_clear_refs(5)).
        fs::write(format!("/proc/{}/clear_refs", proxy.pid()), "5").expect("peak reset");
        Self { status, before }
    }

    /// At no time since was more resident.
    #[track_caller]
    fn assert_grew_by_less_than(&self, bytes: usize) {
        let grown = field(&self.status, "VmHWM:").saturating_sub(self.before);
        assert!(grown < bytes, "memory grew from {} by {grown} bytes", self.before);
    }
}

/// A field of /proc/PID/status, in bytes.
fn field(status: &str, name: &str) -> usize {
    let text = fs::read_to_string(status).expect("the proxy runs");
    let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("the field");
    let kib = value.trim().trim_end_matches(" kB");
    kib.parse::<usize>().expect("a number") * 1024
}

/// A message of exactly this many bytes, no two lines of which are the same.
fn large_message(size: usize) -> String {
    let lines = (0..).map(|n| format!("{n:08} A1 OK {{100}} {}\r\n", "x".repeat(n % 60)));
    let mut message = String::with_capacity(size + 100);
    message.push_str("Subject: large\r\n\r\n");
    for line in lines {
        if message.len() + line.len() + 2 > size {
            break;
        }
        message.push_str(&line);
    }
    message.push_str(&".".repeat(size - message.len() - 2));
    message.push_str("\r\n");
    message
}
