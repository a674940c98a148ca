//! How fast messages are told apart, by their shape.

use criterion::Criterion;

use super::{steps, support::transcript};

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    for (name, transcript) in [
        ("lines of 40 bytes", transcript::flags(1000)),
        ("lines of 900 bytes", transcript::envelopes(1000)),
        ("a line of 600 kB", transcript::search(100_000)),
        ("literals of 60 bytes", transcript::headers(1000)),
        ("a literal of 16 MiB", transcript::body(16 << 20)),
    ] {
        steps::bytes(&mut group, name, &transcript);
    }
}
