//! Whether a conversation is the same in whatever pieces it comes.

use bytes::BytesMut;
use imap_proxy::relay::{Fault, Limits, Party, Policy, Relay};

use crate::seen::{Event, Part, Seen};

/// Bounds that short conversations reach.
pub const SMALL: Limits = Limits {
    command_line: 100,
    collect_literal: 10,
    literal_before_login: 1000,
    literal: Some(1000),
    unanswered_commands: 4,
    bad_commands: 10,
    login_attempts: 10,
};

/// Who speaks, and what, before the other one does.
pub type Turn = (Party, Vec<u8>);

/// What came of a conversation.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    client_got: Vec<u8>,
    server_got: Vec<u8>,
    /// How much of it after each turn.
    turns: Vec<(usize, usize)>,
    fault: Option<Fault>,
    shown: Vec<Event>,
    open: Vec<Vec<Part>>,
}

/// Runs the conversation as it is and in pieces of these sizes, again and again, and compares.
pub fn check(limits: &Limits, turns: &[Turn], sizes: &[usize]) {
    let whole = run(limits, turns, &[usize::MAX]);
    let pieces = run(limits, turns, sizes);
    let same = |what, whole: &[u8], pieces: &[u8]| {
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert!(whole == pieces, "{what} {}, but in {sizes:?} {}", show(whole), show(pieces));
    };
    same("the client got", &whole.client_got, &pieces.client_got);
    same("the server got", &whole.server_got, &pieces.server_got);
    assert_eq!(whole.turns, pieces.turns, "after the turns, in pieces of {sizes:?}");
    assert_eq!(whole.fault, pieces.fault, "in pieces of {sizes:?}");
    assert_eq!(whole.shown, pieces.shown, "in pieces of {sizes:?}");
    assert_eq!(whole.open, pieces.open, "in pieces of {sizes:?}");
}

/// Each turn is taken in to its end before the client's waiting bytes are offered again: else the
/// order of an answer of the proxy's own and the server's next message would depend on the pieces,
/// as it may.
fn run(limits: &Limits, turns: &[Turn], sizes: &[usize]) -> Outcome {
    let mut seen = Seen::default();
    let mut talk = Talk {
        relay: Relay::new(limits.clone(), Policy::default(), &mut seen),
        waits: BytesMut::new(),
        outcome: Outcome::default(),
    };
    for (party, said) in turns {
        if let Err(fault) = talk.turn(*party, said, sizes) {
            talk.collect();
            talk.outcome.fault = Some(fault);
            break;
        }
        talk.outcome.turns.push((talk.outcome.client_got.len(), talk.outcome.server_got.len()));
    }
    let mut outcome = talk.outcome;
    outcome.open = [Party::Client, Party::Server].map(|party| seen.open(party).to_vec()).into();
    outcome.shown = seen.events;
    outcome
}

struct Talk<'a> {
    relay: Relay<&'a mut Seen>,
    /// What the client said and the relay has not taken.
    waits: BytesMut,
    outcome: Outcome,
}

impl Talk<'_> {
    fn turn(&mut self, party: Party, said: &[u8], sizes: &[usize]) -> Result<(), Fault> {
        let mut rest = said;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, others) = rest.split_at(rest.len().min(*size));
            rest = others;
            if party == Party::Client {
                self.waits.extend_from_slice(piece);
                self.offer()?;
            } else {
                let taken = self.relay.take_from_server(&mut BytesMut::from(piece))?;
                assert!(taken, "both sides took everything");
                self.collect();
            }
        }
        self.collect();
        self.offer()
    }

    /// Offers the relay what the client said, while both sides take what comes of it.
    fn offer(&mut self) -> Result<(), Fault> {
        loop {
            let moved = self.relay.take_from_client(&mut self.waits)?;
            self.collect();
            if !moved {
                return Ok(());
            }
        }
    }

    fn collect(&mut self) {
        self.outcome.client_got.extend(self.relay.to_client().split());
        self.outcome.server_got.extend(self.relay.to_server().split());
    }
}
