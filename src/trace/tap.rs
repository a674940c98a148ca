//! The tap of one session: a bounded copy of each message, without its secrets, to the queue.

use std::{mem, sync::Arc, time::SystemTime};

use super::{
    TraceHandle,
    capture::{ALL_LITERALS, Capture, Keep},
    queue::{Item, Queue},
    redact::{self, Learnt},
    response,
    secrets::Secrets,
    seen::{Content, Seen, SessionContext, Shown},
};
use crate::{
    config::{Trace, TraceLevel},
    relay::{Kind, Party, Tap},
};

/// Of the lines of one message, in bytes, when its content is shown, or judged.
const LINES_FULL: usize = 8 * 1024;
/// The same when only tag and name are shown.
const LINES_SUMMARY: usize = 256;
/// Of the text of one message in the journal, in bytes, literals that are shown not counted.
const TEXT: usize = 4 * 1024;

/// Shows the messages of one session, as much as the service's level says.
///
/// It does nothing but copy and look at bounded heads of messages; all else is done by the writer.
pub struct SessionTap {
    queue: Arc<Queue>,
    options: Trace,
    context: Arc<SessionContext>,
    seq: u64,
    client: Capture,
    server: Capture,
    proxy: Capture,
    login: Login,
}

/// How far the session's login got.
#[derive(Default)]
struct Login {
    authenticated: bool,
    user: Option<Arc<str>>,
    /// Whom the last LOGIN or AUTHENTICATE was for.
    candidate: Option<String>,
    /// The mechanism whose first response is still to come.
    awaits: Option<&'static str>,
    secrets: Secrets,
    /// The client has sent something, of which nothing is known at level `off`.
    begun: bool,
    /// The secrets are of no more use once the server's next message was looked at.
    over: bool,
}

impl SessionTap {
    /// A tap for a session that begins.
    pub fn new(handle: &TraceHandle, options: &Trace, context: SessionContext) -> Self {
        Self {
            queue: Arc::clone(&handle.queue),
            options: options.clone(),
            context: Arc::new(context),
            seq: 0,
            client: Capture::default(),
            server: Capture::default(),
            proxy: Capture::default(),
            login: Login::default(),
        }
    }

    /// The subject of the client's certificate, if it showed one: known only now where STARTTLS comes
    /// first.
    pub fn client_showed(&mut self, subject: Option<Arc<str>>) {
        Arc::make_mut(&mut self.context).client_subject = subject;
    }

    /// Who is logged in, once it is known. Never known at level `off`.
    pub fn user(&self) -> Option<&str> {
        self.login.user.as_deref()
    }

    fn is_off(&self) -> bool {
        self.options.level == TraceLevel::Off
    }

    fn keep(&self, from: Party) -> Keep {
        // Credentials must be seen whole, whatever is shown of them, and whenever they come.
        if from == Party::Client {
            return Keep { lines: LINES_FULL, literal: LINES_FULL.max(self.options.max_body) };
        }
        match self.options.level {
            TraceLevel::Full => Keep { lines: LINES_FULL, literal: self.options.max_body },
            TraceLevel::Summary | TraceLevel::Off => Keep { lines: LINES_SUMMARY, literal: 0 },
        }
    }

    fn capture(&mut self, from: Party) -> &mut Capture {
        match from {
            Party::Client => &mut self.client,
            Party::Server => &mut self.server,
            Party::Proxy => &mut self.proxy,
        }
    }

    fn shown(&mut self, capture: &Capture, kind: Kind) -> Shown {
        let max_body = self.options.max_body;
        let (shown, learnt) = match kind {
            Kind::Command { authenticated } => {
                self.login.authenticated |= authenticated;
                redact::command(capture, authenticated, max_body)
            }
            Kind::SaslResponse => redact::sasl_response(capture, self.login.awaits.take()),
            Kind::IdleDone => redact::idle_done(capture, max_body),
            Kind::SaslChallenge => (response::challenge(capture), Learnt::default()),
            Kind::Greeting | Kind::Response => {
                let (authenticated, secrets) = (self.login.authenticated, &self.login.secrets);
                let shown = response::response(capture, authenticated, secrets, max_body);
                (shown, Learnt::default())
            }
        };
        let credentials =
            matches!(kind, Kind::Command { authenticated: false } | Kind::SaslResponse);
        if credentials && capture.verbatim().is_none() {
            self.login.secrets.add_unseen();
        }
        self.login.learn(learnt);
        if self.login.over && kind == Kind::Response {
            self.login.secrets.clear();
            self.login.over = false;
        }
        let mut shown = match kind {
            _ if !self.options.reveal_secrets => shown,
            Kind::Command { .. } | Kind::IdleDone => redact::reveal(capture, false, max_body),
            Kind::SaslResponse => redact::reveal(capture, true, max_body),
            Kind::SaslChallenge => response::reveal(capture, true, max_body),
            Kind::Greeting | Kind::Response => response::reveal(capture, false, max_body),
        };
        let for_the_codec = matches!(shown.content, Content::Whole { .. } | Content::Cut(_));
        if self.options.level == TraceLevel::Summary && for_the_codec {
            shown.content = Content::Nothing;
        }
        shown
    }
}

impl Login {
    fn learn(&mut self, learnt: Learnt) {
        if learnt.login {
            self.candidate = None;
            self.awaits = learnt.awaits;
        }
        if learnt.user.is_some() {
            self.candidate = learnt.user;
        }
        for secret in &learnt.secrets {
            self.secrets.add(secret);
        }
    }
}

impl Tap for SessionTap {
    fn line(&mut self, from: Party, bytes: &[u8]) {
        self.login.begun |= from == Party::Client;
        if !self.is_off() {
            let keep = self.keep(from);
            self.capture(from).line(bytes, keep);
        }
    }

    fn literal(&mut self, from: Party, size: u64) {
        if !self.is_off() {
            self.capture(from).literal(size);
        }
    }

    fn literal_bytes(&mut self, from: Party, bytes: &[u8]) {
        if !self.is_off() {
            let keep = self.keep(from);
            self.capture(from).literal_bytes(bytes, keep);
        }
    }

    fn end(&mut self, from: Party, to: Party, kind: Kind) {
        if self.is_off() {
            return;
        }
        let capture = mem::take(self.capture(from));
        let shown = self.shown(&capture, kind);
        self.seq += 1;
        self.queue.push(Item::Message(Box::new(Seen {
            time: SystemTime::now(),
            context: Arc::clone(&self.context),
            user: self.login.user.clone(),
            seq: self.seq,
            from,
            to,
            kind,
            size: capture.size(),
            bound: TEXT + self.options.max_body.min(ALL_LITERALS),
            shown,
        })));
    }

    fn authenticated(&mut self) {
        self.login.authenticated = true;
        self.login.over = true;
        self.login.awaits = None;
        self.login.user = self.login.candidate.take().map(Arc::from);
    }

    fn stripped(&mut self, name: &str) {
        // It may be the password, in the mouth of a server that repeats what it does not like.
        let unclear = self.is_off() && self.login.begun;
        let is_secret = unclear || self.login.secrets.in_word(name.as_bytes());
        let name = if is_secret { "<withheld>" } else { name };
        tracing::info!(
            imap.service = %self.context.service,
            imap.session = %self.context.session,
            imap.client = %self.context.client,
            imap.server = %self.context.server,
            "capability {name} of the server is not passed on"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Mutex, PoisonError},
    };

    use super::{
        super::{Guard, SessionId, start_to},
        *,
    };

    const BEFORE: Kind = Kind::Command { authenticated: false };
    const AFTER: Kind = Kind::Command { authenticated: true };

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

    struct Bench {
        tap: SessionTap,
        guard: Guard,
        output: Output,
    }

    impl Bench {
        fn new(level: TraceLevel, max_body: usize, reveal_secrets: bool) -> Self {
            let output = Output::default();
            let guard = start_to(output.clone()).unwrap();
            let context = SessionContext {
                service: "Test".into(),
                session: SessionId::next(),
                client: ([192, 0, 2, 1], 4711).into(),
                client_subject: None,
                server: "imap.example.org:993".to_owned(),
            };
            let options = Trace { level, max_body, reveal_secrets };
            Self { tap: SessionTap::new(&guard.handle(), &options, context), guard, output }
        }

        fn client(&mut self, line: &str, kind: Kind) {
            self.tap.line(Party::Client, line.as_bytes());
            self.tap.end(Party::Client, Party::Server, kind);
        }

        fn server(&mut self, line: &str) {
            self.tap.line(Party::Server, line.as_bytes());
            self.tap.end(Party::Server, Party::Client, Kind::Response);
        }

        /// The lines that were written, without time, service and session.
        fn lines(self) -> Vec<String> {
            drop(self.guard);
            let written = self.output.0.lock().unwrap().clone();
            let line = |line: &str| line.split_once('#').unwrap().1.to_owned();
            String::from_utf8(written).unwrap().lines().map(line).collect()
        }
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
        assert_eq!(lines[3], "4 server→client undecoded: * X-UNKNOWN \\u{1b}[31m(\\r\\n");
        assert!(lines[4].starts_with("5 client→server cut, 10010 bytes in all: A3 NOOP xxx"));
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

    #[test]
    fn off_is_silent() {
        let mut bench = Bench::new(TraceLevel::Off, 0, false);
        bench.client("A1 LOGIN bob hunter2\r\n", BEFORE);
        assert_eq!(bench.tap.client.size(), 0);
        assert!(bench.lines().is_empty());
    }
}
