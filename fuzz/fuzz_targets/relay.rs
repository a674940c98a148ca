//! Any bytes of both peers in any pieces: what is forwarded is what came, and little is held.

#![no_main]

use imap_proxy_fuzz::{drive::Session, expect, script, seen::Seen};
use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes that one relay may hold on the heap, with what waits in it for either side.
const MOST: isize = 1024 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let (limits, steps) = script::parse(bytes, 16 * script::MOST, &[]);
    let mut seen = Seen::default();
    let record = Session::new(limits.clone(), &mut seen).run(&steps);
    expect::check(&record, &seen);

    let held = Session::measured(limits, (), || MEMORY.current_usage()).run(&steps).most_held;
    assert!(held <= MOST, "{held} bytes held");
});
