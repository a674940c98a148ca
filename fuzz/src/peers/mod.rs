//! A client and a server that keep to the rules, and check that all others do.

mod client;
mod server;

pub use client::Client;
pub use server::Server;

/// Around the bounds of [`crate::chunks::SMALL`] and of LITERAL-.
const SIZES: &[usize] = &[0, 1, 5, 9, 10, 11, 30, 999, 1000, 1001, 4096, 4097];

/// Content that looks like messages.
fn content(size: usize) -> Vec<u8> {
    b"T0 OK\r\n{5}\r\n+ x\r\n* BYE x\r\nT0 NOOP\r\n\0".iter().copied().cycle().take(size).collect()
}
