//! From the client to the server: commands are seen whole, judged, and sent on.

use super::{
    BeforeTls, Fault, HIGH_WATER, Kind, Party, Phase, Relay, Tap,
    flow::Due,
    head::CommandHead,
    held::Held,
    line::{self, Literal, Tail},
    outstanding::Purpose,
    sending::{Command, Sending},
};

/// What the client's next bytes are.
#[derive(Debug, Default)]
pub(super) enum Intake {
    /// A line, whose meaning [`super::flow::Flow::due`] tells.
    #[default]
    Line,
    /// Content of a literal that is collected.
    Collect { left: u64 },
    /// Not taken yet: the server has to agree to a literal.
    Sending(Sending),
    /// Not taken yet: the command has to wait.
    Held(Held),
    /// Content of a literal that streams.
    Stream { left: u64 },
    /// The rest of a command that goes nowhere.
    Swallow(Swallow),
}

/// The rest of a command that is not kept, up to its end.
#[derive(Debug)]
pub(super) struct Swallow {
    literal_left: u64,
    tail: Tail,
    /// What the client gets when it is over, if it has no answer yet.
    answer: Option<Vec<u8>>,
}

/// The client's side of the relay.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) intake: Intake,
    pub(super) command: Command,
}

impl Commands {
    /// Nothing of a command is there that is not with the server as a whole.
    pub(super) fn is_idle(&self) -> bool {
        match self.intake {
            Intake::Line => self.command.is_untouched(),
            Intake::Held(_) => true,
            _ => false,
        }
    }

    /// Whether the next `count` bytes are content of a literal that streams and goes on after them;
    /// if so, they are taken.
    pub(super) fn take_content(&mut self, count: usize) -> bool {
        let Intake::Stream { left } = &mut self.intake else { return false };
        line::take_content(left, count)
    }
}

/// What the server's `+` was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuation {
    /// A literal that the proxy had accepted in the server's place.
    Consumed,
    /// A literal that the client waits to send.
    ForClient,
    /// No literal.
    Other,
}

impl<T: Tap> Relay<T> {
    /// Whether [`Relay::client_sent`] would take anything in.
    pub fn takes_from_client(&self) -> bool {
        let room = self.to_server.len() < HIGH_WATER
            && self.to_client.len() + self.answers.len() < HIGH_WATER;
        let due = match &self.commands.intake {
            Intake::Sending(_) | Intake::Held(_) => false,
            Intake::Line => match self.flow.due() {
                Due::Nothing => false,
                Due::Command => {
                    !(self.commands.command.is_untouched() && self.outstanding.is_full())
                }
                Due::SaslResponse | Due::IdleDone => true,
            },
            Intake::Collect { .. } | Intake::Stream { .. } | Intake::Swallow(_) => true,
        };
        let listens = matches!(
            self.phase,
            Phase::BeforeTls(BeforeTls::Listen) | Phase::NotAuthenticated | Phase::Authenticated
        );
        listens && room && due
    }

    /// Takes in what the client sent, as far as the state of the session allows. Returns how many
    /// bytes it took; the rest is to be offered again after the next word of the server.
    pub fn client_sent(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let mut rest = input;
        while !rest.is_empty() && self.takes_from_client() {
            let taken = match &mut self.commands.intake {
                Intake::Line => self.take_line(rest)?,
                Intake::Collect { .. } => self.take_collected(rest),
                Intake::Stream { .. } => self.take_streamed(rest),
                Intake::Swallow(_) => self.take_swallowed(rest),
                Intake::Sending(_) | Intake::Held(_) => break,
            };
            rest = rest.split_at(taken).1;
            self.verdict()?;
        }
        Ok(input.len() - rest.len())
    }

    /// The client will complete nothing any more: what it sent of a line goes on as it is, unless
    /// it begins a command that is refused.
    pub fn client_finished(&mut self) {
        let command = &self.commands.command;
        let passes = matches!(self.commands.intake, Intake::Line)
            && command.literals.is_empty()
            && (command.begun
                || self.policy.refusal(&CommandHead::parse(&command.bytes)).is_none());
        if passes {
            self.to_server.extend_from_slice(&command.bytes);
            self.commands = Commands::default();
        }
    }

    fn take_line(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let length = line::length(input);
        let (chunk, _) = input.split_at(length.unwrap_or(input.len()));
        let command = &mut self.commands.command;
        let held = command.bytes.len() - command.literal_bytes;
        let room = self.limits.command_line.saturating_sub(held);
        if chunk.len() > room {
            let (fits, _) = chunk.split_at(room);
            command.bytes.extend_from_slice(fits);
            self.over_long()?;
            return Ok(fits.len());
        }
        if length.is_some() && command.bytes.is_empty() {
            self.line_complete(chunk)?;
        } else {
            command.bytes.extend_from_slice(chunk);
            if length.is_some() {
                let line = command.current_line().to_vec();
                self.line_complete(&line)?;
            }
        }
        Ok(chunk.len())
    }

    /// `line` is complete. It is the end of the command's bytes, unless these are empty.
    fn line_complete(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.tap.line(Party::Client, line);
        match self.flow.due() {
            Due::SaslResponse => {
                self.forward_line(line, Kind::SaslResponse);
                self.flow.sasl_response_sent();
                return Ok(());
            }
            Due::IdleDone => {
                self.forward_line(line, Kind::IdleDone);
                self.flow.idle_done_sent();
                return Ok(());
            }
            Due::Command | Due::Nothing => {}
        }
        let announcement = line::announcement(line);
        if !self.commands.command.begun && self.commands.command.literals.is_empty() {
            let head = CommandHead::parse(line);
            if matches!(self.phase, Phase::BeforeTls(_)) {
                self.answer_before_tls(&head, announcement);
                return Ok(());
            }
            if let Some(refusal) = self.policy.refusal(&head) {
                self.refuse(head.proper_tag(), refusal, announcement);
                return Ok(());
            }
            if announcement.is_none() {
                self.forward_command(&head, line);
                return Ok(());
            }
            self.commands.command.identify(&head);
        }
        if self.commands.command.bytes.is_empty() {
            self.commands.command.bytes.extend_from_slice(line);
        }
        if let Some(literal) = announcement {
            return self.literal_announced(literal);
        }
        self.multi_line_complete();
        Ok(())
    }

    /// A command of one line.
    fn forward_command(&mut self, head: &CommandHead<'_>, line: &[u8]) {
        if self.hold(purpose(head), Held::Line) {
            self.commands.command.bytes = line.to_vec();
        } else {
            self.forward_now(head, line);
        }
    }

    pub(super) fn forward_now(&mut self, head: &CommandHead<'_>, line: &[u8]) {
        self.outstanding.push(head.proper_tag(), purpose(head));
        self.forward_line(line, Kind::Command { authenticated: self.is_authenticated() });
        if head.is("AUTHENTICATE") || head.is("IDLE") {
            self.flow.start(line);
        }
    }

    fn forward_line(&mut self, line: &[u8], kind: Kind) {
        self.to_server.extend_from_slice(line);
        self.tap.end(Party::Client, Party::Server, kind);
        self.commands.command = Command::default();
    }

    /// The last line of a command with literals.
    fn multi_line_complete(&mut self) {
        let command = &self.commands.command;
        if !command.begun {
            self.flow.literals_end();
        }
        if !self.hold_collected(Held::Whole) {
            self.send_whole();
        }
    }

    pub(super) fn send_whole(&mut self) {
        self.end_message(Party::Server);
        self.send(None);
    }

    pub(super) fn literal_announced(&mut self, literal: Literal) -> Result<(), Fault> {
        if self.is_too_large(literal) {
            if self.hold_undecided(literal) {
                return Ok(());
            }
            let command = &mut self.commands.command;
            if command.begun {
                // The server waits for the rest of the command: only an end of the session ends it.
                return Err(Fault::Client("a literal is larger than allowed"));
            }
            let tag = command.tag.take();
            self.refuse(
                tag.as_deref(),
                "NO [TOOBIG] proxy: the literal is larger than allowed",
                Some(literal),
            );
            return Ok(());
        }
        self.tap.literal(Party::Client, literal.size);
        let command = &mut self.commands.command;
        command.literals.push((command.bytes.len(), literal));
        let room = self.limits.collect_literal.saturating_sub(command.literal_bytes);
        if command.begun || usize::try_from(literal.size).map_or(true, |size| size > room) {
            self.abandon_literals();
            if !self.hold_collected(Held::Streams(literal)) {
                self.send(Some(literal));
            }
        } else {
            let acceptance =
                self.flow.literal(command.bytes.get(command.shown..).unwrap_or_default());
            command.shown = command.bytes.len();
            self.commands.intake = Intake::Collect { left: literal.size };
            if !acceptance.is_empty() {
                self.answer(&acceptance);
            }
            self.take_collected(&[]);
        }
        Ok(())
    }

    fn take_collected(&mut self, input: &[u8]) -> usize {
        let Intake::Collect { left } = &mut self.commands.intake else { return 0 };
        let chunk = take_up_to(input, left);
        let command = &mut self.commands.command;
        command.bytes.extend_from_slice(chunk);
        command.literal_bytes += chunk.len();
        if *left == 0 {
            command.line_start = command.bytes.len();
            self.commands.intake = Intake::Line;
        }
        self.tap.literal_bytes(Party::Client, chunk);
        chunk.len()
    }

    fn take_streamed(&mut self, input: &[u8]) -> usize {
        let Intake::Stream { left } = &mut self.commands.intake else { return 0 };
        let chunk = take_up_to(input, left);
        if *left == 0 {
            self.commands.intake = Intake::Line;
        }
        self.to_server.extend_from_slice(chunk);
        self.tap.literal_bytes(Party::Client, chunk);
        chunk.len()
    }

    /// Sends on what was taken in of a command; with `streams`, a literal still follows.
    pub(super) fn send(&mut self, streams: Option<Literal>) {
        let command = &mut self.commands.command;
        if !command.begun {
            let purpose = purpose(&CommandHead::parse(&command.bytes));
            self.outstanding.push(command.tag.as_deref(), purpose);
        }
        let sending = Sending::new(command, self.non_sync, streams);
        *command = Command {
            begun: true,
            tag: command.tag.take(),
            known: command.known,
            ..Command::default()
        };
        self.commands.intake = Intake::Sending(sending);
        self.send_next();
    }

    /// Sends the next piece. It is the last one, or the server has to agree to it.
    fn send_next(&mut self) {
        let Intake::Sending(sending) = &mut self.commands.intake else { return };
        if let Some(piece) = sending.next_piece() {
            self.to_server.extend_from_slice(&piece);
            if sending.waits() {
                return;
            }
        }
        match sending.streams() {
            Some(literal) => {
                self.commands.intake = Intake::Stream { left: literal.size };
                self.take_streamed(&[]);
            }
            None => self.commands = Commands::default(),
        }
    }

    /// The server sent a `+`.
    pub(super) fn literal_accepted(&mut self) -> Continuation {
        let Intake::Sending(sending) = &self.commands.intake else { return Continuation::Other };
        let client_waits = sending.client_waits();
        self.send_next();
        if client_waits { Continuation::ForClient } else { Continuation::Consumed }
    }

    /// The server answered the command with this tag (or one without a proper tag). If it did so
    /// in place of a `+`, the command is over.
    pub(super) fn literal_refused(&mut self, tag: Option<&[u8]>) {
        let Intake::Sending(sending) = &self.commands.intake else { return };
        if self.commands.command.tag.as_deref() != tag {
            return;
        }
        match sending.streams() {
            // It comes all the same.
            Some(Literal { size, sync: false }) => self.swallow(size, None),
            Some(_) => {
                self.end_message(Party::Server);
                self.commands = Commands::default();
            }
            None => self.commands = Commands::default(),
        }
    }

    /// Answers a command that goes nowhere, once the client has sent it to its end.
    pub(super) fn refuse(
        &mut self,
        tag: Option<&[u8]>,
        refusal: &str,
        announcement: Option<Literal>,
    ) {
        let answer = [tag.unwrap_or(b"*"), b" ", refusal.as_bytes(), b"\r\n"].concat();
        self.abandon_literals();
        match announcement {
            Some(Literal { size, sync: false }) => self.swallow(size, Some(answer)),
            _ => self.command_swallowed(Some(&answer)),
        }
    }

    /// The line under way is longer than allowed.
    fn over_long(&mut self) -> Result<(), Fault> {
        if self.commands.command.begun || self.flow.due() != Due::Command {
            return Err(Fault::Client("a line is longer than allowed"));
        }
        self.abandon_literals();
        let command = std::mem::take(&mut self.commands.command);
        let mut tail = Tail::default();
        tail.push(command.current_line());
        self.tap.line(Party::Client, command.current_line());
        let head = CommandHead::parse(&command.bytes);
        let tag = head.proper_tag().filter(|_| !head.verb.is_empty()).unwrap_or(b"*");
        let answer = [tag, b" BAD proxy: the command line is longer than allowed\r\n"].concat();
        self.commands.intake =
            Intake::Swallow(Swallow { literal_left: 0, tail, answer: Some(answer) });
        Ok(())
    }

    /// The command is not collected to its end, although it began so.
    fn abandon_literals(&mut self) {
        let command = &self.commands.command;
        if command.shown > 0 {
            self.flow.literals_end();
        }
    }

    fn swallow(&mut self, literal_left: u64, answer: Option<Vec<u8>>) {
        self.commands.intake =
            Intake::Swallow(Swallow { literal_left, tail: Tail::default(), answer });
    }

    fn take_swallowed(&mut self, input: &[u8]) -> usize {
        let Intake::Swallow(swallow) = &mut self.commands.intake else { return 0 };
        if swallow.literal_left > 0 {
            return take_up_to(input, &mut swallow.literal_left).len();
        }
        let length = line::length(input);
        let (chunk, _) = input.split_at(length.unwrap_or(input.len()));
        swallow.tail.push(chunk);
        if length.is_some() {
            if let Some(Literal { size, sync: false }) = swallow.tail.announcement() {
                swallow.literal_left = size;
                swallow.tail = Tail::default();
            } else {
                // A client that waits for a `+` takes the answer for a refusal.
                let answer = swallow.answer.take();
                self.command_swallowed(answer.as_deref());
            }
        }
        chunk.len()
    }

    fn command_swallowed(&mut self, answer: Option<&[u8]>) {
        self.end_message(Party::Proxy);
        self.commands = Commands::default();
        if let Some(answer) = answer {
            self.answer(answer);
        }
    }

    fn end_message(&mut self, to: Party) {
        self.tap.end(Party::Client, to, Kind::Command { authenticated: self.is_authenticated() });
    }
}

pub(super) fn purpose(head: &CommandHead<'_>) -> Purpose {
    if head.is("LOGIN") || head.is("AUTHENTICATE") { Purpose::Login } else { Purpose::Other }
}

/// The part of `input` that belongs to a literal of which `left` bytes are due.
pub(super) fn take_up_to<'a>(input: &'a [u8], left: &mut u64) -> &'a [u8] {
    let size = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *left -= size as u64;
    input.split_at(size).0
}
