//! One client's life: handshake, connect, carry messages, say goodbye.

mod connect;
mod conversation;
mod ending;
mod leg;
mod opening;
mod start_tls;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;

pub use connect::Upstream;
pub(crate) use conversation::GOODBYE;

use crate::{
    config::{Timeouts, Trace},
    relay::{Limits, Policy, Relay, Tap},
    tls::Security,
    trace::{self, SessionContext, SessionId, SessionTap, TraceHandle},
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
    let mut subject = None;
    let ending = serve(socket, client, &mut subject, &id, &setup, &stop).await;
    let (service, subject) = (&setup.service, subject.as_deref());
    match ending.fault() {
        Some("server") => tracing::warn!(
            imap.service = %service, imap.session = %id, imap.client = %client,
            imap.client_subject = subject, imap.server = %setup.upstream.address,
            fault = "server", "session ended: {ending}"
        ),
        fault => tracing::info!(
            imap.service = %service, imap.session = %id, imap.client = %client,
            imap.client_subject = subject, fault, "session ended: {ending}"
        ),
    }
}

/// Sets `subject` to that of the client's certificate as soon as it is known.
async fn serve(
    socket: TcpStream,
    client: SocketAddr,
    subject: &mut Option<Arc<str>>,
    id: &SessionId,
    setup: &Setup,
    stop: &CancellationToken,
) -> Ending {
    let timeouts = &setup.timeouts;
    let shaken = tokio::select! {
        // Without TLS there is no handshake to wait for: the client can be told.
        biased;
        shaken = arrive(socket, setup) => shaken,
        () = stop.cancelled() => Err(Ending::Shutdown),
    };
    let mut client_leg = match shaken {
        Ok((stream, shown)) => {
            *subject = shown;
            Leg::new(stream)
        }
        Err(ending) => return ending,
    };
    let server = setup.upstream.address.to_string();
    tracing::debug!(
        imap.service = %setup.service, imap.session = %id, imap.client = %client,
        imap.client_subject = subject.as_deref(), imap.server = %server, "session started"
    );
    let context = SessionContext {
        service: Arc::clone(&setup.service),
        session: *id,
        client,
        client_subject: subject.clone(),
        server,
    };
    let tap = SessionTap::new(&setup.shown_at, &setup.trace, context);
    let mut relay = Relay::new(setup.limits.clone(), setup.policy.clone(), tap);
    if let Security::StartTls(tls) = &setup.clients {
        if let Err(ending) = start_tls::converse(&mut client_leg, &mut relay, setup, stop).await {
            return turn_away(client_leg, relay, ending, setup).await;
        }
        let shaken = tokio::select! {
            shaken = shake_hands(client_leg.into_stream(), tls, setup) => shaken,
            () = stop.cancelled() => Err(Ending::Shutdown),
        };
        client_leg = match shaken {
            Ok((stream, shown)) => {
                subject.clone_from(&shown);
                relay.tap().client_showed(shown);
                Leg::new(stream)
            }
            Err(ending) => return ending,
        };
        relay.tls_established();
    }
    let connected = tokio::select! {
        connected = connect(setup, &mut relay) => connected,
        ending = client_leg.gone() => Err(ending),
        () = stop.cancelled() => Err(Ending::Shutdown),
    };
    let server_leg = match connected {
        Ok(leg) => leg,
        Err(ending) => return turn_away(client_leg, relay, ending, setup).await,
    };
    let mut conversation = Conversation::new(client_leg, server_leg, relay, timeouts);
    let ending = conversation.run(stop).await;
    conversation.close(&ending, stop).await;
    ending
}

/// A client's stream, and the subject of its certificate, if it had to show one.
type Shaken = (Box<dyn Stream>, Option<Arc<str>>);

/// What comes before the client's first word: TLS, where the listener is for that.
async fn arrive(socket: TcpStream, setup: &Setup) -> Result<Shaken, Ending> {
    socket.set_nodelay(true).map_err(Ending::ClientLost)?;
    match &setup.clients {
        Security::Insecure | Security::StartTls(_) => Ok((Box::new(socket), None)),
        Security::Tls(tls) => shake_hands(socket, tls, setup).await,
    }
}

async fn shake_hands(
    stream: impl Stream + 'static,
    tls: &ArcSwap<ServerConfig>,
    setup: &Setup,
) -> Result<Shaken, Ending> {
    let acceptor = TlsAcceptor::from(tls.load_full());
    match timeout(setup.timeouts.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let subject = shown.map(|certificate| trace::client_subject(certificate).into());
            Ok((Box::new(stream), subject))
        }
        Ok(Err(error)) => Err(Ending::Handshake(error)),
        Err(_) => Err(Ending::HandshakeTimeout),
    }
}

/// The way to the server, up to where its greeting can be read.
async fn connect<T: Tap>(setup: &Setup, relay: &mut Relay<T>) -> Result<Leg, Ending> {
    let stream = setup.upstream.connect(setup.timeouts.connect).await?;
    let opening = opening::open(stream, &setup.upstream, None, relay);
    timeout(setup.timeouts.greeting, opening).await.unwrap_or(Err(Ending::GreetingTimeout))
}

/// Ends a session that has no server yet.
async fn turn_away<T: Tap>(
    client: Leg,
    mut relay: Relay<T>,
    ending: Ending,
    setup: &Setup,
) -> Ending {
    if let Some(reason) = ending.bye() {
        relay.say_bye(reason);
    }
    let _ = client.close(relay.to_client().split(), setup.timeouts.write_stall).await;
    ending
}
