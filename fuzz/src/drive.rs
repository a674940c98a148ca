//! One session's relay with both its peers, as the daemon's loop drives it.

use bytes::{Buf, BytesMut};
use imap_proxy::relay::{Fault, Limits, Party, Policy, Relay, Tap};

/// Bytes that the daemon offers the relay at once: what a leg holds at most.
pub const PIECE: usize = 64 * 1024;

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client or the server sends this.
    Says(Party, Vec<u8>),
    /// It takes so many bytes of what waits for it.
    Takes(Party, usize),
}

/// What a session was given, and what it gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What each said, and how much of it the relay took in.
    pub client_said: Vec<u8>,
    pub client_taken: usize,
    pub server_said: Vec<u8>,
    pub server_taken: usize,
    /// What each got.
    pub client_got: Vec<u8>,
    pub server_got: Vec<u8>,
    pub greeted: bool,
    pub fault: Option<Fault>,
    /// The most that the relay ever held on the heap, in bytes, if that was measured.
    pub most_held: isize,
}

/// A relay between two peers.
pub struct Session<T> {
    pub relay: Relay<T>,
    pub record: Record,
    /// Tells how many bytes of memory are in use.
    gauge: fn() -> usize,
    held: isize,
}

impl<T: Tap> Session<T> {
    pub fn new(limits: Limits, tap: T) -> Self {
        Self::measured(limits, tap, || 0)
    }

    /// A session that looks at `gauge` after each call of the relay.
    pub fn measured(limits: Limits, tap: T, gauge: fn() -> usize) -> Self {
        let before = gauge();
        let relay = Relay::new(limits, Policy::new(["X-ALLOWED"]), tap);
        let held = gauge().cast_signed() - before.cast_signed();
        Self { relay, record: Record::default(), gauge, held }
    }

    /// Does all steps, and ends the session.
    pub fn run(mut self, steps: &[Step]) -> Record {
        for step in steps {
            self.step(step);
        }
        self.finish()
    }

    /// Does one step. After a fault nothing happens any more.
    pub fn step(&mut self, step: &Step) {
        match step {
            _ if self.record.fault.is_some() => {}
            Step::Says(Party::Client, bytes) => self.record.client_said.extend(bytes),
            Step::Says(_, bytes) => self.record.server_said.extend(bytes),
            Step::Takes(Party::Client, count) => self.client_takes(*count),
            Step::Takes(_, count) => self.server_takes(*count),
        }
        self.offer();
    }

    /// Offers the relay what it takes.
    fn offer(&mut self) {
        let mut moved = true;
        while moved && self.record.fault.is_none() {
            moved = self.offer_server() | self.offer_client();
        }
    }

    fn offer_server(&mut self) -> bool {
        let from = self.record.server_taken;
        let to = self.record.server_said.len().min(from + PIECE);
        let before = (self.gauge)();
        let mut input = BytesMut::from(&self.record.server_said[from..to]);
        let result = self.relay.take_from_server(&mut input);
        drop(input);
        self.account(before);
        match result {
            Ok(false) => return false,
            Ok(true) => {}
            Err(fault) => self.record.fault = Some(fault),
        }
        self.record.server_taken = to;
        true
    }

    fn offer_client(&mut self) -> bool {
        let from = self.record.client_taken;
        if self.record.fault.is_some() || from == self.record.client_said.len() {
            return false;
        }
        let to = self.record.client_said.len().min(from + PIECE);
        let before = (self.gauge)();
        let mut input = BytesMut::from(&self.record.client_said[from..to]);
        let result = self.relay.take_from_client(&mut input);
        let left = input.len();
        drop(input);
        self.account(before);
        match result {
            Ok(_) => self.record.client_taken = to - left,
            // Nobody knows how far it came.
            Err(fault) => (self.record.client_taken, self.record.fault) = (to, Some(fault)),
        }
        self.record.client_taken > from
    }

    fn account(&mut self, before: usize) {
        self.held += (self.gauge)().cast_signed() - before.cast_signed();
        self.record.most_held = self.record.most_held.max(self.held);
    }

    fn client_takes(&mut self, count: usize) {
        let outbox = self.relay.to_client();
        let count = outbox.len().min(count);
        self.record.client_got.extend_from_slice(&outbox[..count]);
        outbox.advance(count);
    }

    fn server_takes(&mut self, count: usize) {
        let outbox = self.relay.to_server();
        let count = outbox.len().min(count);
        self.record.server_got.extend_from_slice(&outbox[..count]);
        outbox.advance(count);
    }

    /// Both peers take everything, until nothing moves any more.
    pub fn drain(&mut self) {
        loop {
            let taken = (self.record.server_taken, self.record.client_taken);
            self.client_takes(usize::MAX);
            self.server_takes(usize::MAX);
            self.offer();
            if taken == (self.record.server_taken, self.record.client_taken) {
                return;
            }
        }
    }

    /// The end: both peers take everything, and send nothing more.
    pub fn finish(mut self) -> Record {
        self.drain();
        if self.record.fault.is_none() {
            self.relay.client_finished();
            self.relay.server_finished();
        }
        self.client_takes(usize::MAX);
        self.server_takes(usize::MAX);
        self.record.greeted = self.relay.is_greeted();
        self.record
    }
}
