//! What counts against a client: answers BAD in a row, and logins that failed.

use super::{
    Fault, Relay, Tap,
    head::{Condition, ResponseHead, word},
    line,
};

/// Codes of a NO that say nothing about the credentials (RFC 5530 3).
const NO_GUESS: &[&str] = &["INUSE", "LIMIT", "PRIVACYREQUIRED", "SERVERBUG", "UNAVAILABLE"];

/// The counts of one session.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    bad: usize,
    failed_logins: usize,
}

impl Strikes {
    /// A command was answered: OK, NO or BAD.
    pub(super) fn answered(&mut self, condition: Condition) {
        match condition {
            Condition::Bad => self.bad = self.bad.saturating_add(1),
            Condition::Ok | Condition::No => self.bad = 0,
            Condition::Bye | Condition::Preauth => {}
        }
    }

    /// The same, by an answer of the proxy's own.
    pub(super) fn answered_by_proxy(&mut self, answer: &[u8]) {
        for line in answer.split_inclusive(|byte| *byte == b'\n') {
            match ResponseHead::parse(line) {
                ResponseHead::Tagged { condition, .. }
                | ResponseHead::Status(condition @ Condition::Bad) => self.answered(condition),
                _ => {}
            }
        }
    }

    /// A login was answered with this line, whose condition is NO.
    pub(super) fn login_refused(&mut self, line: &[u8]) {
        if is_guess(line) {
            self.failed_logins = self.failed_logins.saturating_add(1);
        }
    }
}

impl<T: Tap> Relay<T> {
    /// How many logins failed, since their credentials were wrong as far as the server says.
    pub fn failed_logins(&self) -> usize {
        self.strikes.failed_logins
    }

    /// Whether the client went too far. It is told between two messages only.
    pub(super) fn verdict(&self) -> Result<(), Fault> {
        if !self.responses.at_boundary() {
            Ok(())
        } else if self.strikes.failed_logins >= self.limits.login_attempts {
            Err(Fault::Client("too many failed logins"))
        } else if self.strikes.bad >= self.limits.bad_commands {
            Err(Fault::Client("too many bad commands"))
        } else {
            Ok(())
        }
    }
}

/// Whether a tagged NO may be due to wrong credentials.
fn is_guess(line: &[u8]) -> bool {
    let (_tag, rest) = word(line::content(line));
    let (_condition, rest) = word(rest);
    let (code, _) = word(rest);
    let Some(code) = code.strip_prefix(b"[") else { return true };
    let code = code.split(|byte| *byte == b']').next().unwrap_or_default();
    !NO_GUESS.iter().any(|known| code.eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_blame_nobody() {
        for (line, expected) in [
            ("A1 NO wrong\r\n", true),
            ("A1 NO\r\n", true),
            ("A1 NO [AUTHENTICATIONFAILED] wrong\r\n", true),
            ("A1 NO [UNAVAILABLE] later\r\n", false),
            ("A1 no [privacyrequired]\r\n", false),
            ("A1 NO [LIMIT x] y\r\n", false),
            ("A1 NO UNAVAILABLE\r\n", true),
            ("A1 NO [", true),
        ] {
            assert_eq!(is_guess(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn only_bad_answers_in_a_row_count() {
        let mut strikes = Strikes::default();
        strikes.answered(Condition::Bad);
        strikes.answered_by_proxy(b"A1 BAD proxy: no\r\n");
        strikes.answered_by_proxy(b"* BAD proxy: no\r\n");
        assert_eq!(strikes.bad, 3);
        strikes.answered_by_proxy(b"+ proxy: go on\r\n");
        strikes.answered_by_proxy(b"* OK proxy: still here\r\n");
        assert_eq!(strikes.bad, 3);
        strikes.answered_by_proxy(b"* CAPABILITY IMAP4rev1\r\nA1 OK proxy: done\r\n");
        assert_eq!(strikes.bad, 0);
        strikes.answered(Condition::Bad);
        strikes.answered(Condition::No);
        assert_eq!(strikes.bad, 0);
    }
}
