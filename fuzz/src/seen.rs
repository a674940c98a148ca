//! Every message that the relay shows, put together again.

use imap_proxy::relay::{Kind, Party, Tap};

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A line, its ending and the literal that it announces included.
    Line(Vec<u8>),
    /// A literal: its announced size, and what came of it.
    Literal(u64, Vec<u8>),
}

/// A message, from its first line to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub from: Party,
    pub to: Party,
    pub kind: Kind,
    pub parts: Vec<Part>,
    /// An answer of the proxy's own that came while the server was in the middle of a message.
    pub waits: bool,
}

/// What a tap is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Message(Message),
    Authenticated,
    Stripped(String),
}

/// A tap that keeps everything.
#[derive(Debug, Default)]
pub struct Seen {
    pub events: Vec<Event>,
    /// What is under way: of the client, of the server, of the proxy.
    open: [Vec<Part>; 3],
}

impl Seen {
    /// The messages that are complete.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.events.iter().filter_map(|event| match event {
            Event::Message(message) => Some(message),
            Event::Authenticated | Event::Stripped(_) => None,
        })
    }

    /// The message of this party that is not complete.
    pub fn open(&self, party: Party) -> &[Part] {
        &self.open[party as usize]
    }
}

impl Tap for &mut Seen {
    fn line(&mut self, from: Party, bytes: &[u8]) {
        // The pieces of a line depend on how it came, and are no property of the message.
        match self.open[from as usize].last_mut() {
            Some(Part::Line(line)) => line.extend(bytes),
            _ => self.open[from as usize].push(Part::Line(bytes.to_vec())),
        }
    }

    fn literal(&mut self, from: Party, size: u64) {
        self.open[from as usize].push(Part::Literal(size, Vec::new()));
    }

    fn literal_bytes(&mut self, from: Party, bytes: &[u8]) {
        match self.open[from as usize].last_mut() {
            Some(Part::Literal(_, content)) => content.extend(bytes),
            _ => panic!("content without a literal"),
        }
    }

    fn end(&mut self, from: Party, to: Party, kind: Kind) {
        let waits = from == Party::Proxy && !self.open(Party::Server).is_empty();
        let parts = std::mem::take(&mut self.open[from as usize]);
        self.events.push(Event::Message(Message { from, to, kind, parts, waits }));
    }

    fn authenticated(&mut self) {
        self.events.push(Event::Authenticated);
    }

    fn stripped(&mut self, name: &str) {
        self.events.push(Event::Stripped(name.to_owned()));
    }
}

/// The bytes of the parts, one after the other.
pub fn bytes(parts: &[Part]) -> Vec<u8> {
    let content = |part: &Part| match part {
        Part::Line(bytes) | Part::Literal(_, bytes) => bytes.clone(),
    };
    parts.iter().flat_map(content).collect()
}
