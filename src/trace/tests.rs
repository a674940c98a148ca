//! What is seen of whole sessions.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Guard, SessionTap, TraceHandle, is_ours,
    queue::{Item, Next, Queue},
    render::render,
    seen::context,
    start_to,
};
use crate::{
    config::{Trace, TraceLevel},
    relay::{Kind, Party, Tap},
};

pub(super) const BEFORE: Kind = Kind::Command { authenticated: false };
pub(super) const AFTER: Kind = Kind::Command { authenticated: true };

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct Bench {
    pub(super) tap: SessionTap,
    guard: Guard,
    output: Output,
}

impl Bench {
    pub(super) fn new(level: TraceLevel, max_body: usize, reveal_secrets: bool) -> Self {
        let output = Output::default();
        let guard = start_to(output.clone()).unwrap();
        let options = Trace { level, max_body, reveal_secrets };
        Self { tap: tap(&guard.handle(), &options), guard, output }
    }

    /// A session at level `summary`, logged in by messages 1 and 2.
    pub(super) fn logged_in() -> Self {
        let mut bench = Self::new(TraceLevel::Summary, 0, false);
        log_in(&mut bench.tap);
        bench
    }

    pub(super) fn client(&mut self, line: &str, kind: Kind) {
        client(&mut self.tap, line, kind);
    }

    pub(super) fn server(&mut self, line: &str) {
        server(&mut self.tap, line);
    }

    /// The lines that were written, without time, service and session.
    pub(super) fn lines(self) -> Vec<String> {
        drop(self.tap);
        drop(self.guard);
        let written = self.output.0.lock().unwrap().clone();
        let line = |line: &str| line.split_once('#').unwrap().1.to_owned();
        String::from_utf8(written).unwrap().lines().map(line).collect()
    }
}

fn tap(handle: &TraceHandle, options: &Trace) -> SessionTap {
    SessionTap::new(handle, options, context())
}

fn client(tap: &mut SessionTap, line: &str, kind: Kind) {
    tap.line(Party::Client, line.as_bytes());
    tap.end(Party::Client, Party::Server, kind);
}

fn server(tap: &mut SessionTap, line: &str) {
    tap.message(Party::Server, Party::Client, Kind::Response, line.as_bytes());
}

fn log_in(tap: &mut SessionTap) {
    client(tap, "A1 LOGIN bob hunter2\r\n", BEFORE);
    tap.authenticated();
    server(tap, "A1 OK Logged in\r\n");
}

#[test]
fn a_session_in_short() {
    let mut bench = Bench::new(TraceLevel::Summary, 0, false);
    bench.tap.line(Party::Server, b"* OK hello\r\n");
    bench.tap.end(Party::Server, Party::Client, Kind::Greeting);
    bench.client("A1 LOGIN bob hunter2\r\n", BEFORE);
    bench.tap.authenticated();
    bench.server("A1 OK Logged in\r\n");
    bench.client("A2 UID FETCH 1 (BODY[])\r\n", AFTER);
    bench.tap.line(Party::Server, b"* 1 FETCH (BODY[] {300000}\r\n");
    bench.tap.literal(Party::Server, 300_000);
    bench.tap.literal_bytes(Party::Server, &vec![b'x'; 300_000]);
    bench.tap.line(Party::Server, b")\r\n");
    bench.tap.end(Party::Server, Party::Client, Kind::Response);
    bench.tap.line(Party::Proxy, b"* BYE proxy: stopping\r\n");
    bench.tap.end(Party::Proxy, Party::Client, Kind::Response);
    assert_eq!(
        bench.lines(),
        [
            "1 server→client * OK (12 bytes)",
            "2 client→server A1 LOGIN (22 bytes)",
            "3 user=\"bob\" server→client A1 OK (17 bytes)",
            "4 user=\"bob\" client→server A2 UID FETCH (25 bytes)",
            "5 user=\"bob\" server→client * FETCH (300031 bytes)",
            "6 user=\"bob\" proxy→client * BYE (23 bytes)",
        ]
    );
}

#[test]
fn messages_in_full_are_decoded() {
    let mut bench = Bench::new(TraceLevel::Full, 5, false);
    bench.client("A1 LOGIN bob hunter2\r\n", BEFORE);
    bench.client("A2 AUTHENTICATE PLAIN AGJvYgBodW50ZXIy\r\n", BEFORE);
    bench.tap.authenticated();
    bench.tap.line(Party::Server, b"* 1 FETCH (BODY[] {11}\r\n");
    bench.tap.literal(Party::Server, 11);
    bench.tap.literal_bytes(Party::Server, b"Hello world");
    bench.tap.line(Party::Server, b")\r\n");
    bench.tap.end(Party::Server, Party::Client, Kind::Response);
    bench.server("* X-UNKNOWN \x1b[31m(\r\n");
    bench.client(&format!("A3 NOOP {}\r\n", "x".repeat(10_000)), AFTER);
    let lines = bench.lines();
    assert!(
        lines[0].contains("Command { tag: Tag(\"A1\"), body: Login { username"),
        "{}",
        lines[0]
    );
    assert!(lines[1].ends_with("(initial response of 16 bytes withheld)"), "{}", lines[1]);
    assert!(lines[2].contains("Hello<+6 bytes>"), "{}", lines[2]);
    assert_eq!(lines[3], "4 user=\"bob\" server→client undecoded: * X-UNKNOWN \\u{1b}[31m(\\r\\n");
    assert!(
        lines[4].starts_with("5 user=\"bob\" client→server cut, 10010 bytes in all: A3 NOOP xxx")
    );
    assert!(lines[4].ends_with("… (+4091 bytes)") && lines[4].len() < 4300);
    assert!(!lines.concat().contains("hunter2") && !lines.concat().contains("AGJvYg"));
}

#[test]
fn no_secret_of_a_failed_login_is_shown() {
    for level in [TraceLevel::Summary, TraceLevel::Full] {
        let mut bench = Bench::new(level, 1000, false);
        bench.client("A1 LOGIN bob hunter2\r\n", BEFORE);
        bench.server("A1 NO bob:hunter2 is wrong\r\n");
        bench.client("A1 AUTHENTICATE LOGIN\r\n", BEFORE);
        bench.client("Ym9i\r\n", Kind::SaslResponse);
        bench.client("aHVudGVyMg==\r\n", Kind::SaslResponse);
        bench.server("A1 BAD you said hunter2, in other words aHVudGVyMg==\r\n");
        bench.client("hunter2\r\n", BEFORE);
        bench.server("hunter2 BAD What?\r\n");
        bench.client("A1 LOGIN ", BEFORE);
        bench.tap.line(Party::Client, b"A1 LOGIN bob {7}\r\n");
        bench.tap.literal(Party::Client, 7);
        bench.tap.literal_bytes(Party::Client, b"hunter2");
        bench.tap.line(Party::Client, b"\r\n");
        bench.tap.end(Party::Client, Party::Server, BEFORE);
        bench.tap.authenticated();
        bench.server("A1 OK hunter2 was right\r\n");
        bench.client("aHVudGVyMg==\r\n", AFTER);
        bench.server("aHVudGVyMg== BAD What?\r\n");
        let lines = bench.lines();
        assert_eq!(lines.len(), 13);
        let all = lines.concat();
        assert!(!all.contains("hunter2") && !all.contains("aHVudGVyMg"), "{lines:#?}");
        assert!(lines[12].starts_with("13 user=\"bob\" "));
    }
}

#[test]
fn secrets_are_shown_on_request_in_any_build() {
    let mut bench = Bench::new(TraceLevel::Full, 0, true);
    bench.client("A1 LOGIN bob hunter2\r\n", BEFORE);
    bench.client("aHVudGVyMg==\r\n", Kind::SaslResponse);
    let lines = bench.lines();
    assert!(lines[0].ends_with("A1 LOGIN bob hunter2\\r\\n"), "{}", lines[0]);
    assert!(lines[1].ends_with("aHVudGVyMg==\\r\\n"), "{}", lines[1]);
}

#[test]
fn users_of_sasl_are_known_once_logged_in() {
    let mut bench = Bench::new(TraceLevel::Summary, 0, false);
    bench.client("A1 AUTHENTICATE PLAIN\r\n", BEFORE);
    bench.client("AGJvYgBodW50ZXIy\r\n", Kind::SaslResponse);
    assert_eq!(bench.tap.user(), None);
    bench.tap.authenticated();
    assert_eq!(bench.tap.user(), Some("bob"));
}

/// Takes out what waits, and tells of losses.
fn written(queue: &Queue) -> Vec<String> {
    let mut batch = Vec::new();
    match queue.next(&mut batch) {
        Next::Write => {}
        Next::Tell(lost) => return vec![format!("{} lost", lost.messages)],
        Next::End => panic!("nobody closed it"),
    }
    let message = |item| match item {
        Item::Message(seen) => {
            let mut line = String::new();
            render(&mut line, &seen);
            line
        }
        Item::Line(record) => record.message,
    };
    batch.drain(..).map(message).collect()
}

#[test]
fn while_nothing_can_be_shown_users_and_secrets_are_learnt_all_the_same() {
    for level in [TraceLevel::Summary, TraceLevel::Full] {
        let queue = Arc::new(Queue::new(1, usize::MAX));
        let handle = TraceHandle { queue: Arc::clone(&queue), filter: None };
        let mut tap = tap(&handle, &Trace { level, ..Trace::default() });
        server(&mut tap, "* OK hello\r\n");
        server(&mut tap, "* OK hello again\r\n");
        client(&mut tap, "A1 LOGIN bob hunter2\r\n", BEFORE);
        assert!(queue.is_overrun());
        assert_eq!(written(&queue).len(), 1);
        tap.show();
        assert_eq!(written(&queue), ["2 lost"]);
        server(&mut tap, "A1 NO hunter2?\r\n");
        assert_eq!(written(&queue), ["server→client A1 NO <8 bytes withheld>"]);

        (0..2).for_each(|_| client(&mut tap, "A2 LOGIN bob hunter2\r\n", BEFORE));
        tap.authenticated();
        server(&mut tap, "A2 OK hunter2!\r\n");
        (0..3).for_each(|_| server(&mut tap, "* 1 EXISTS\r\n"));
        assert!(queue.is_overrun() && tap.user() == Some("bob"));
        assert_eq!(written(&queue).len(), 1);
        assert!(tap.due().is_some());
        tap.show();
        assert_eq!(tap.due(), None);
        assert_eq!(written(&queue), ["5 lost"]);
    }
}

/// Of a message that the queue had room for when it began, and of one that it had none for.
#[test]
fn a_message_is_shown_or_lost_as_a_whole() {
    let queue = Arc::new(Queue::new(1, usize::MAX));
    let handle = TraceHandle { queue: Arc::clone(&queue), filter: None };
    let mut tap = tap(&handle, &Trace { level: TraceLevel::Full, ..Trace::default() });
    tap.authenticated();
    server(&mut tap, "* 1 EXISTS\r\n");
    tap.line(Party::Server, b"* 1 FETCH (");
    server_of(&handle, "* 2 EXISTS\r\n");
    assert!(queue.is_overrun());
    tap.line(Party::Server, b"UID 7)\r\n");
    tap.end(Party::Server, Party::Client, Kind::Response);
    tap.line(Party::Server, b"* 2 FETCH (");
    tap.show();
    assert_eq!(written(&queue).len(), 1);
    assert_eq!(written(&queue), ["2 lost"]);
    tap.line(Party::Server, b"UID 8)\r\n");
    tap.end(Party::Server, Party::Client, Kind::Response);
    server(&mut tap, "* 3 EXISTS\r\n");
    assert!(written(&queue)[0].contains("Exists(3)"));
}

/// The same from another session.
fn server_of(handle: &TraceHandle, line: &str) {
    server(&mut tap(handle, &Trace { level: TraceLevel::Full, ..Trace::default() }), line);
}

#[test]
fn only_our_own_targets_are_shown() {
    assert!(is_ours("imap_proxy") && is_ours("imap_proxy::relay"));
    assert!(!is_ours("imap_next::fragment") && !is_ours("imap_proxy_x") && !is_ours(""));
}
