//! From the server to the client: lines and literals pass as they arrive; the few that matter to
//! the session are looked at, and capability lists are edited.

use memchr::memchr_iter;

use super::{
    Fault, Kind, Party, Phase, Relay, Tap, capability,
    commands::{Continuation, take_up_to},
    flow::Flow,
    head::{Condition, ResponseHead},
    line::{self, Tail},
    outstanding::Purpose,
};

/// Bytes of a line that are held back until it is complete. What is longer streams, in whatever
/// pieces it comes.
const HELD: usize = 8 * 1024;
/// The same, of a line with text: it may hold a capability list.
const HELD_TEXT: usize = 64 * 1024;
/// How many names that were taken out of lists are told, and of each so many bytes.
const STRIPPED_NAMES: usize = 100;
const STRIPPED_NAME: usize = 100;

/// What the server's next bytes are.
#[derive(Debug, Default)]
enum State {
    #[default]
    Line,
    /// The rest of a line that is too long to be held.
    LongLine { announces: bool, tail: Tail, kind: Kind, to: Party },
    /// Content of a literal.
    Literal { left: u64 },
}

/// The server's side of the relay.
#[derive(Debug, Default)]
pub(super) struct Responses {
    state: State,
    /// A line so far.
    partial: Vec<u8>,
    /// A literal came before in this message.
    continued: bool,
}

impl Responses {
    /// Whether the client has got nothing but complete messages.
    pub(super) fn at_boundary(&self) -> bool {
        matches!(self.state, State::Line) && !self.continued
    }

    /// Whether the next `count` bytes are content of a literal that goes on after them; if so, they
    /// are taken.
    pub(super) fn take_content(&mut self, count: usize) -> bool {
        let State::Literal { left } = &mut self.state else { return false };
        line::take_content(left, count)
    }
}

impl<T: Tap> Relay<T> {
    /// Takes in all that the server sent.
    pub fn server_sent(&mut self, input: &[u8]) -> Result<(), Fault> {
        let mut rest = input;
        while !rest.is_empty() {
            let taken = match &self.responses.state {
                State::Line => match self.pass_data(rest) {
                    0 => self.take_response_line(rest)?,
                    passed => passed,
                },
                State::LongLine { .. } => self.take_long_line(rest),
                State::Literal { .. } => self.take_literal(rest),
            };
            rest = rest.split_at(taken).1;
            self.verdict()?;
            self.decide()?;
        }
        Ok(())
    }

    /// Passes on lines of plain data, which most of what a server sends consists of: nothing in the
    /// session depends on them. Returns how many bytes they were.
    fn pass_data(&mut self, input: &[u8]) -> usize {
        let between = self.responses.at_boundary() && self.responses.partial.is_empty();
        if !between || !self.is_greeted() {
            return 0;
        }
        let mut passed = 0;
        for end in memchr_iter(b'\n', input) {
            let line = input.get(passed..=end).unwrap_or_default();
            if !line::is_plain_data(line) {
                break;
            }
            self.tap.message(Party::Server, Party::Client, Kind::Response, line);
            passed = end + 1;
        }
        self.to_client.extend_from_slice(input.split_at(passed).0);
        passed
    }

    /// The server will complete nothing any more: what it sent of a line is delivered.
    pub(super) fn deliver_partial_response(&mut self) {
        // What was to be a greeting is none.
        if self.is_greeted() && !self.responses.partial.is_empty() {
            self.to_client.extend_from_slice(&std::mem::take(&mut self.responses.partial));
            self.responses.continued = true;
        }
    }

    fn take_response_line(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let length = line::length(input);
        let (chunk, _) = input.split_at(length.unwrap_or(input.len()));
        let room = self.line_bound().saturating_sub(self.responses.partial.len());
        if chunk.len() > room {
            if room == 0 {
                self.long_line()?;
            }
            let (fits, _) = chunk.split_at(room);
            self.responses.partial.extend_from_slice(fits);
            return Ok(fits.len());
        }
        if length.is_some() && self.responses.partial.is_empty() {
            self.response_line(chunk)?;
        } else {
            self.responses.partial.extend_from_slice(chunk);
            if length.is_some() {
                let line = std::mem::take(&mut self.responses.partial);
                self.response_line(&line)?;
            }
        }
        Ok(chunk.len())
    }

    /// How many bytes of the line under way may be held.
    fn line_bound(&self) -> usize {
        match self.responses.partial.get(..HELD) {
            Some(beginning)
                if !self.responses.continued
                    && (self.response_head(beginning).is_text()
                        || !ResponseHead::is_told_by(beginning)) =>
            {
                HELD_TEXT
            }
            _ => HELD,
        }
    }

    fn response_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let head = self.response_head(line);
        let kind = self.response_kind(head);
        let to = self.react(head, line)?;
        let by = if kind == Kind::Greeting { self.greeting_by } else { Party::Server };
        self.tap.line(by, line);
        if head.is_text() {
            self.take_text(line, to);
            self.response_complete(by, to, kind);
        } else {
            self.to_client.extend_from_slice(line);
            self.data_line_complete(line::announcement(line), kind);
        }
        Ok(())
    }

    /// What a line is, of which the first words are there.
    fn response_head<'a>(&self, line: &'a [u8]) -> ResponseHead<'a> {
        if self.responses.continued { ResponseHead::Data } else { ResponseHead::parse(line) }
    }

    fn response_kind(&self, head: ResponseHead<'_>) -> Kind {
        if !self.is_greeted() {
            Kind::Greeting
        } else if head == ResponseHead::Continuation && self.flow.is_authenticating() {
            Kind::SaslChallenge
        } else {
            Kind::Response
        }
    }

    /// What a response means for the session, of whose line at least the beginning is there.
    /// Returns who gets it.
    fn react(&mut self, head: ResponseHead<'_>, line: &[u8]) -> Result<Party, Fault> {
        if !self.is_greeted() {
            return self.greet(head);
        }
        match head {
            ResponseHead::Continuation => match self.literal_accepted() {
                Continuation::Consumed => return Ok(Party::Proxy),
                Continuation::ForClient => {}
                Continuation::Other => self.flow.continuation(),
            },
            ResponseHead::Tagged { tag, condition } => {
                let purpose = self.outstanding.settle(tag);
                // Of several commands with one tag, the last is under way, and this answers the first.
                if !self.outstanding.is_latest(tag) {
                    self.literal_refused(Some(tag));
                    self.flow.status(tag, condition);
                }
                self.strikes.answered(condition);
                match (purpose, condition) {
                    (Some(Purpose::Login), Condition::Ok) => {
                        self.phase = Phase::Authenticated;
                        self.tap.authenticated();
                    }
                    (Some(Purpose::Login), Condition::No) => self.strikes.login_refused(line),
                    _ => {}
                }
            }
            ResponseHead::Status(Condition::Bad) => {
                // The literal of a command with a tag still waits: were it given up, a late `+`
                // would turn its content into commands.
                let answers_nothing = self.outstanding.is_empty();
                let was_untagged = self.outstanding.settle_by_untagged_bad();
                if was_untagged {
                    self.literal_refused(None);
                }
                if was_untagged || !answers_nothing {
                    self.strikes.answered(Condition::Bad);
                }
            }
            ResponseHead::Status(Condition::Bye) => self.bye_seen = true,
            ResponseHead::Status(_) | ResponseHead::Capability | ResponseHead::Data => {}
        }
        Ok(Party::Client)
    }

    /// The same for a greeting. A client that was greeted before TLS does not get another one.
    fn greet(&mut self, head: ResponseHead<'_>) -> Result<Party, Fault> {
        self.phase = match head {
            ResponseHead::Status(Condition::Ok) => Phase::NotAuthenticated,
            ResponseHead::Status(Condition::Preauth) if self.client_greeted => {
                return Err(Fault::Server(
                    "the server logs clients in by itself, which a client after STARTTLS cannot be told",
                ));
            }
            ResponseHead::Status(Condition::Preauth) => {
                self.flow = Flow::new(true);
                self.tap.authenticated();
                Phase::Authenticated
            }
            ResponseHead::Status(Condition::Bye) => {
                self.bye_seen = true;
                Phase::TurnedAway
            }
            _ => return Err(Fault::Server("the server does not speak IMAP")),
        };
        let hidden = self.client_greeted && self.phase == Phase::NotAuthenticated;
        Ok(if hidden { Party::Proxy } else { Party::Client })
    }

    /// Looks at a line that may hold a capability list, and passes it on.
    fn take_text(&mut self, line: &[u8], to: Party) {
        let Some(filtered) = capability::filter(line, &self.policy) else {
            if to == Party::Client {
                self.to_client.extend_from_slice(line);
            }
            return;
        };
        self.non_sync = filtered.non_sync;
        if to == Party::Client {
            self.to_client.extend_from_slice(&filtered.line);
        }
        for name in filtered.stripped {
            let name = name.get(..STRIPPED_NAME).unwrap_or(name);
            if self.stripped.len() < STRIPPED_NAMES
                && self.stripped.insert(name.to_ascii_uppercase())
            {
                self.tap.stripped(&name.escape_ascii().to_string());
            }
        }
    }

    /// A line of data is complete, and the message too unless a literal follows.
    fn data_line_complete(&mut self, announcement: Option<line::Literal>, kind: Kind) {
        match announcement {
            Some(literal) => {
                self.tap.literal(Party::Server, literal.size);
                self.responses.continued = true;
                self.responses.state = State::Literal { left: literal.size };
                self.take_literal(&[]);
            }
            None => self.response_complete(Party::Server, Party::Client, kind),
        }
    }

    fn response_complete(&mut self, by: Party, to: Party, kind: Kind) {
        self.responses.continued = false;
        self.tap.end(by, to, kind);
        self.release_answers();
    }

    fn take_literal(&mut self, input: &[u8]) -> usize {
        let State::Literal { left } = &mut self.responses.state else { return 0 };
        let chunk = take_up_to(input, left);
        if *left == 0 {
            self.responses.state = State::Line;
        }
        self.to_client.extend_from_slice(chunk);
        self.tap.literal_bytes(Party::Server, chunk);
        chunk.len()
    }

    /// The line under way is too long to be held: passes on what is there.
    fn long_line(&mut self) -> Result<(), Fault> {
        let partial = std::mem::take(&mut self.responses.partial);
        let head = self.response_head(&partial);
        if capability::is_list(&partial) && head.is_text() {
            return Err(Fault::Server("the server's capability list is too long"));
        }
        let kind = self.response_kind(head);
        let to = self.react(head, &partial)?;
        let mut tail = Tail::default();
        tail.push(&partial);
        self.tap.line(Party::Server, &partial);
        if to == Party::Client {
            self.to_client.extend_from_slice(&partial);
        }
        self.responses.state = State::LongLine { announces: !head.is_text(), tail, kind, to };
        Ok(())
    }

    fn take_long_line(&mut self, input: &[u8]) -> usize {
        let State::LongLine { announces, tail, kind, to } = &mut self.responses.state else {
            return 0;
        };
        let length = line::length(input);
        let (chunk, _) = input.split_at(length.unwrap_or(input.len()));
        tail.push(chunk);
        self.tap.line(Party::Server, chunk);
        if *to == Party::Client {
            self.to_client.extend_from_slice(chunk);
        }
        if length.is_some() {
            let announcement = if *announces { tail.announcement() } else { None };
            let (kind, to) = (*kind, *to);
            self.responses.state = State::Line;
            match announcement {
                Some(_) => self.data_line_complete(announcement, kind),
                None => self.response_complete(Party::Server, to, kind),
            }
        }
        chunk.len()
    }
}
