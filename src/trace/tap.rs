//! The tap of one session: a bounded copy of each message, without its secrets, to the queue.

use std::{
    mem,
    sync::Arc,
    time::{Instant, SystemTime},
};

use smol_str::SmolStr;

use super::{
    TraceHandle, batch,
    capture::{ALL_LITERALS, Capture, Keep},
    login::Login,
    losses::Losses,
    queue::{Item, Queue},
    redact::{self, Learnt},
    response,
    run::Run,
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
pub(super) const TEXT: usize = 4 * 1024;

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
    under_way: UnderWay,
    run: Option<Run>,
    losses: Losses,
    login: Login,
}

/// What becomes of the server's message, of which the beginning was seen.
#[derive(Clone, Copy, Debug, Default)]
enum UnderWay {
    /// It did not begin.
    #[default]
    Nothing,
    /// It is copied to be shown.
    Copied,
    /// So many bytes of one more message of the run.
    Counted(u64),
    /// There would be no room for it.
    Lost,
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
            under_way: UnderWay::default(),
            run: None,
            losses: Losses::default(),
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

    /// Whether more of the server's message need not be copied; says what was done with it.
    #[inline]
    fn passes(&mut self, bytes: &[u8]) -> bool {
        match &mut self.under_way {
            UnderWay::Nothing => {
                let size = bytes.len() as u64;
                self.under_way = match &self.run {
                    Some(run) if run.goes_on_with(bytes) => UnderWay::Counted(size),
                    _ if self.queue.is_overrun() => UnderWay::Lost,
                    _ => UnderWay::Copied,
                };
            }
            UnderWay::Counted(size) => *size = size.saturating_add(bytes.len() as u64),
            UnderWay::Copied | UnderWay::Lost => {}
        }
        !matches!(self.under_way, UnderWay::Copied)
    }

    /// Shows the run, which ends; the message under way may be the first of another.
    fn show_run(&mut self) {
        let next = match self.under_way {
            UnderWay::Counted(_) => self.run.as_ref().map(Run::anew),
            _ => None,
        };
        if let Some(seen) = mem::replace(&mut self.run, next).and_then(Run::done) {
            batch::push(&self.queue, Item::Message(seen));
        }
    }

    fn capture(&mut self, from: Party) -> &mut Capture {
        match from {
            Party::Client => &mut self.client,
            Party::Server => &mut self.server,
            Party::Proxy => &mut self.proxy,
        }
    }

    /// Shows the message that was copied, or holds it back as the first of a run.
    fn copied(&mut self, from: Party, to: Party, kind: Kind) {
        // It may have come in pieces, the first of which did not hold its name.
        let one_more =
            |run: &&mut Run| from == Party::Server && run.goes_on_with(self.server.first_line());
        if let Some(run) = self.run.as_mut().filter(one_more) {
            run.add(self.server.size(), self.seq);
            return self.server.clear();
        }
        self.show_run();
        let mut capture = mem::take(self.capture(from));
        let (shown, size) = (self.shown(&capture, kind), capture.size());
        capture.clear();
        *self.capture(from) = capture;
        if self.queue.is_overrun() {
            return self.losses.add(1, &self.queue);
        }
        let seen = Seen {
            time: SystemTime::now(),
            context: Arc::clone(&self.context),
            user: self.login.user.clone(),
            seq: self.seq,
            count: 1,
            from,
            to,
            kind,
            size,
            bound: TEXT + self.options.max_body.min(ALL_LITERALS),
            shown,
        };
        if self.may_begin_run(&seen) {
            self.run = Some(Run::new(seen));
        } else {
            batch::push(&self.queue, Item::Message(seen));
        }
    }

    /// Whether the message tells no more than its name, and others of that name may be told with it:
    /// data for a client that is logged in, and whose secrets the server has no more to be heard
    /// repeating.
    fn may_begin_run(&self, seen: &Seen) -> bool {
        let is_data = |name: &SmolStr| name != "+" && !response::is_status(name.as_bytes());
        self.options.level == TraceLevel::Summary
            && (seen.from, seen.to, seen.kind) == (Party::Server, Party::Client, Kind::Response)
            && self.login.authenticated
            && self.login.secrets.is_empty()
            && seen.shown.content == Content::Nothing
            && seen.shown.tag.is_none()
            && seen.shown.name.as_ref().is_some_and(is_data)
    }

    fn shown(&mut self, capture: &Capture, kind: Kind) -> Shown {
        let max_body = (self.options.level == TraceLevel::Full).then_some(self.options.max_body);
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
        self.login.heard(kind);
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

impl Tap for SessionTap {
    fn line(&mut self, from: Party, bytes: &[u8]) {
        self.login.begun |= from == Party::Client;
        if self.is_off() || from == Party::Server && self.passes(bytes) {
            return;
        }
        let keep = self.keep(from);
        self.capture(from).line(bytes, keep);
    }

    fn literal(&mut self, from: Party, size: u64) {
        if self.is_off() || from == Party::Server && self.passes(&[]) {
            return;
        }
        self.capture(from).literal(size);
    }

    fn literal_bytes(&mut self, from: Party, bytes: &[u8]) {
        if self.is_off() || from == Party::Server && self.passes(bytes) {
            return;
        }
        let keep = self.keep(from);
        self.capture(from).literal_bytes(bytes, keep);
    }

    #[inline]
    fn message(&mut self, from: Party, to: Party, kind: Kind, line: &[u8]) {
        let is_first = from == Party::Server && matches!(self.under_way, UnderWay::Nothing);
        match &mut self.run {
            Some(run) if is_first && run.goes_on_with(line) => {
                self.seq += 1;
                run.add(line.len() as u64, self.seq);
            }
            _ => {
                self.line(from, line);
                self.end(from, to, kind);
            }
        }
    }

    fn looks_at_data(&self) -> bool {
        !self.is_off() && (self.run.is_some() || !self.queue.is_overrun())
    }

    fn unseen(&mut self, messages: u64) {
        if !self.is_off() {
            self.seq += messages;
            self.login.heard(Kind::Response);
            self.losses.add(messages, &self.queue);
        }
    }

    fn end(&mut self, from: Party, to: Party, kind: Kind) {
        if self.is_off() {
            return;
        }
        self.seq += 1;
        let passed =
            if from == Party::Server { mem::take(&mut self.under_way) } else { UnderWay::Copied };
        match (passed, &mut self.run) {
            // Data of a server that the client is logged in to goes to the client, whatever its name.
            (UnderWay::Counted(size), Some(run)) => run.add(size, self.seq),
            (UnderWay::Lost, _) => {
                self.show_run();
                self.login.heard(kind);
                self.losses.add(1, &self.queue);
            }
            _ => self.copied(from, to, kind),
        }
    }

    fn authenticated(&mut self) {
        self.show();
        self.login.succeeded();
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

    fn due(&self) -> Option<Instant> {
        let of_run = self.run.as_ref().and_then(Run::due);
        [of_run, self.losses.due()].into_iter().flatten().min()
    }

    fn show(&mut self) {
        self.losses.tell(&self.queue);
        self.show_run();
    }
}

impl Drop for SessionTap {
    fn drop(&mut self) {
        self.show();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{BEFORE, Bench},
        *,
    };

    #[test]
    fn off_is_silent() {
        let mut bench = Bench::new(TraceLevel::Off, 0, false);
        bench.client("A1 LOGIN bob hunter2\r\n", BEFORE);
        assert_eq!(bench.tap.client.size(), 0);
        assert!(bench.lines().is_empty());
    }
}
