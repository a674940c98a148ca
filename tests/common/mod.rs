//! What the integration tests share.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

pub mod bench;
pub mod certs;
pub mod dice;
pub mod dovecot;
pub mod holds;
pub mod live;
pub mod notify;
pub mod peer;
pub mod proxy;
pub mod secrets;
pub mod server;
pub mod transcript;
