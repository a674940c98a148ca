//! What it takes to show a message: from the session to the last line written.

use criterion::{BatchSize, Criterion, Throughput};
use imap_proxy::config::TraceLevel::{self, Full, Off, Summary};

use super::support::{
    session::{Read, Session, reads},
    shown::Log,
    transcript::{self, Transcript},
};

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trace");
    for (name, transcript) in [
        ("FETCH (UID FLAGS)", transcript::flags(1000)),
        ("FETCH (ENVELOPE BODYSTRUCTURE)", transcript::envelopes(1000)),
        ("NOOP", transcript::noops(500)),
    ] {
        let messages = transcript.messages;
        group.throughput(Throughput::Elements(messages as u64));
        for (level_name, level) in [("off", Off), ("summary", Summary), ("full", Full)] {
            group.bench_function(format!("{level_name}, {name}"), |bencher| {
                bencher.iter_batched(
                    || (Log::start(), reads(&transcript)),
                    |(log, mut reads)| show(log, level, &mut reads, &transcript),
                    BatchSize::PerIteration,
                );
            });
        }
    }
}

/// None may be dropped: the transcripts are shorter than the queue.
fn show(log: Log, level: TraceLevel, reads: &mut [Read], transcript: &Transcript) {
    let mut session = Session::logged_in(log.tap(level));
    assert_eq!(session.carry(reads), transcript.size());
    drop(session);
    log.finish(transcript.lines(level));
}
