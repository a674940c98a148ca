//! How fast messages pass: their framing, what the relay does with them, and what is shown of them.

#![allow(missing_docs, reason = "criterion's macros have no documentation")]

#[path = "../support/mod.rs"]
mod support;

mod framing;
mod steps;
mod trace;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, framing::all, steps::all, trace::all);
criterion_main!(benches);
