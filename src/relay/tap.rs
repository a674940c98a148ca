//! What the relay shows of each message, to whoever looks.

use std::time::Instant;

/// Who sent something, or whom it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The IMAP client.
    Client,
    /// The IMAP server.
    Server,
    /// This proxy: it consumed the message, or made it.
    Proxy,
}

/// What kind of message it was, as far as the state of the session tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server's first line.
    Greeting,
    /// A command, or what stood where one is due.
    Command {
        /// Whether the session was logged in when it came.
        authenticated: bool,
    },
    /// A client's line within AUTHENTICATE: secret.
    SaslResponse,
    /// A server's `+ ...` within AUTHENTICATE: secret.
    SaslChallenge,
    /// The client's line that ends IDLE, `DONE` as a rule.
    IdleDone,
    /// Any other line of a server: status, data or continuation request.
    Response,
}

/// Sees every message, piece by piece, in both directions.
///
/// For each message: [`line`](Tap::line) with the bytes of its lines (a long line may come in
/// several pieces), [`literal`](Tap::literal) before each literal and
/// [`literal_bytes`](Tap::literal_bytes) with its content as it streams, then
/// [`end`](Tap::end). `from` tells the messages that are under way apart: one of the client, one
/// of the server. An answer of the proxy's own comes whole, between two pieces of anything else.
///
/// Must not block, and must bound what it keeps.
pub trait Tap {
    /// Bytes of a line, its line ending and literal announcement included.
    fn line(&mut self, from: Party, bytes: &[u8]);
    /// A literal of `size` bytes begins; the bytes of `line` so far end with its announcement.
    fn literal(&mut self, from: Party, size: u64);
    /// Content of the literal.
    fn literal_bytes(&mut self, from: Party, bytes: &[u8]);
    /// The message is complete. `to` says who got it.
    fn end(&mut self, from: Party, to: Party, kind: Kind);
    /// A whole message that is one line.
    #[inline]
    fn message(&mut self, from: Party, to: Party, kind: Kind, line: &[u8]) {
        self.line(from, line);
        self.end(from, to, kind);
    }
    /// Whether data for the client is looked at, while no message of the server is under way. Where it is not,
    /// whole messages may be told of by [`unseen`](Tap::unseen).
    fn looks_at_data(&self) -> bool {
        true
    }
    /// So many messages of the server passed to the client that nobody looks at.
    fn unseen(&mut self, _messages: u64) {}
    /// The server accepted the credentials that the last LOGIN or AUTHENTICATE carried.
    fn authenticated(&mut self);
    /// Capabilities that were taken out of a list. Called once per name and session, for the first
    /// 100 names only, each cut to 100 bytes.
    fn stripped(&mut self, name: &str);
    /// When [`show`](Tap::show) is due, while messages are held back to be shown together.
    fn due(&self) -> Option<Instant> {
        None
    }
    /// Shows what is held back.
    fn show(&mut self) {}
}

/// Sees nothing.
impl Tap for () {
    fn looks_at_data(&self) -> bool {
        false
    }
    fn line(&mut self, _: Party, _: &[u8]) {}
    fn literal(&mut self, _: Party, _: u64) {}
    fn literal_bytes(&mut self, _: Party, _: &[u8]) {}
    fn end(&mut self, _: Party, _: Party, _: Kind) {}
    fn authenticated(&mut self) {}
    fn stripped(&mut self, _: &str) {}
}
