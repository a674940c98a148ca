//! The package on a real systemd: the daily life, and what may go wrong in it.
//!
//! Each test boots a rig of its own (`systemd/rig.sh`), with an address of its own on loopback, and
//! installs the package there. All of it needs root.

#![allow(unreachable_pub, reason = "the modules are those of a test binary")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

#[path = "systemd/clients.rs"]
mod clients;
mod common;
#[path = "systemd/fail2ban.rs"]
mod fail2ban;
#[path = "systemd/journal.rs"]
mod journal;
#[path = "systemd/keys.rs"]
mod keys;
#[path = "systemd/package.rs"]
mod package;
#[path = "systemd/reload.rs"]
mod reload;
#[path = "systemd/restart.rs"]
mod restart;
#[path = "systemd/rig.rs"]
mod rig;
#[path = "systemd/start.rs"]
mod start;
