//! A message that passed, without its secrets, on its way to the writer.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use smol_str::SmolStr;

use super::{capture::Capture, session_id::SessionId};
use crate::relay::{Kind, Party};

/// Whose messages these are. The same for the whole session.
#[derive(Clone, Debug)]
pub struct SessionContext {
    /// The service's name.
    pub service: Arc<str>,
    /// The session's name.
    pub session: SessionId,
    /// The client's address.
    pub client: SocketAddr,
    /// The subject of its certificate, if it showed one: see [`client_subject`](super::client_subject).
    pub client_subject: Option<Arc<str>>,
    /// The server as the config names it, `host:port`.
    pub server: Arc<str>,
}

/// What the writer needs to show a message, or several in a row.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) time: SystemTime,
    pub(super) context: Arc<SessionContext>,
    pub(super) user: Option<Arc<str>>,
    /// The session's own number of the message, from 1; of several that of the first.
    pub(super) seq: u64,
    /// How many messages in a row are shown as one: more than one only at level `summary`.
    pub(super) count: u64,
    pub(super) from: Party,
    pub(super) to: Party,
    pub(super) kind: Kind,
    /// The true size of the message in bytes, or of all of them.
    pub(super) size: u64,
    /// Bytes that the text may have.
    pub(super) bound: usize,
    pub(super) shown: Shown,
}

/// What may be shown of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) tag: Option<SmolStr>,
    /// Of the command or the response, in upper case.
    pub(super) name: Option<SmolStr>,
    pub(super) content: Content,
}

/// The message itself, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// For the codec; with a remark on what was taken out.
    Whole { bytes: Vec<u8>, remark: Option<String> },
    /// For the eye: the head of a message that is not all there.
    Cut(Vec<u8>),
    /// For the eye: the codec would hide what is to be revealed.
    Revealed(Vec<u8>),
    /// Stands in its place.
    Instead(String),
    /// Nobody asked.
    Nothing,
}

impl Shown {
    /// `text` in place of the message.
    pub(super) fn instead(tag: Option<SmolStr>, name: Option<SmolStr>, text: String) -> Self {
        Self { tag, name, content: Content::Instead(text) }
    }
}

impl Content {
    /// A message without secrets, with at most `max_body` bytes of each literal; nothing of it where
    /// only tag and name are shown.
    pub(super) fn of(capture: &Capture, max_body: Option<usize>) -> Self {
        let Some(max_body) = max_body else { return Self::Nothing };
        let bytes = capture.elided(max_body).into_owned();
        if capture.is_cut() { Self::Cut(bytes) } else { Self::Whole { bytes, remark: None } }
    }
}

impl Seen {
    /// Bytes it holds on the heap, roughly.
    pub(super) fn weight(&self) -> usize {
        let content = match &self.shown.content {
            Content::Whole { bytes, remark } => {
                bytes.capacity() + remark.as_ref().map_or(0, String::len)
            }
            Content::Cut(bytes) | Content::Revealed(bytes) => bytes.capacity(),
            Content::Instead(text) => text.len(),
            Content::Nothing => 0,
        };
        size_of::<Self>() + content
    }
}

/// For tests: what there is to read.
#[cfg(test)]
pub(super) fn text(shown: &Shown) -> String {
    match &shown.content {
        Content::Whole { bytes, remark } => {
            let remark = remark.as_ref().map_or(String::new(), |r| format!(" ({r})"));
            format!("{}{remark}", String::from_utf8_lossy(bytes).trim_end())
        }
        Content::Cut(bytes) => format!("cut {}", String::from_utf8_lossy(bytes)),
        Content::Revealed(bytes) => format!("revealed {}", String::from_utf8_lossy(bytes)),
        Content::Instead(text) => text.clone(),
        Content::Nothing => String::new(),
    }
}

/// For tests: a session as good as any.
#[cfg(test)]
pub(super) fn context() -> SessionContext {
    SessionContext {
        service: "Test".into(),
        session: SessionId::next(),
        client: ([192, 0, 2, 1], 4711).into(),
        client_subject: None,
        server: "imap.example.org:993".into(),
    }
}

/// For tests: a message as good as any.
#[cfg(test)]
pub(super) fn message() -> Seen {
    let context = SessionContext { client_subject: Some("CN=laptop".into()), ..context() };
    Seen {
        time: SystemTime::UNIX_EPOCH,
        context: Arc::new(context),
        user: Some("bob".into()),
        seq: 3,
        count: 1,
        from: Party::Server,
        to: Party::Proxy,
        kind: Kind::Response,
        size: 42,
        bound: 20,
        shown: Shown { tag: None, name: Some("FETCH".into()), content: Content::Nothing },
    }
}
