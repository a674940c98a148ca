//! What the relay does for each row of the table of speeds.

use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};

use super::support::{
    session::{Session, reads},
    transcript::{self, Transcript},
};

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    bytes(&mut group, "FETCH of a body of 1 MiB", &transcript::body(1 << 20));
    bytes(&mut group, "FETCH 1:10000 (UID FLAGS)", &transcript::flags(10_000));
    bytes(&mut group, "FETCH 1:1000 (ENVELOPE BODYSTRUCTURE)", &transcript::envelopes(1000));
    bytes(&mut group, "APPEND of 1 MiB (LITERAL+)", &transcript::append(1 << 20));

    group.throughput(Throughput::Elements(1));
    group.bench_function("NOOP", |bencher| {
        let mut session = Session::logged_in(());
        let noop = transcript::noops(1);
        bencher.iter_batched(
            || reads(&noop),
            |mut reads| assert_eq!(session.carry(&mut reads), noop.size()),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("a session: LOGIN, LOGOUT", |bencher| {
        let (session, passed) = (transcript::login_logout(), transcript::login_logout_passed());
        bencher.iter_batched(
            || reads(&session),
            |mut reads| assert_eq!(Session::new(()).carry(&mut reads), passed),
            BatchSize::SmallInput,
        );
    });
}

/// Measures a dialogue after the login, nothing of it shown, in bytes.
pub(crate) fn bytes(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, transcript: &Transcript) {
    group.throughput(Throughput::Bytes(transcript.size() as u64));
    group.bench_function(name, |bencher| {
        let mut session = Session::logged_in(());
        bencher.iter_batched(
            || reads(transcript),
            |mut reads| assert_eq!(session.carry(&mut reads), transcript.size()),
            BatchSize::LargeInput,
        );
    });
}
