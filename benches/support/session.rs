//! A relay between a client and a server that follow a transcript.
//!
//! The one place that knows how the daemon's loop drives the relay.

use std::mem;

use bytes::{Buf, BytesMut};
use imap_proxy::relay::{Limits, Party, Policy, Relay, Tap};

use super::transcript::{LOGIN, Transcript};

/// What one read brings: a TLS record.
const READ: usize = 16 * 1024;

/// What came from one side in one read.
#[derive(Clone)]
pub struct Read {
    from: Party,
    bytes: BytesMut,
}

/// A transcript as the reads that bring it.
pub fn reads(transcript: &Transcript) -> Vec<Read> {
    let turns = transcript.turns.iter();
    turns
        .flat_map(|(from, said)| {
            said.chunks(READ).map(|bytes| Read { from: *from, bytes: bytes.into() })
        })
        .collect()
}

/// One session, and what its peers got.
pub struct Session<T> {
    relay: Relay<T>,
    delivered: usize,
}

impl<T: Tap> Session<T> {
    /// A client has connected.
    pub fn new(tap: T) -> Self {
        Self { relay: Relay::new(Limits::default(), Policy::default(), tap), delivered: 0 }
    }

    /// The same, after its login.
    pub fn logged_in(tap: T) -> Self {
        let mut session = Self::new(tap);
        session.carry(&mut reads(&Transcript::from(LOGIN)));
        session
    }

    /// Carries it all. Returns how many bytes the peers got.
    pub fn carry(&mut self, reads: &mut [Read]) -> usize {
        for Read { from, bytes } in reads {
            while !bytes.is_empty() {
                let took = match from {
                    Party::Server => self.relay.take_from_server(bytes),
                    _ => self.relay.take_from_client(bytes),
                };
                assert_eq!(took, Ok(true));
                self.deliver();
            }
        }
        mem::take(&mut self.delivered)
    }

    /// The peers take all that waits for them.
    fn deliver(&mut self) {
        for outbox in [Relay::to_client, Relay::to_server] {
            let outbox = outbox(&mut self.relay);
            self.delivered += outbox.len();
            outbox.advance(outbox.len());
        }
    }
}
