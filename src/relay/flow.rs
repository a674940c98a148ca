//! AUTHENTICATE, IDLE and collected literals, as imap-next's states drive them.
//!
//! Towards the client we are imap-next's `Server`, towards the server its `Client`. They are fed
//! control messages only, in a canonical form where the original one might not decode; what they
//! encode is dropped, save for the acceptance of a literal: the original bytes travel.

use imap_next::{
    Interrupt, Io, State,
    client::{self, Client},
    server::{self, Server},
};
use imap_types::{
    auth::AuthenticateData,
    command::{Command, CommandBody},
    core::Text,
    response::{Greeting, GreetingKind},
};

use super::head::Condition;

/// What is due from the client next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Due {
    /// Commands.
    #[default]
    Command,
    /// Nothing: the server has to speak first.
    Nothing,
    /// One line that answers a SASL challenge.
    SaslResponse,
    /// One line that ends IDLE.
    IdleDone,
}

/// What is under way in one session.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// There only while something is under way, as they take 2 KiB: between their flows they know
    /// nothing.
    states: Option<Box<States>>,
    due: Due,
    authenticating: bool,
    /// Challenges of the server that came before the one ahead of them was answered.
    challenges: u32,
}

#[derive(Debug)]
struct States {
    server: Server,
    client: Client,
}

impl Flow {
    pub(super) fn due(&self) -> Due {
        self.due
    }

    /// Whether AUTHENTICATE is under way.
    pub(super) fn is_authenticating(&self) -> bool {
        self.due != Due::Command && self.authenticating
    }

    /// Whether IDLE is under way.
    pub(super) fn is_idling(&self) -> bool {
        self.due != Due::Command && !self.authenticating
    }

    /// Takes a line of a command that announces a literal to be collected, and what came since the
    /// last such line. Returns what the client shall get: the acceptance, or nothing for a literal that
    /// does not wait.
    pub(super) fn literal(&mut self, line: &[u8]) -> Vec<u8> {
        let states = self.states.get_or_insert_default();
        states.server.enqueue_input(line);
        states.drive_server().0
    }

    /// No more literals of the command are collected.
    pub(super) fn literals_end(&mut self) {
        self.end();
    }

    /// Takes a complete AUTHENTICATE or IDLE command. One that does not decode starts nothing: the
    /// server's own opinion of it counts.
    pub(super) fn start(&mut self, line: &[u8]) {
        let mut states = Box::<States>::default();
        states.server.enqueue_input(line);
        let (tag, body) = match states.drive_server().1 {
            // Without the initial response: the state has no need to know the secret.
            Some(server::Event::CommandAuthenticateReceived { command_authenticate: command }) => {
                (command.tag, CommandBody::authenticate(command.mechanism))
            }
            Some(server::Event::IdleCommandReceived { tag }) => (tag, CommandBody::Idle),
            _ => return,
        };
        self.authenticating = !matches!(body, CommandBody::Idle);
        self.challenges = 0;
        states.client.enqueue_command(Command { tag, body });
        if let Some(
            client::Event::AuthenticateStarted { .. } | client::Event::IdleCommandSent { .. },
        ) = states.drive_client()
        {
            self.due = Due::Nothing;
            self.states = Some(states);
        }
    }

    /// The client's SASL response went to the server.
    pub(super) fn sasl_response_sent(&mut self) {
        let Some(states) = &mut self.states else { return };
        let response = AuthenticateData::r#continue(Vec::new());
        if states.client.set_authenticate_data(response).is_ok() {
            states.drive_client();
        }
        self.due = Due::Nothing;
        if let Some(left) = self.challenges.checked_sub(1) {
            self.challenges = left;
            self.continuation();
        }
    }

    /// The line that ends IDLE went to the server.
    pub(super) fn idle_done_sent(&mut self) {
        self.end();
    }

    /// The server sent a continuation request that no literal waits for.
    pub(super) fn continuation(&mut self) {
        match self.due {
            Due::Command => return,
            Due::SaslResponse => {
                self.challenges = self.challenges.saturating_add(1);
                return;
            }
            Due::Nothing | Due::IdleDone => {}
        }
        let Some(states) = &mut self.states else { return };
        states.client.enqueue_input(b"+ proxy\r\n");
        let (accepted, due) = match states.drive_client() {
            Some(client::Event::AuthenticateContinuationRequestReceived {
                continuation_request,
                ..
            }) => (states.server.authenticate_continue(continuation_request), Due::SaslResponse),
            Some(client::Event::IdleAccepted { continuation_request, .. }) => {
                (states.server.idle_accept(continuation_request), Due::IdleDone)
            }
            _ => return,
        };
        if accepted.is_ok() {
            self.due = due;
        }
        drop(states.drive_server());
    }

    /// The server sent a tagged status: `condition` is OK, NO or BAD.
    pub(super) fn status(&mut self, tag: &[u8], condition: Condition) {
        if self.due == Due::Command {
            return;
        }
        let Some(states) = &mut self.states else { return };
        states
            .client
            .enqueue_input(&[tag, b" ", condition.name().as_bytes(), b" proxy\r\n"].concat());
        // Of an IDLE, too, that the server had accepted before.
        if let Some(
            client::Event::AuthenticateStatusReceived { .. } | client::Event::IdleRejected { .. },
        ) = states.drive_client()
        {
            self.end();
        }
    }

    fn end(&mut self) {
        self.states = None;
        self.due = Due::Command;
    }
}

impl Default for States {
    fn default() -> Self {
        let mut options = server::Options::default();
        options.crlf_relaxed = true;
        options.max_literal_size = u32::MAX - 1;
        options.max_command_size = u32::MAX;
        let set = options.set_literal_accept_text("proxy: Literal accepted by proxy".to_owned());
        debug_assert!(set.is_ok());
        let text = Text::unvalidated("proxy");
        let greeting = Greeting { kind: GreetingKind::Ok, code: None, text };
        let mut client_options = client::Options::default();
        client_options.discard_greeting = true;
        let mut states =
            Self { server: Server::new(options, greeting), client: Client::new(client_options) };
        // The greeting that the client gets is the server's own.
        drop(states.drive_server());
        states
    }
}

impl States {
    /// Runs the state until it needs input. Returns what it wrote and the last event: none for a
    /// message that does not decode.
    fn drive_server(&mut self) -> (Vec<u8>, Option<server::Event>) {
        let (mut output, mut last) = (Vec::new(), None);
        loop {
            match self.server.next() {
                Ok(server::Event::GreetingSent { .. } | server::Event::ResponseSent { .. }) => {}
                Ok(event) => last = Some(event),
                Err(Interrupt::Io(Io::Output(bytes))) => output.extend(bytes),
                Err(Interrupt::Io(Io::NeedMoreInput)) => return (output, last),
                Err(Interrupt::Error(_)) => last = None,
            }
        }
    }

    /// Runs the state until it needs input. Returns the last event.
    fn drive_client(&mut self) -> Option<client::Event> {
        let mut last = None;
        loop {
            match self.client.next() {
                Ok(event) => last = Some(event),
                Err(Interrupt::Io(Io::Output(_)) | Interrupt::Error(_)) => {}
                Err(Interrupt::Io(Io::NeedMoreInput)) => return last,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Condition::{Bad, No, Ok};

    #[test]
    fn literals_are_accepted() {
        let mut flow = Flow::default();
        assert_eq!(flow.literal(b"A1 LOGIN {5}\r\n"), b"+ proxy: Literal accepted by proxy\r\n");
        assert_eq!(flow.literal(b"alice {6+}\r\n"), b"");
        flow.literals_end();
        // Nonsense, cut short, does not disturb what follows.
        assert_eq!(flow.literal(b"(( {3}\r\n"), b"+ proxy: Literal accepted by proxy\r\n");
        flow.literals_end();
        assert_eq!(flow.due(), Due::Command);
        flow.start(b"A2 IDLE\r\n");
        assert_eq!(flow.due(), Due::Nothing);
    }

    #[test]
    fn authenticate() {
        for condition in [Ok, No, Bad] {
            let mut flow = Flow::default();
            for line in [
                &b"A1 AUTHENTICATE PLAIN\r\n"[..],
                b"A1 authenticate SCRAM-SHA-256 biwsbj1hLHI9Yg==\n",
            ] {
                flow.start(line);
                assert_eq!(flow.due(), Due::Nothing);
                for _ in 0..2 {
                    flow.continuation();
                    assert_eq!(flow.due(), Due::SaslResponse);
                    // A second one asks for one more.
                    flow.continuation();
                    for due in [Due::SaslResponse, Due::Nothing] {
                        assert_eq!(flow.due(), Due::SaslResponse);
                        flow.sasl_response_sent();
                        assert_eq!(flow.due(), due);
                    }
                }
                flow.status(b"A0", condition);
                assert_eq!(flow.due(), Due::Nothing);
                flow.status(b"A1", condition);
                assert_eq!(flow.due(), Due::Command);
            }
            // The server may end it while it waits for the client.
            flow.start(b"A2 AUTHENTICATE PLAIN\r\n");
            flow.continuation();
            flow.status(b"A2", condition);
            assert_eq!(flow.due(), Due::Command);
        }
    }

    #[test]
    fn idle() {
        let mut flow = Flow::default();
        for condition in [Ok, No, Bad] {
            for accepted in [false, true] {
                flow.start(b"A1 IDLE\r\n");
                if accepted {
                    flow.continuation();
                    assert_eq!(flow.due(), Due::IdleDone);
                }
                flow.status(b"A1", condition);
                assert_eq!(flow.due(), Due::Command);
            }
            flow.start(b"A2 IDLE\r\n");
            flow.continuation();
            flow.idle_done_sent();
            assert_eq!(flow.due(), Due::Command);
            flow.status(b"A2", condition);
            assert_eq!(flow.due(), Due::Command);
        }
    }

    #[test]
    fn what_does_not_decode_starts_nothing() {
        let mut flow = Flow::default();
        for line in [
            &b"A1 AUTHENTICATE\r\n"[..],
            b"A+1 IDLE\r\n",
            b"A1 IDLE now\r\n",
            b"\xff AUTHENTICATE PLAIN\r\n",
        ] {
            flow.start(line);
            assert_eq!(flow.due(), Due::Command);
        }
    }
}
