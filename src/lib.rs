//! An IMAP proxy that shows every message and loses none.
//!
//! Dependencies between the modules point downwards: [`relay`] knows nothing of sockets, config
//! files or journald; [`supervisor`] knows nothing of IMAP.

pub mod cli;
pub mod config;
pub mod exit;
pub mod gate;
pub mod relay;
pub mod service;
pub mod session;
pub mod supervisor;
pub mod tls;
pub mod trace;
