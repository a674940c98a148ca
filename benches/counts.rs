//! Instructions and allocations of the way that messages take, counted by valgrind: they do not
//! depend on how busy the machine is. Each bench does its thing a thousand times. See `counts.sh`.

#![allow(
    missing_docs,
    clippy::needless_pass_by_value,
    reason = "gungraun's macros have no documentation, and pass what is set up by value"
)]

mod support;

use gungraun::{Callgrind, Dhat, EntryPoint, prelude::*};
use imap_proxy::{config::TraceLevel, trace::SessionTap};

use support::{
    session::{Read, Session, reads},
    shown::Log,
    transcript::{self, Transcript},
};

/// A thing that is done a thousand times, and the session that does it.
type Job<T> = (Session<T>, Vec<Read>);

fn unseen(transcript: Transcript) -> Job<()> {
    (Session::logged_in(()), reads(&transcript))
}

// Of 1000 lines, KiB or round trips after the login.
#[library_benchmark(setup = unseen)]
#[bench::flags_line(transcript::flags(1000))]
#[bench::envelope_line(transcript::envelopes(1000))]
#[bench::small_literal(transcript::headers(1000))]
#[bench::fetched_kib(transcript::body(1000 * 1024))]
#[bench::appended_kib(transcript::append(1000 * 1024))]
#[bench::noop(transcript::noops(1000))]
fn relay((mut session, mut reads): Job<()>) -> (usize, Vec<Read>) {
    (session.carry(&mut reads), reads)
}

// Of 1000 sessions that log in and out.
#[library_benchmark]
#[bench::login(vec![reads(&transcript::login_logout()); 1000])]
fn sessions(mut sessions: Vec<Vec<Read>>) -> (usize, Vec<Vec<Read>>) {
    (sessions.iter_mut().map(|reads| Session::new(()).carry(reads)).sum(), sessions)
}

fn shown(level: TraceLevel, transcript: Transcript) -> (Job<SessionTap>, Log) {
    let log = Log::start();
    ((Session::logged_in(log.tap(level)), reads(&transcript)), log)
}

/// The same, with how many lines it makes.
fn written(level: TraceLevel, transcript: Transcript) -> (Job<SessionTap>, Log, usize) {
    let lines = transcript.lines(level);
    let (job, log) = shown(level, transcript);
    (job, log, lines)
}

// Of 1000 messages: relaying them, and what their session does to show them. What the writer does
// is not counted.
#[library_benchmark(setup = shown)]
#[bench::off_flags(TraceLevel::Off, transcript::flags(998))]
#[bench::summary_flags(TraceLevel::Summary, transcript::flags(998))]
#[bench::summary_noop(TraceLevel::Summary, transcript::noops(500))]
#[bench::full_flags(TraceLevel::Full, transcript::flags(998))]
#[bench::full_envelope(TraceLevel::Full, transcript::envelopes(998))]
#[bench::full_noop(TraceLevel::Full, transcript::noops(500))]
fn trace(((mut session, mut reads), log): (Job<SessionTap>, Log)) -> (usize, Vec<Read>, Log) {
    (session.carry(&mut reads), reads, log)
}

library_benchmark_group!(name = messages, benchmarks = [relay, sessions, trace]);

// Of 1000 messages: what the writer does to show them.
#[library_benchmark(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().entry_point(in_thread()))
        .tool(allocations().entry_point(in_thread())),
    setup = written
)]
#[bench::summary_flags(TraceLevel::Summary, transcript::flags(998))]
#[bench::summary_noop(TraceLevel::Summary, transcript::noops(500))]
#[bench::full_flags(TraceLevel::Full, transcript::flags(998))]
#[bench::full_envelope(TraceLevel::Full, transcript::envelopes(998))]
#[bench::full_noop(TraceLevel::Full, transcript::noops(500))]
fn writer(((mut session, mut reads), log, lines): (Job<SessionTap>, Log, usize)) {
    session.carry(&mut reads);
    drop(session);
    log.finish(lines);
}

/// The writer has the only thread beside the main one.
fn in_thread() -> EntryPoint {
    EntryPoint::Custom("*::thread_start*".into())
}

/// With stacks that are deep enough to tell whose an allocation is.
fn allocations() -> Dhat {
    let mut dhat = Dhat::default();
    dhat.args(["--num-callers=100"]);
    dhat
}

library_benchmark_group!(name = writing, benchmarks = [writer]);

main!(
    config = LibraryBenchmarkConfig::default().tool(allocations()),
    library_benchmark_groups = [messages, writing]
);
