//! What all clients together may do: how many come in, how often they may guess a password, and
//! how often the log says so. One for the daemon; reloads leave its counts as they are.

mod address;
mod admission;
mod logins;
mod notices;
mod recent;

pub use address::Client;
pub use admission::{Admission, Full, Permit, Refused};
pub use logins::Logins;
pub use notices::{Notices, Suppressed};

/// The counts of the daemon.
#[derive(Debug, Default)]
pub struct Gate {
    /// The sessions that are alive.
    pub admission: Admission,
    /// The logins that failed of late.
    pub logins: Logins,
    /// The lines of log that clients caused of late.
    pub notices: Notices,
}
