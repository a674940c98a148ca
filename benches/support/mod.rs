//! What the benches share.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "each bench uses some of it; a bench that panics is a bench that fails"
)]

pub mod session;
pub mod shown;
pub mod transcript;
