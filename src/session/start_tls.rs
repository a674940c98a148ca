//! A client on a `StartTls` listener, up to TLS.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use tokio::time::{Instant, timeout_at};

use super::{ending::Ending, leg::Leg};
use crate::relay::{BeforeTls, Fault, Relay, Tap};

/// Answers the client until it has sent STARTTLS, and got its answer. At an error the client is still
/// there to be told.
pub(super) async fn converse<T: Tap>(
    client: &mut Leg,
    relay: &mut Relay<T>,
    until: Instant,
) -> Result<(), Ending> {
    relay.require_tls();
    let steps = poll_fn(|cx| poll(client, relay, cx));
    timeout_at(until, steps).await.unwrap_or(Err(Ending::LoginTimeout))
}

fn poll<T: Tap>(
    client: &mut Leg,
    relay: &mut Relay<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Ending>> {
    client.begin_turn();
    loop {
        let mut progress = false;
        if relay.before_tls() == BeforeTls::Listen {
            progress |= client.fill(cx).map_err(Ending::ClientLost)?;
            progress |= relay.take_from_client(&mut client.inbox)?;
        }
        if relay.before_tls() == BeforeTls::Upgrade && !client.inbox.is_empty() {
            // It may come from somebody between the client and us, to be taken for the client's own
            // after TLS (CVE-2011-0411).
            client.inbox.clear();
            relay.to_client().clear();
            return Poll::Ready(Err(Fault::Client("data came together with STARTTLS").into()));
        }
        progress |= client.drain(cx, relay.to_client()).map_err(Ending::ClientLost)?;
        if client.has_taken(relay.to_client()) {
            match relay.before_tls() {
                BeforeTls::Upgrade => return Poll::Ready(Ok(())),
                BeforeTls::LoggedOut => return Poll::Ready(Err(Ending::LoggedOut)),
                BeforeTls::Listen if client.eof => {
                    return Poll::Ready(Err(Ending::ClientClosed));
                }
                BeforeTls::Listen => {}
            }
        }
        if !progress {
            return Poll::Pending;
        }
    }
}
