//! How far a session's login got.

use std::sync::Arc;

use super::{redact::Learnt, secrets::Secrets};
use crate::relay::Kind;

/// How far the session's login got.
#[derive(Default)]
pub(super) struct Login {
    pub(super) authenticated: bool,
    pub(super) user: Option<Arc<str>>,
    /// Whom the last LOGIN or AUTHENTICATE was for.
    candidate: Option<String>,
    /// The mechanism whose first response is still to come.
    pub(super) awaits: Option<&'static str>,
    pub(super) secrets: Secrets,
    /// The client has sent something, of which nothing is known at level `off`.
    pub(super) begun: bool,
    /// The secrets are of no more use once the server's next message was looked at.
    over: bool,
}

impl Login {
    /// The next message of the server was looked at.
    pub(super) fn heard(&mut self, kind: Kind) {
        if self.over && kind == Kind::Response {
            self.secrets.clear();
            self.over = false;
        }
    }

    /// Takes in what a client's message says.
    pub(super) fn learn(&mut self, learnt: Learnt) {
        if learnt.login {
            self.candidate = None;
            self.awaits = learnt.awaits;
        }
        if learnt.user.is_some() {
            self.candidate = learnt.user;
        }
        for secret in &learnt.secrets {
            self.secrets.add(secret);
        }
    }

    /// The server accepted the credentials.
    pub(super) fn succeeded(&mut self) {
        self.authenticated = true;
        self.over = true;
        self.awaits = None;
        self.user = self.candidate.take().map(Arc::from);
    }
}
