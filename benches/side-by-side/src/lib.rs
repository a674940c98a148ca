//! What measures imap-proxy: a server, clients, and other proxies to compare it with. See
//! `benches/README.md`.

use clap::ValueEnum;

pub mod client;
pub mod drive;
pub mod idle;
pub mod mail;
pub mod proxies;
pub mod rows;
pub mod stub;
pub mod table;
pub mod tls;
pub mod usage;

/// Of the client's side. The server's is without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Encryption {
    /// Without TLS
    Plain,
    /// TLS from the client to the proxy
    Tls,
}
