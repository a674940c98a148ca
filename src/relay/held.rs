//! Commands that wait in the proxy: logins until the session lets them pass, and what depends on
//! the outcome of a login.

use super::{
    Fault, Relay, Tap,
    commands::{Intake, purpose},
    head::CommandHead,
    line::Literal,
    outstanding::Purpose,
};

/// How much of a command is there. Nothing of it is with the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    /// One line, which is all of a login.
    Line,
    /// A login with all its literals.
    Whole,
    /// A login up to a literal that streams.
    Streams(Literal),
    /// Any command, up to a literal that is too large unless the login under way succeeds.
    Undecided(Literal),
}

impl<T: Tap> Relay<T> {
    /// From now on each login waits for [`Relay::release_login`].
    pub fn hold_logins(&mut self) {
        self.holds_logins = true;
    }

    /// Whether a command waits here that is to go on to the server.
    pub fn holds_back(&self) -> bool {
        matches!(self.commands.intake, Intake::Held(_))
    }

    /// Whether a login waits to be released. No other one is under way then: of each client one is
    /// tried at a time.
    pub fn login_waits(&self) -> bool {
        let Intake::Held(held) = &self.commands.intake else { return false };
        !matches!(held, Held::Undecided(_)) && !self.outstanding.has_login()
    }

    /// Lets the login pass that waits.
    pub fn release_login(&mut self) {
        let Intake::Held(held) = &self.commands.intake else { return };
        let held = *held;
        if !self.login_waits() {
            return;
        }
        self.commands.intake = Intake::Line;
        match held {
            Held::Line => {
                let line = std::mem::take(&mut self.commands.command.bytes);
                self.forward_now(&CommandHead::parse(&line), &line);
            }
            Held::Whole => self.send_whole(),
            Held::Streams(literal) => self.send(Some(literal)),
            Held::Undecided(_) => {}
        }
    }

    /// Holds the command if it has to wait. Returns whether it does.
    pub(super) fn hold(&mut self, purpose: Purpose, held: Held) -> bool {
        let holds = self.holds_logins && purpose == Purpose::Login && !self.is_authenticated();
        if holds {
            self.commands.intake = Intake::Held(held);
        }
        holds
    }

    /// The same, for what was collected of a command.
    pub(super) fn hold_collected(&mut self, held: Held) -> bool {
        let command = &self.commands.command;
        !command.begun && self.hold(purpose(&CommandHead::parse(&command.bytes)), held)
    }

    /// Whether a literal is larger than allowed now.
    pub(super) fn is_too_large(&self, literal: Literal) -> bool {
        let before_login = (!self.is_authenticated()).then_some(self.limits.literal_before_login);
        self.limits.literal.into_iter().chain(before_login).any(|limit| literal.size > limit)
    }

    /// Holds a command whose literal is too large as long as its sender is not logged in, if that
    /// may change without another word of the client. Returns whether it is held.
    pub(super) fn hold_undecided(&mut self, literal: Literal) -> bool {
        let may_pass = self.limits.literal.is_none_or(|limit| literal.size <= limit);
        let undecided = may_pass && self.outstanding.has_login() && !self.commands.command.begun;
        if undecided {
            self.commands.intake = Intake::Held(Held::Undecided(literal));
        }
        undecided
    }

    /// The server said something; perhaps it was what was waited for.
    pub(super) fn decide(&mut self) -> Result<(), Fault> {
        if let Intake::Held(Held::Undecided(literal)) = self.commands.intake
            && !self.outstanding.has_login()
            && self.responses.at_boundary()
        {
            self.commands.intake = Intake::Line;
            self.literal_announced(literal)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Limits, Policy},
        *,
    };

    fn relay() -> Relay<()> {
        let limits = Limits {
            collect_literal: 10,
            literal_before_login: 20,
            literal: Some(40),
            login_attempts: 2,
            bad_commands: 2,
            ..Limits::default()
        };
        let mut relay = Relay::new(limits, Policy::default(), ());
        relay.hold_logins();
        relay.server_sent(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hello\r\n").unwrap();
        relay.to_client().clear();
        relay
    }

    fn sent(relay: &mut Relay<()>, input: &str) -> usize {
        relay.client_sent(input.as_bytes()).unwrap()
    }

    #[track_caller]
    fn assert_out(relay: &mut Relay<()>, to_client: &str, to_server: &str) {
        assert_eq!(relay.to_client().split().escape_ascii().to_string(), escaped(to_client));
        assert_eq!(relay.to_server().split().escape_ascii().to_string(), escaped(to_server));
    }

    fn escaped(text: &str) -> String {
        text.escape_default().to_string()
    }

    #[test]
    fn logins_wait_in_every_form() {
        for (before, login) in [
            ("", "A1 LOGIN a b\r\n"),
            ("", "A1 AUTHENTICATE PLAIN AGEAYg==\r\n"),
            ("", "A1 LOGIN {1+}\r\na {1+}\r\nb\r\n"),
            ("", "A1 login {12+}\r\n"),
            ("A1 NOOP\r\n", "A2 authenticate PLAIN\r\n"),
        ] {
            let mut relay = relay();
            let input = [before, login, "A3 NOOP\r\n"].concat();
            assert_eq!(sent(&mut relay, &input), before.len() + login.len(), "{login}");
            assert!(relay.login_waits() && relay.holds_back() && !relay.takes_from_client());
            assert_eq!(relay.is_idle(), before.is_empty());
            assert_out(&mut relay, "", before);
            relay.release_login();
            assert!(!relay.login_waits() && !relay.holds_back());
            assert_out(&mut relay, "", login);
        }
    }

    #[test]
    fn one_login_at_a_time() {
        let mut relay = relay();
        assert_eq!(sent(&mut relay, "A1 LOGIN a b\r\nA2 LOGIN a c\r\n"), 14);
        relay.release_login();
        assert_eq!(sent(&mut relay, "A2 LOGIN a c\r\n"), 14);
        assert!(!relay.login_waits() && relay.holds_back());
        relay.release_login();
        assert_out(&mut relay, "", "A1 LOGIN a b\r\n");
        relay.server_sent(b"A1 NO wrong\r\n").unwrap();
        assert!(relay.login_waits());
        assert_eq!(relay.failed_logins(), 1);
        relay.release_login();
        assert_out(&mut relay, "A1 NO wrong\r\n", "A2 LOGIN a c\r\n");
        let fault = Err(Fault::Client("too many failed logins"));
        assert_eq!(relay.server_sent(b"A2 NO wrong\r\n* OK more\r\n"), fault);
        assert_out(&mut relay, "A2 NO wrong\r\n", "");
    }

    #[test]
    fn nothing_waits_after_login() {
        let mut relay = relay();
        sent(&mut relay, "A1 LOGIN a b\r\n");
        relay.release_login();
        relay.server_sent(b"A1 OK in\r\n").unwrap();
        relay.to_server().clear();
        assert_eq!(sent(&mut relay, "A2 LOGIN a b\r\n"), 14);
        assert_out(&mut relay, "A1 OK in\r\n", "A2 LOGIN a b\r\n");
    }

    #[test]
    fn a_literal_is_judged_by_the_outcome_of_the_login() {
        const LOGIN: &str = "A1 LOGIN a b\r\n";
        const APPEND: &str = "A2 APPEND x {21+}\r\n";
        const TOO_BIG: &str = "A2 NO [TOOBIG] proxy: the literal is larger than allowed\r\n";
        let content = [&"x".repeat(21), "\r\n"].concat();
        for (answer, passes) in
            [("A1 OK in\r\n", true), ("A1 NO out\r\n", false), ("* BAD\r\n", false)]
        {
            let mut relay = relay();
            assert_eq!(sent(&mut relay, LOGIN), LOGIN.len());
            relay.release_login();
            assert_eq!(sent(&mut relay, &[APPEND, &content].concat()), APPEND.len());
            assert_out(&mut relay, "", LOGIN);
            relay.server_sent(answer.as_bytes()).unwrap();
            assert_out(&mut relay, answer, if passes { APPEND } else { "" });
            assert_eq!(sent(&mut relay, &content), content.len());
            let (to_client, to_server) =
                if passes { ("", content.as_str()) } else { (TOO_BIG, "") };
            assert_out(&mut relay, to_client, to_server);
        }
        // Nothing that a login could change.
        for (line, waits) in [("A2 APPEND x {41}\r\n", false), ("A2 APPEND x {40}\r\n", true)] {
            let mut relay = relay();
            sent(&mut relay, LOGIN);
            relay.release_login();
            sent(&mut relay, line);
            assert_out(&mut relay, if waits { "" } else { TOO_BIG }, LOGIN);
        }
        let mut relay = relay();
        sent(&mut relay, "A2 APPEND x {21}\r\n");
        assert_out(&mut relay, TOO_BIG, "");
    }

    #[test]
    fn bad_answers_in_a_row_end_it_between_two_messages() {
        let fault = Fault::Client("too many bad commands");
        let mut relay = relay();
        sent(&mut relay, "A1 X\r\nA2 NOOP\r\n");
        relay.server_sent(b"A1 BAD\r\nA2 OK\r\n* BAD unasked\r\n* BAD unasked\r\n").unwrap();
        relay.server_sent(b"* 1 FETCH (BODY[] {3}\r\n").unwrap();
        sent(&mut relay, "A3 STARTTLS\r\nA4 STARTTLS\r\n");
        relay.server_sent(b"abc").unwrap();
        assert_eq!(relay.server_sent(b")\r\n* 2 EXISTS\r\n"), Err(fault));
        assert!(
            relay
                .to_client()
                .ends_with(b"A4 BAD proxy: STARTTLS is not available on this connection\r\n")
        );

        let mut relay = self::relay();
        assert_eq!(relay.client_sent(b"\r\nA1 STARTTLS\r\nA2 STARTTLS\r\nA3 NOOP\r\n"), Err(fault));
        assert_out(
            &mut relay,
            &["A1", "A2"]
                .map(|tag| {
                    format!("{tag} BAD proxy: STARTTLS is not available on this connection\r\n")
                })
                .concat(),
            "\r\n",
        );
    }
}
