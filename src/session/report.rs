//! The log line about a session's end: whose doing it was, in words for whoever has to act.

use std::net::SocketAddr;

use tokio::time::Instant;

use super::{Setup, arrival::Origin, ending::Ending};
use crate::{gate::Suppressed, trace::SessionId};

/// Tells how a session ended; what a flood of clients could bring about, once a minute for each of them. `origin`: who the client was, unless its balancer (`peer`) failed to
/// say so.
pub(super) fn ended(
    ending: &Ending,
    peer: SocketAddr,
    origin: Option<&Origin>,
    id: &SessionId,
    setup: &Setup,
) {
    let service = &setup.service;
    let client = origin.map_or(peer, |origin| origin.client);
    let subject = origin.and_then(|origin| origin.subject.as_deref());
    let is_check = origin.is_some_and(|origin| origin.is_balancers);
    let suppressed = match ending.flood() {
        Some(kind) => setup.gate.notices.permit(client.ip().into(), kind, Instant::now()),
        None => Some(Suppressed::default()),
    };
    let Some(suppressed) = suppressed else {
        tracing::debug!(
            imap.service = %service, imap.session = %id, imap.client = %client,
            fault = ending.fault(), "session ended: {ending}"
        );
        return;
    };
    match ending.fault() {
        Some("server") => tracing::warn!(
            imap.service = %service, imap.session = %id, imap.client = %client,
            imap.client_subject = subject, imap.server = %setup.upstream.name,
            fault = "server", "session ended: {ending}"
        ),
        // Balancers look in every other second, and many leave by a reset.
        _ if is_check && ending.is_leave() => tracing::debug!(
            imap.service = %service, imap.session = %id, imap.client = %client,
            "health check ended: {ending}"
        ),
        // The address stands in the message for those who read nothing else, as fail2ban.
        Some("client") if origin.is_some() => tracing::info!(
            imap.service = %service, imap.session = %id, imap.client = %client,
            imap.client_subject = subject, fault = "client",
            "session ended: {ending}, client {}{suppressed}", client.ip()
        ),
        fault => tracing::info!(
            imap.service = %service, imap.session = %id, imap.client = %client,
            imap.client_subject = subject, fault, "session ended: {ending}"
        ),
    }
}
