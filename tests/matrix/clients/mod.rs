//! The clients of the matrix, and the jobs that each does.

mod curl;
mod fetchmail;
mod mutt;
mod scripts;
mod syncers;

use crate::{desk::Desk, mail::describe};

/// A client: a row of the matrix.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    /// What it does, for the table.
    pub(crate) jobs: &'static str,
    /// Does it all, and checks that it was done. Returns what the client ended up with.
    pub(crate) work: fn(&Desk) -> Vec<String>,
}

/// All of them.
pub(crate) const ALL: [Client; 7] = [
    curl::CURL,
    mutt::MUTT,
    syncers::MBSYNC,
    syncers::OFFLINEIMAP,
    fetchmail::FETCHMAIL,
    scripts::IMAPLIB,
    scripts::IMAPFLOW,
];

/// These messages, each with its flags, as [`Desk::mailbox`] tells them.
fn lines(messages: &[(&str, &str)]) -> Vec<String> {
    let lines = messages.iter().map(|(flags, message)| describe(flags, message.as_bytes()));
    crate::mail::sorted(lines.collect())
}
