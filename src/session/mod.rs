//! One client's life: handshake, connect, carry messages, say goodbye.

mod connect;
mod conversation;
mod ending;
mod leg;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;

pub use connect::Upstream;
pub(crate) use conversation::GOODBYE;

use crate::{
    config::{Timeouts, Trace},
    relay::{Limits, Policy, Relay},
    tls::Security,
    trace::{SessionContext, SessionId, SessionTap, TraceHandle},
};
use conversation::Conversation;
use ending::Ending;
use leg::{Leg, Stream};

/// What a session needs to know of its service.
pub struct Setup {
    /// The name of the service.
    pub service: Arc<str>,
    /// How we show ourselves to clients; what TLS needs is read once per handshake.
    pub clients: Security<ArcSwap<ServerConfig>>,
    /// Where the session goes to.
    pub upstream: Upstream,
    /// What the relay may hold.
    pub limits: Limits,
    /// What passes.
    pub policy: Policy,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What is shown of each message.
    pub trace: Trace,
    /// Where it is shown.
    pub shown_at: TraceHandle,
}

/// Serves one client to its end. After `stop` it ends as soon as no command is under way.
pub async fn run(
    socket: TcpStream,
    client: SocketAddr,
    setup: Arc<Setup>,
    stop: CancellationToken,
) {
    let id = SessionId::next();
    let ending = serve(socket, client, &id, &setup, &stop).await;
    let service = &setup.service;
    match ending.fault() {
        Some("server") => tracing::warn!(
            imap.service = %service, imap.session = %id, imap.client = %client,
            imap.server = %setup.upstream.address, fault = "server", "session ended: {ending}"
        ),
        fault => tracing::info!(
            imap.service = %service, imap.session = %id, imap.client = %client, fault, "session ended: {ending}"
        ),
    }
}

async fn serve(
    socket: TcpStream,
    client: SocketAddr,
    id: &SessionId,
    setup: &Setup,
    stop: &CancellationToken,
) -> Ending {
    let timeouts = &setup.timeouts;
    let shaken = tokio::select! {
        // Without TLS there is no handshake to wait for: the client can be told.
        biased;
        shaken = shake_hands(socket, setup) => shaken,
        () = stop.cancelled() => Err(Ending::Shutdown),
    };
    let client_leg = match shaken {
        Ok(stream) => Leg::new(stream),
        Err(ending) => return ending,
    };
    let server = setup.upstream.address.to_string();
    tracing::debug!(
        imap.service = %setup.service, imap.session = %id, imap.client = %client, imap.server = %server,
        "session started"
    );
    let context =
        SessionContext { service: Arc::clone(&setup.service), session: *id, client, server };
    let tap = SessionTap::new(&setup.shown_at, &setup.trace, context);
    let mut relay = Relay::new(setup.limits.clone(), setup.policy.clone(), tap);
    let connected = tokio::select! {
        connected = setup.upstream.connect(timeouts.connect) => connected.map_err(Ending::from),
        () = stop.cancelled() => Err(Ending::Shutdown),
    };
    let server_leg = match connected {
        Ok(stream) => Leg::new(stream),
        Err(ending) => {
            relay.say_bye(ending.bye().unwrap_or_default());
            let _ = client_leg.close(relay.to_client().split(), timeouts.write_stall).await;
            return ending;
        }
    };
    let mut conversation = Conversation::new(client_leg, server_leg, relay, timeouts);
    let ending = conversation.run(stop).await;
    conversation.close(&ending, stop).await;
    ending
}

async fn shake_hands(socket: TcpStream, setup: &Setup) -> Result<Box<dyn Stream>, Ending> {
    socket.set_nodelay(true).map_err(Ending::ClientLost)?;
    let identity = match &setup.clients {
        Security::Insecure | Security::StartTls(_) => return Ok(Box::new(socket)),
        Security::Tls(identity) => identity.load_full(),
    };
    match timeout(setup.timeouts.handshake, TlsAcceptor::from(identity).accept(socket)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Ending::Handshake(error)),
        Err(_) => Err(Ending::HandshakeTimeout),
    }
}
