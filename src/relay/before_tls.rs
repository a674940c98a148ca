//! A client that has to upgrade by STARTTLS first: until then the proxy answers it alone, and no
//! server hears of it (RFC 9051 6.2.1, 11.1).

use super::{Kind, Phase, Relay, Tap, head::CommandHead, line::Literal, verbs::is_verb};

const CAPABILITIES: &str = "CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED";

/// What the session has to do about a client without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeTls {
    /// Go on listening to it.
    Listen,
    /// Do the TLS handshake, once all is written. What came with STARTTLS must not be read.
    Upgrade,
    /// Close the connection, once all is written.
    LoggedOut,
}

impl<T: Tap> Relay<T> {
    /// Greets the client, and takes nothing from it but what leads to TLS.
    pub fn require_tls(&mut self) {
        self.phase = Phase::BeforeTls(BeforeTls::Listen);
        let greeting = format!("* OK [{CAPABILITIES}] proxy: please begin TLS\r\n");
        self.say(greeting.as_bytes(), Kind::Greeting);
    }

    /// What is to be done next. Always `Listen` where TLS is not required.
    pub fn before_tls(&self) -> BeforeTls {
        match self.phase {
            Phase::BeforeTls(next) => next,
            _ => BeforeTls::Listen,
        }
    }

    /// TLS stands: the session goes on with the server's greeting, which the client does not get,
    /// for it had one.
    pub fn tls_established(&mut self) {
        self.phase = Phase::ServerGreeting;
        self.client_greeted = true;
    }

    /// Answers the command that begins with a line.
    pub(super) fn answer_before_tls(
        &mut self,
        head: &CommandHead<'_>,
        announcement: Option<Literal>,
    ) {
        let Some(tag) = head.proper_tag().filter(|_| !head.verb.is_empty()) else {
            return self.refuse(None, "BAD proxy: a command needs a tag and a name", announcement);
        };
        let is_ours = ["STARTTLS", "CAPABILITY", "NOOP", "LOGOUT"].iter().any(|verb| head.is(verb));
        let (untagged, answer) = if !is_verb(head.verb) {
            ("", "BAD proxy: unknown command")
        } else if !is_ours {
            ("", "NO [PRIVACYREQUIRED] proxy: please send STARTTLS first")
        } else if !head.arguments.is_empty() {
            ("", "BAD proxy: this command takes no arguments")
        } else if head.is("STARTTLS") {
            self.phase = Phase::BeforeTls(BeforeTls::Upgrade);
            ("", "OK proxy: begin TLS now")
        } else if head.is("CAPABILITY") {
            (CAPABILITIES, "OK proxy: that is all before TLS")
        } else if head.is("LOGOUT") {
            self.phase = Phase::BeforeTls(BeforeTls::LoggedOut);
            self.bye_seen = true;
            ("BYE proxy: goodbye", "OK proxy: logged out")
        } else {
            ("", "OK proxy: nothing to tell")
        };
        if !untagged.is_empty() {
            self.answer(format!("* {untagged}\r\n").as_bytes());
        }
        self.refuse(Some(tag), answer, announcement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{Fault, Limits, Policy};

    fn relay() -> Relay<()> {
        let mut relay = Relay::new(Limits::default(), Policy::default(), ());
        relay.require_tls();
        assert_eq!(
            said(&mut relay),
            "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] proxy: please begin TLS\r\n"
        );
        relay
    }

    fn said(relay: &mut Relay<()>) -> String {
        String::from_utf8(relay.to_client().split().to_vec()).unwrap()
    }

    #[test]
    fn only_what_leads_to_tls_is_done() {
        let mut relay = relay();
        for (command, expected) in [
            ("a capability\r\n", "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK "),
            ("a NOOP\r\n", "a OK "),
            ("a LOGIN bob secret\r\n", "a NO [PRIVACYREQUIRED] "),
            ("a AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n", "a NO [PRIVACYREQUIRED] "),
            ("a LOGIN {3}\r\n", "a NO [PRIVACYREQUIRED] "),
            ("a LOGIN {3+}\r\nbob {6+}\r\nsecret\r\n", "a NO [PRIVACYREQUIRED] "),
            ("a SELECT INBOX\r\n", "a NO [PRIVACYREQUIRED] "),
            ("a COMPRESS DEFLATE\r\n", "a NO [PRIVACYREQUIRED] "),
            ("a STARTTLS now\r\n", "a BAD "),
            ("a FOO\r\n", "a BAD "),
            ("GET / HTTP/1.1\r\n", "GET BAD "),
            ("a\r\n", "* BAD "),
            ("\r\n", "* BAD "),
        ] {
            assert_eq!(relay.client_sent(command.as_bytes()), Ok(command.len()));
            let answer = said(&mut relay);
            assert!(
                answer.starts_with(expected) && answer.contains(" proxy: "),
                "{command}{answer}"
            );
            assert_eq!(answer.lines().count(), expected.lines().count());
            assert_eq!(relay.before_tls(), BeforeTls::Listen);
        }
        assert!(relay.to_server().is_empty());
    }

    #[test]
    fn nothing_is_taken_after_starttls_until_tls_stands() {
        let mut relay = relay();
        assert_eq!(relay.client_sent(b"a starttls\r\nb LOGIN x y\r\n"), Ok(12));
        assert!(said(&mut relay).starts_with("a OK "));
        assert_eq!(relay.before_tls(), BeforeTls::Upgrade);
        assert_eq!(relay.client_sent(b"b LOGIN x y\r\n"), Ok(0));
        relay.tls_established();
        assert_eq!(relay.client_sent(b"b NOOP\r\n"), Ok(0));
        relay.server_sent(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n").unwrap();
        assert_eq!(said(&mut relay), "");
        assert_eq!(relay.client_sent(b"b STARTTLS\r\nc NOOP\r\n"), Ok(20));
        assert!(said(&mut relay).starts_with("b BAD proxy: "));
        assert_eq!(relay.to_server().split(), "c NOOP\r\n");
    }

    #[test]
    fn logout() {
        let mut relay = relay();
        assert_eq!(relay.client_sent(b"a LOGOUT\r\nb NOOP\r\n"), Ok(10));
        assert!(said(&mut relay).starts_with("* BYE proxy: goodbye\r\na OK "));
        assert_eq!(relay.before_tls(), BeforeTls::LoggedOut);
    }

    #[test]
    fn greetings_that_cannot_be_passed_on() {
        for (greeting, fault, expected) in [
            (&b"* PREAUTH hi\r\n"[..], true, ""),
            (b"* BYE too busy\r\n", false, "* BYE too busy\r\n"),
        ] {
            let mut relay = relay();
            relay.client_sent(b"a STARTTLS\r\n").unwrap();
            relay.tls_established();
            said(&mut relay);
            let result = relay.server_sent(greeting);
            assert_eq!(matches!(result, Err(Fault::Server(_))), fault);
            assert_eq!(said(&mut relay), expected);
        }
    }
}
