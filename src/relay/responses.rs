//! From the server to the client: lines and literals pass as they arrive; the few that matter to
//! the session are looked at, and capability lists are edited.

use super::{
    Fault, Kind, Party, Phase, Relay, Tap, capability,
    commands::Continuation,
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
pub(super) enum State {
    #[default]
    Line,
    /// The rest of a line of which the beginning was passed on.
    LongLine { announces: bool, tail: Tail, kind: Kind, to: Party },
    /// Content of a literal.
    Literal { left: u64 },
}

/// The server's side of the relay.
#[derive(Debug, Default)]
pub(super) struct Responses {
    pub(super) state: State,
    /// The first line of a message, so far: it may be more than data.
    pub(super) partial: Vec<u8>,
    /// A literal came before in this message.
    pub(super) continued: bool,
}

impl Responses {
    /// Whether the client has got nothing but complete messages.
    pub(super) fn at_boundary(&self) -> bool {
        matches!(self.state, State::Line) && !self.continued
    }
}

impl<T: Tap> Relay<T> {
    /// Takes in all that the server sent.
    pub fn server_sent(&mut self, input: &[u8]) -> Result<(), Fault> {
        let passed = self.pass_data(input);
        self.to_client.extend_from_slice(input.split_at(passed).0);
        self.server_sent_after(passed, input)
    }

    /// The same, of which the first bytes, all of them data, were passed on.
    pub(super) fn server_sent_after(&mut self, passed: usize, input: &[u8]) -> Result<(), Fault> {
        let mut rest = input.split_at(passed).1;
        loop {
            self.release_answers();
            self.verdict()?;
            self.decide()?;
            if rest.is_empty() {
                return Ok(());
            }
            let taken = match self.pass_data(rest) {
                0 if matches!(self.responses.state, State::LongLine { .. }) => {
                    self.take_long_line(rest)
                }
                0 => self.take_response_line(rest)?,
                passed => {
                    self.to_client.extend_from_slice(rest.split_at(passed).0);
                    passed
                }
            };
            rest = rest.split_at(taken).1;
        }
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
        if room == 0 {
            self.long_line()?;
            return Ok(0);
        }
        let (taken, _) = chunk.split_at(chunk.len().min(room));
        let is_complete = length.is_some() && taken.len() == chunk.len();
        if is_complete && self.responses.partial.is_empty() {
            self.response_line(taken)?;
            return Ok(taken.len());
        }
        self.responses.partial.extend_from_slice(taken);
        if is_complete {
            let line = std::mem::take(&mut self.responses.partial);
            self.response_line(&line)?;
        } else if self.is_greeted() && line::begins_data(&self.responses.partial) {
            self.long_line()?;
        }
        Ok(taken.len())
    }

    /// How many bytes of the line under way may be held.
    fn line_bound(&self) -> usize {
        match self.responses.partial.get(..HELD) {
            Some(beginning)
                if ResponseHead::parse(beginning).is_text()
                    || !ResponseHead::is_told_by(beginning) =>
            {
                HELD_TEXT
            }
            _ => HELD,
        }
    }

    fn response_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let head = ResponseHead::parse(line);
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

    pub(super) fn response_complete(&mut self, by: Party, to: Party, kind: Kind) {
        self.responses.continued = false;
        self.tap.end(by, to, kind);
    }

    /// The line under way is too long to be held, or need not be: passes on what is there.
    fn long_line(&mut self) -> Result<(), Fault> {
        let partial = std::mem::take(&mut self.responses.partial);
        let head = ResponseHead::parse(&partial);
        if capability::is_list(&partial) && head.is_text() {
            return Err(Fault::Server("the server's capability list is too long"));
        }
        let kind = self.response_kind(head);
        let to = self.react(head, &partial)?;
        let announces = !head.is_text();
        self.begin_long_line(&partial, announces, kind, to);
        if to == Party::Client {
            self.to_client.extend_from_slice(&partial);
        }
        Ok(())
    }
}
