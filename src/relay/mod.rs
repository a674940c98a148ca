//! The sans-I/O core: bytes in, bytes out. No sockets, no tokio, no journald.
//!
//! [`Relay`] stands between one client and one server. What one of them sent goes in by
//! [`Relay::take_from_client`] and [`Relay::take_from_server`]; what each shall get comes out of
//! [`Relay::to_client`] and [`Relay::to_server`]. Messages travel as the bytes that arrived; what
//! is rewritten or answered here is decided in `policy` and `capability`, and nowhere else.

mod before_tls;
mod capability;
mod commands;
mod data;
mod flow;
mod hand_over;
mod head;
mod held;
mod line;
mod opening;
mod outstanding;
mod policy;
mod responses;
mod sending;
mod strikes;
mod tap;
#[cfg(test)]
mod tests;
mod verbs;

use std::collections::HashSet;

use bytes::BytesMut;
use thiserror::Error;

pub use before_tls::BeforeTls;
pub use hand_over::consume;
pub use line::content as line_content;
pub use opening::{Opening, Step};
pub use policy::Policy;
pub use tap::{Kind, Party, Tap};
pub use verbs::{is_bare_verb, is_verb, upper_case};

use capability::NonSync;
use commands::Commands;
use flow::Flow;
use outstanding::Outstanding;
use responses::Responses;
use strikes::Strikes;

/// Bytes in an outbox from which on no more of a client's input is taken in.
const HIGH_WATER: usize = 64 * 1024;

/// `[limits]` of the config: how much one session may hold and have under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one command, literals not counted.
    pub command_line: usize,
    /// Bytes of literals in one command that the proxy collects; larger ones stream.
    pub collect_literal: usize,
    /// Bytes of the largest literal a client may send before login.
    pub literal_before_login: u64,
    /// The same after login; `None`: the server decides.
    pub literal: Option<u64>,
    /// Commands without an answer after which the client is not read until the server answers.
    pub unanswered_commands: usize,
    /// Answers BAD in a row, nothing else between them, that end the session.
    pub bad_commands: usize,
    /// Logins of one session that failed which end it.
    pub login_attempts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // 64 KiB is Dovecot's own limit for a line; 4 KiB is what LITERAL- allows (RFC 7888). Tokens
        // have a few KiB. Dovecot, too, says BYE after 20 bad commands.
        Self {
            command_line: 65536,
            collect_literal: 4096,
            literal_before_login: 16_384,
            literal: None,
            unanswered_commands: 1000,
            bad_commands: 20,
            login_attempts: 10,
        }
    }
}

/// Why a session cannot go on: who is at fault, and what the client is told.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// The client broke the protocol where no answer could mend it.
    #[error("{0}")]
    Client(&'static str),
    /// The server did.
    #[error("{0}")]
    Server(&'static str),
}

/// How far the session is, as far as the relay cares (RFC 9051 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client has to upgrade first.
    BeforeTls(BeforeTls),
    /// The server has not greeted.
    ServerGreeting,
    /// Its greeting was a BYE.
    TurnedAway,
    NotAuthenticated,
    Authenticated,
}

/// One session's messages.
#[derive(Debug)]
pub struct Relay<T> {
    tap: T,
    policy: Policy,
    limits: Limits,
    commands: Commands,
    responses: Responses,
    flow: Flow,
    outstanding: Outstanding,
    non_sync: NonSync,
    to_client: BytesMut,
    to_server: BytesMut,
    /// Answers of the proxy's own that wait for the end of the server's message.
    answers: BytesMut,
    phase: Phase,
    /// The proxy has greeted the client, before TLS.
    client_greeted: bool,
    /// Whose words the greeting is that the client gets.
    greeting_by: Party,
    bye_seen: bool,
    strikes: Strikes,
    holds_logins: bool,
    /// Names that were taken out of a list, upper case.
    stripped: HashSet<Vec<u8>>,
}

impl<T: Tap> Relay<T> {
    /// A session whose server has not greeted yet.
    pub fn new(limits: Limits, policy: Policy, tap: T) -> Self {
        Self {
            tap,
            policy,
            commands: Commands::default(),
            responses: Responses::default(),
            flow: Flow::default(),
            outstanding: Outstanding::new(limits.unanswered_commands),
            limits,
            non_sync: NonSync::default(),
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            answers: BytesMut::new(),
            phase: Phase::ServerGreeting,
            client_greeted: false,
            greeting_by: Party::Server,
            bye_seen: false,
            strikes: Strikes::default(),
            holds_logins: false,
            stripped: HashSet::new(),
        }
    }

    /// What the client shall get; the session takes it from here.
    pub fn to_client(&mut self) -> &mut BytesMut {
        &mut self.to_client
    }

    /// What the server shall get; the session takes it from here.
    pub fn to_server(&mut self) -> &mut BytesMut {
        &mut self.to_server
    }

    /// Where the messages are shown.
    pub fn tap(&mut self) -> &mut T {
        &mut self.tap
    }

    /// The greeting that is to come is in the proxy's words, as after STARTTLS with the server.
    pub fn greeting_by_proxy(&mut self) {
        self.greeting_by = Party::Proxy;
    }

    /// Whether the server has greeted.
    pub fn is_greeted(&self) -> bool {
        self.phase != Phase::ServerGreeting
    }

    /// Whether the server's greeting was a BYE.
    pub fn is_turned_away(&self) -> bool {
        self.phase == Phase::TurnedAway
    }

    /// Whether the client is logged in.
    pub fn is_authenticated(&self) -> bool {
        self.phase == Phase::Authenticated
    }

    /// Whether nothing is under way that an end of the session would cut: no command without its
    /// answer (IDLE aside), no message that is not complete.
    pub fn is_idle(&self) -> bool {
        let commands = self.commands.is_idle() && self.responses.at_boundary();
        commands
            && (self.outstanding.is_empty()
                || (self.flow.is_idling() && self.outstanding.is_single()))
    }

    /// The server will send nothing more. Tells the client, if the server did not, and if that is
    /// possible: not in the middle of a message.
    pub fn server_finished(&mut self) {
        self.deliver_partial_response();
        self.say_bye("the server closed the connection");
    }

    /// Adds `* BYE proxy: reason` to what the client gets, unless the server said BYE or is in the
    /// middle of a message.
    pub fn say_bye(&mut self, reason: &str) {
        if !self.bye_seen && self.responses.at_boundary() {
            self.bye_seen = true;
            self.answer(format!("* BYE proxy: {reason}\r\n").as_bytes());
        }
    }

    /// Sends the client an answer of the proxy's own, as soon as no message of the server is under
    /// way.
    fn answer(&mut self, answer: &[u8]) {
        self.strikes.answered_by_proxy(answer);
        self.say(answer, Kind::Response);
    }

    /// The same for any words of the proxy's own.
    fn say(&mut self, line: &[u8], kind: Kind) {
        self.tap.line(Party::Proxy, line);
        self.tap.end(Party::Proxy, Party::Client, kind);
        self.answers.extend_from_slice(line);
        self.release_answers();
    }

    fn release_answers(&mut self) {
        if !self.answers.is_empty() && self.responses.at_boundary() {
            self.to_client.extend_from_slice(&self.answers.split());
        }
    }
}
