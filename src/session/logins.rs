//! The login attempts of one session: until when they take, how long they wait, how they end.

use std::{net::SocketAddr, time::Duration};

use tokio::time::Instant;

use super::Setup;
use crate::{
    relay::{Relay, Tap},
    trace::SessionId,
};

/// What is known of a session's logins.
pub(super) struct Logins<'a> {
    setup: &'a Setup,
    session: &'a SessionId,
    client: SocketAddr,
    /// When the client was asked to log in.
    greeted: Option<Instant>,
    /// Until when the login waits that was sent last.
    held_until: Option<Instant>,
    /// How long logins waited in all, which is not the client's fault.
    held: Duration,
    failed: usize,
}

impl<'a> Logins<'a> {
    pub(super) fn new(setup: &'a Setup, session: &'a SessionId, client: SocketAddr) -> Self {
        Self {
            setup,
            session,
            client,
            greeted: None,
            held_until: None,
            held: Duration::ZERO,
            failed: 0,
        }
    }

    /// When a client that was greeted has to be logged in.
    pub(super) fn deadline(&mut self) -> Instant {
        let greeted = *self.greeted.get_or_insert_with(Instant::now);
        greeted + self.setup.timeouts.login + self.held
    }

    /// When the login that waits may pass.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Lets a login pass that waited long enough. Returns whether there was anything to do.
    pub(super) fn proceed<T: Tap>(&mut self, relay: &mut Relay<T>) -> bool {
        if !relay.login_waits() {
            return false;
        }
        let now = Instant::now();
        let is_new = self.held_until.is_none();
        let until = *self.held_until.get_or_insert_with(|| {
            let longest = self.setup.timeouts.login_delay;
            let delay = if relay.is_authenticated() {
                Duration::ZERO
            } else {
                self.setup.gate.logins.delay(self.client.ip().into(), longest, now)
            };
            self.held += delay;
            now + delay
        });
        if until > now {
            return is_new;
        }
        self.held_until = None;
        relay.release_login();
        true
    }

    /// Notes and tells what failed since the last call.
    pub(super) fn note_failed(&mut self, failed: usize) {
        while self.failed < failed {
            self.failed += 1;
            let (client, attempt) = (self.client.ip(), self.failed);
            self.setup.gate.logins.failed(client.into(), Instant::now());
            // The address stands in the message for those who read nothing else, as fail2ban.
            tracing::info!(
                imap.service = %self.setup.service, imap.session = %self.session,
                imap.client = %self.client, imap.server = %self.setup.upstream.name,
                fault = "client", "login failed, client {client}, attempt {attempt}"
            );
        }
    }
}
