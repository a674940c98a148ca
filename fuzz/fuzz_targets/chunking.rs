//! The same conversation in other pieces: the same output, and the same messages shown.

#![no_main]

use imap_proxy_fuzz::{
    chunks::{self, Turn},
    drive::Step,
    script,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // How to cut comes last, so that it does not move what comes before.
    let (script, sizes) = bytes.split_at(bytes.len() - bytes.len().min(4));
    let (limits, steps) = script::parse(script, script::MOST / 2, &[]);
    let sizes: Vec<usize> = sizes.iter().map(|size| 1 + usize::from(*size).pow(2)).collect();
    chunks::check(&limits, &turns(&steps), &sizes);
});

/// What each party says before the other one speaks.
fn turns(steps: &[Step]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for step in steps {
        let Step::Says(party, bytes) = step else { continue };
        match turns.last_mut() {
            Some((last, said)) if last == party => said.extend(bytes),
            _ => turns.push((*party, bytes.clone())),
        }
    }
    turns
}
