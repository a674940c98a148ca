//! What the proxy says to a server of its own accord, before a session's messages pass: STARTTLS,
//! and ID.

use bytes::BytesMut;

use super::{
    Fault, Kind, Party, Tap,
    head::{Condition, ResponseHead},
    line,
};

/// Tag of each command of the proxy's own; only one waits at a time.
const TAG: &str = "proxy";
/// Bytes of all that a server may say before the session's messages pass.
const MOST: usize = 64 * 1024;

/// What the session has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write what there is for the server, and read on.
    Continue,
    /// Do the TLS handshake with the server.
    Upgrade,
    /// Give these bytes to the relay, as if the server had just sent them: its greeting, or one that
    /// takes its place, and what it sent after that.
    Done(Vec<u8>),
}

/// The dialogue with the server.
#[derive(Debug)]
pub struct Opening {
    state: State,
    start_tls: bool,
    /// The arguments of an ID command to send.
    id: Option<Vec<u8>>,
    /// The greeting for the client.
    greeting: Vec<u8>,
    taken: usize,
    inbox: Vec<u8>,
    to_server: BytesMut,
}

/// What the server is to say next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    /// Its answer to STARTTLS.
    StartTls,
    /// Nothing: the handshake is under way.
    Upgrading,
    /// What it can do under TLS. Nothing that it said before counts.
    Capability,
    /// Its answer to ID.
    Id,
    Finished,
}

impl Opening {
    /// `start_tls`: whether to upgrade; `id`: arguments of an ID command (RFC 2971) to be sent before
    /// any command of the client.
    pub fn new(start_tls: bool, id: Option<Vec<u8>>) -> Self {
        Self {
            state: State::Greeting,
            start_tls,
            id,
            greeting: Vec::new(),
            taken: 0,
            inbox: Vec::new(),
            to_server: BytesMut::new(),
        }
    }

    /// What the server shall get; the session takes it from here.
    pub fn to_server(&mut self) -> &mut BytesMut {
        &mut self.to_server
    }

    /// Takes in what the server sent.
    pub fn server_sent(&mut self, input: &[u8], tap: &mut impl Tap) -> Result<Step, Fault> {
        self.taken += input.len();
        if self.taken > MOST {
            return Err(Fault::Server("the server says too much before the session begins"));
        }
        self.inbox.extend_from_slice(input);
        while let Some(length) = message_length(&self.inbox) {
            let rest = self.inbox.split_off(length);
            let message = std::mem::replace(&mut self.inbox, rest);
            match self.take(&message, tap)? {
                Step::Continue => {}
                step => return Ok(step),
            }
        }
        Ok(Step::Continue)
    }

    /// TLS stands.
    pub fn upgraded(&mut self, tap: &mut impl Tap) {
        self.state = State::Capability;
        self.taken = 0;
        self.command(b"CAPABILITY", tap);
    }

    fn take(&mut self, message: &[u8], tap: &mut impl Tap) -> Result<Step, Fault> {
        let head = ResponseHead::parse(message);
        let kind = if self.state == State::Greeting { Kind::Greeting } else { Kind::Response };
        // A greeting that the client gets is shown when the relay passes it on.
        if self.state != State::Greeting || self.start_tls {
            tap.line(Party::Server, message);
            tap.end(Party::Server, Party::Proxy, kind);
        }
        let answered = match head {
            ResponseHead::Tagged { tag, condition } if tag == TAG.as_bytes() => Some(condition),
            _ => None,
        };
        match (self.state, head) {
            (State::Greeting, _) => self.greeted(head, message, tap),
            (State::StartTls, _) if answered == Some(Condition::Ok) => {
                // What came before TLS may come from anybody.
                if !self.inbox.is_empty() {
                    return Err(Fault::Server("the server sent data between STARTTLS and TLS"));
                }
                self.state = State::Upgrading;
                Ok(Step::Upgrade)
            }
            (State::StartTls, _) if answered.is_some() => Err(NO_STARTTLS),
            (State::Capability, ResponseHead::Capability) => {
                let list = line::content(message).strip_prefix(b"* ").unwrap_or_default();
                self.greeting = [b"* OK [", list, b"] proxy: the server is ready\r\n"].concat();
                Ok(Step::Continue)
            }
            (State::Capability, _) if answered.is_some() => {
                if self.greeting.is_empty() {
                    self.greeting = b"* OK proxy: the server is ready\r\n".to_vec();
                }
                Ok(self.identify(tap))
            }
            (State::Id, _) if answered.is_some() => Ok(self.finish()),
            (_, ResponseHead::Status(Condition::Bye)) => Err(TURNED_AWAY),
            _ => Ok(Step::Continue),
        }
    }

    fn greeted(
        &mut self,
        head: ResponseHead<'_>,
        greeting: &[u8],
        tap: &mut impl Tap,
    ) -> Result<Step, Fault> {
        if !self.start_tls {
            self.greeting = greeting.to_vec();
            let welcome = matches!(head, ResponseHead::Status(Condition::Ok | Condition::Preauth));
            return Ok(if welcome { self.identify(tap) } else { self.finish() });
        }
        match head {
            ResponseHead::Status(Condition::Ok) if denies_starttls(greeting) => Err(NO_STARTTLS),
            ResponseHead::Status(Condition::Ok) => {
                self.state = State::StartTls;
                self.command(b"STARTTLS", tap);
                Ok(Step::Continue)
            }
            ResponseHead::Status(Condition::Preauth) => {
                Err(Fault::Server("the server logs clients in by itself, which rules out STARTTLS"))
            }
            ResponseHead::Status(Condition::Bye) => Err(TURNED_AWAY),
            _ => Err(Fault::Server("the server does not speak IMAP")),
        }
    }

    /// Sends ID, if there is anything to tell.
    fn identify(&mut self, tap: &mut impl Tap) -> Step {
        let Some(id) = self.id.take() else { return self.finish() };
        self.state = State::Id;
        self.command(&[b"ID ", id.as_slice()].concat(), tap);
        Step::Continue
    }

    fn finish(&mut self) -> Step {
        self.state = State::Finished;
        self.greeting.append(&mut self.inbox);
        Step::Done(std::mem::take(&mut self.greeting))
    }

    fn command(&mut self, command: &[u8], tap: &mut impl Tap) {
        let line = [TAG.as_bytes(), b" ", command, b"\r\n"].concat();
        tap.line(Party::Proxy, &line);
        tap.end(Party::Proxy, Party::Server, Kind::Command { authenticated: false });
        self.to_server.extend_from_slice(&line);
    }
}

const NO_STARTTLS: Fault = Fault::Server("the server does not offer STARTTLS");
const TURNED_AWAY: Fault = Fault::Server("the server turned the client away");

/// The length of the first message, its literals included, once it is complete.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let mut end = line::length(bytes)?;
    if ResponseHead::parse(bytes.get(..end)?).is_text() {
        return Some(end);
    }
    let mut start = 0;
    while let Some(literal) = line::announcement(bytes.get(start..end)?) {
        start = end.checked_add(usize::try_from(literal.size).ok()?)?;
        end = start + line::length(bytes.get(start..)?)?;
    }
    Some(end)
}

/// Whether the greeting holds a list of capabilities without STARTTLS.
fn denies_starttls(greeting: &[u8]) -> bool {
    let Some(list) = super::capability::list(greeting) else { return false };
    !list.split(|byte| *byte == b' ').any(|name| name.eq_ignore_ascii_case(b"STARTTLS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds an opening with what the server says, in chunks of some size; the upgrade is done when
    /// it is due. Returns all that the server got, and the end.
    fn open(
        start_tls: bool,
        id: Option<&str>,
        said: &[&str],
        size: usize,
    ) -> (String, Result<Step, Fault>) {
        let mut opening = Opening::new(start_tls, id.map(Into::into));
        let mut got = String::new();
        let mut end = Ok(Step::Continue);
        for said in said {
            for chunk in said.as_bytes().chunks(size) {
                end = opening.server_sent(chunk, &mut ());
                got += str::from_utf8(&opening.to_server().split()).unwrap();
                if end == Ok(Step::Upgrade) {
                    got += "<TLS>";
                    opening.upgraded(&mut ());
                    got += str::from_utf8(&opening.to_server().split()).unwrap();
                }
            }
        }
        (got, end)
    }

    const STARTTLS: &str = "proxy STARTTLS\r\n";
    const UPGRADED: &str = "proxy STARTTLS\r\n<TLS>proxy CAPABILITY\r\n";

    fn done(bytes: &str) -> Step {
        Step::Done(bytes.into())
    }

    #[test]
    fn starttls() {
        for size in [1, 3, 1000] {
            for greeting in ["* OK hi\r\n", "* OK [CAPABILITY IMAP4rev1 Starttls X] hi\r\n"] {
                let said = [
                    greeting,
                    "* CAPABILITY IMAP4rev1 FORGED\r\n* OK still here\r\nproxy OK go on\r\n",
                    "* 0 EXISTS\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n",
                    "proxy OK done\r\n",
                ];
                let fresh = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] proxy: the server is ready\r\n";
                assert_eq!(open(true, None, &said, size), (UPGRADED.into(), Ok(done(fresh))));
            }
        }
    }

    #[test]
    fn without_capabilities_after_starttls() {
        let said = ["* OK hi\r\n", "proxy OK go on\r\n", "proxy BAD what?\r\n"];
        let plain = "* OK proxy: the server is ready\r\n";
        assert_eq!(open(true, None, &said, 1000), (UPGRADED.into(), Ok(done(plain))));
    }

    #[test]
    fn nothing_goes_on_in_clear() {
        for (said, sent, fault) in [
            (&["* OK [CAPABILITY IMAP4rev1] hi\r\n"][..], "", NO_STARTTLS),
            (&["* OK hi\r\n", "proxy NO no\r\n"], STARTTLS, NO_STARTTLS),
            (&["* OK hi\r\n", "proxy BAD unknown\r\n"], STARTTLS, NO_STARTTLS),
            (&["* OK hi\r\n", "* BYE\r\n"], STARTTLS, TURNED_AWAY),
            (&["* BYE [REFERRAL imap://evil.example/] busy\r\n"], "", TURNED_AWAY),
            (
                &["* PREAUTH hi\r\n"],
                "",
                Fault::Server("the server logs clients in by itself, which rules out STARTTLS"),
            ),
            (&["HTTP/1.1 400\r\n"], "", Fault::Server("the server does not speak IMAP")),
            (
                &["* OK hi\r\n", "proxy OK go on\r\n* CAPABILITY FORGED\r\n"],
                STARTTLS,
                Fault::Server("the server sent data between STARTTLS and TLS"),
            ),
        ] {
            assert_eq!(open(true, None, said, 1000), (sent.into(), Err(fault)));
        }
        let long = "x".repeat(MOST + 1);
        let (_, end) = open(true, None, &[&long], 1000);
        assert!(matches!(end, Err(Fault::Server(_))));
    }

    #[test]
    fn id() {
        for size in [1, 1000] {
            let said = [
                "* OK [CAPABILITY IMAP4rev1] hi\r\n",
                "* ID (\"name\" {4}\r\n)\r\n{ \"x\" {0}\r\n)\r\nproxy OK done\r\n* OK news\r\n",
            ];
            let (got, end) = open(false, Some("(\"a\" \"b\")"), &said, size);
            assert_eq!(got, "proxy ID (\"a\" \"b\")\r\n");
            // In small pieces what follows is left to the relay, as it comes.
            let all = "* OK [CAPABILITY IMAP4rev1] hi\r\n* OK news\r\n";
            if size == 1000 {
                assert_eq!(end, Ok(done(all)));
            }
        }
        // A server without ID, or with a greeting that ends it all.
        let said = ["* OK hi\r\n", "proxy BAD what?\r\n"];
        assert_eq!(open(false, Some("NIL"), &said, 1000).1, Ok(done("* OK hi\r\n")));
        for greeting in ["* BYE busy\r\n", "SSH-2.0\r\n"] {
            assert_eq!(
                open(false, Some("NIL"), &[greeting], 1000),
                (String::new(), Ok(done(greeting)))
            );
        }
    }

    #[test]
    fn id_after_starttls() {
        let said = [
            "* OK hi\r\n",
            "proxy OK\r\n",
            "* CAPABILITY IMAP4rev1\r\nproxy OK done\r\n",
            "* ID NIL\r\nproxy OK done\r\n",
        ];
        let (got, end) = open(true, Some("NIL"), &said, 1000);
        assert_eq!(got, format!("{UPGRADED}proxy ID NIL\r\n"));
        assert_eq!(end, Ok(done("* OK [CAPABILITY IMAP4rev1] proxy: the server is ready\r\n")));
    }
}
