//! One client's life: handshake, connect, carry messages, say goodbye.

mod arrival;
mod buffers;
mod client_id;
mod connect;
mod conversation;
mod ending;
mod handshake;
mod leg;
mod logins;
mod opening;
mod proxy_header;
mod refusal;
mod report;
mod start_tls;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::{future::FutureExt, sync::CancellationToken};

pub use connect::Upstream;
pub(crate) use conversation::GOODBYE;
pub use refusal::hang_up;

use crate::{
    config::{Connections, Timeouts, Trace},
    gate::{Gate, Permit, Refused},
    relay::{Limits, Policy, Relay, Tap},
    tls::Security,
    trace::{SessionContext, SessionId, SessionTap, TraceHandle},
};
use arrival::Origin;
use conversation::Conversation;
use ending::Ending;
use handshake::shake_hands;
use leg::{Leg, Stream};
use logins::Logins;

/// What a session needs to know of its service.
pub struct Setup {
    /// The name of the service.
    pub service: Arc<str>,
    /// The load balancers, which tell by the PROXY protocol who the client is.
    pub balancers: Vec<IpNet>,
    /// How we show ourselves to clients; what TLS needs is read once per handshake.
    pub clients: Security<ArcSwap<ServerConfig>>,
    /// Where the session goes to.
    pub upstream: Upstream,
    /// How many sessions there may be.
    pub connections: Connections,
    /// Where they are counted.
    pub gate: Arc<Gate>,
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

/// Serves one client to its end, if it may come in. After `stop` it ends as soon as no command is
/// under way.
pub async fn run(
    mut socket: TcpStream,
    peer: SocketAddr,
    entry: Result<Permit, Refused>,
    setup: Arc<Setup>,
    stop: CancellationToken,
) {
    let id = SessionId::next();
    let arriving = arrival::origin(&mut socket, peer, &setup).with_cancellation_token(&stop);
    let (origin, ending) = match unless_stopped(arriving.await) {
        Ok(mut origin) => {
            // From here on the client's address is the one that counts.
            let limit = setup.connections.per_client;
            match entry.and_then(|permit| permit.identify(origin.client.ip().into(), limit)) {
                Ok(permit) => {
                    let ending = serve(socket, &mut origin, &id, &setup, &stop).await;
                    // When the log tells the end, there is room for another.
                    drop(permit);
                    (Some(origin), ending)
                }
                Err(refused) => {
                    // On the heap, as all that an idle session does not need.
                    return Box::pin(refusal::refuse(socket, origin, refused, &setup, &stop)).await;
                }
            }
        }
        Err(ending) => (None, ending),
    };
    report::ended(&ending, peer, origin.as_ref(), &id, &setup);
}

/// Only the conversation is part of the session's task: it is where a session spends its life, and
/// what comes before and after needs several times its room.
async fn serve(
    socket: TcpStream,
    origin: &mut Origin,
    id: &SessionId,
    setup: &Setup,
    stop: &CancellationToken,
) -> Ending {
    let mut conversation = match Box::pin(introduce(socket, origin, id, setup, stop)).await {
        Ok(conversation) => conversation,
        Err(ending) => return ending,
    };
    let ending = conversation.run(stop).await;
    Box::pin(conversation.close(&ending, stop)).await;
    ending
}

/// Brings client and server together. Where that fails, the client was told. After `stop` only what needs
/// no waiting is done, so that a client without TLS can be told.
async fn introduce<'a>(
    socket: TcpStream,
    origin: &mut Origin,
    id: &'a SessionId,
    setup: &'a Setup,
    stop: &CancellationToken,
) -> Result<Conversation<'a, SessionTap>, Ending> {
    let arriving = arrive(socket, origin, setup).with_cancellation_token(stop);
    let mut client_leg = Leg::new(unless_stopped(arriving.await)?);
    let client = origin.client;
    let server = Arc::clone(&setup.upstream.name);
    tracing::debug!(
        imap.service = %setup.service, imap.session = %id, imap.client = %client,
        imap.client_subject = origin.subject.as_deref(), imap.server = %server, "session started"
    );
    let context = SessionContext {
        service: Arc::clone(&setup.service),
        session: *id,
        client,
        client_subject: origin.subject.clone(),
        server,
    };
    let tap = SessionTap::new(&setup.shown_at, &setup.trace, context);
    // On the heap, for it is large, and handed on several times.
    let mut relay = Box::new(Relay::new(setup.limits.clone(), setup.policy.clone(), tap));
    let mut logins = Logins::new(setup, id, client);
    if let Security::StartTls(tls) = &setup.clients {
        // The greeting that counts is the one before TLS.
        let until = logins.deadline();
        let conversing = start_tls::converse(&mut client_leg, &mut relay, until);
        let conversing = conversing.with_cancellation_token(stop);
        if let Err(ending) = unless_stopped(conversing.await) {
            return Err(Box::pin(turn_away(client_leg, relay, ending, setup)).await);
        }
        let shaking = Box::pin(shake_hands(client_leg.into_stream(), tls, origin, setup));
        client_leg = Leg::new(unless_stopped(shaking.with_cancellation_token(stop).await)?);
        relay.tap().client_showed(origin.subject.clone());
        relay.tls_established();
    }
    let connecting = async {
        tokio::select! {
            connected = connect(setup, origin, id, &mut relay) => connected,
            ending = client_leg.gone() => Err(ending),
        }
    };
    match unless_stopped(connecting.with_cancellation_token(stop).await) {
        Ok(server_leg) => {
            Ok(Conversation::new(client_leg, server_leg, relay, &setup.timeouts, logins))
        }
        Err(ending) => Err(Box::pin(turn_away(client_leg, relay, ending, setup)).await),
    }
}

/// What came of something that the proxy's stop may have cut off.
fn unless_stopped<T>(done: Option<Result<T, Ending>>) -> Result<T, Ending> {
    done.unwrap_or(Err(Ending::Shutdown))
}

/// What comes before the client's first word: TLS, where the listener is for that.
async fn arrive(
    socket: TcpStream,
    origin: &mut Origin,
    setup: &Setup,
) -> Result<Box<dyn Stream>, Ending> {
    socket.set_nodelay(true).map_err(Ending::ClientLost)?;
    match &setup.clients {
        Security::Insecure | Security::StartTls(_) => Ok(Box::new(socket)),
        // On the heap, as all that has to do with TLS: it would make large futures of those around it.
        Security::Tls(tls) => Box::pin(shake_hands(socket, tls, origin, setup)).await,
    }
}

/// The way to the server, up to where its greeting can be read.
async fn connect<T: Tap>(
    setup: &Setup,
    origin: &Origin,
    session: &SessionId,
    relay: &mut Relay<T>,
) -> Result<Leg, Ending> {
    let upstream = &setup.upstream;
    let stream = upstream.connect(origin, setup.timeouts.connect).await?;
    let id = upstream.send_client_id.then(|| client_id::arguments(origin, session).into_bytes());
    let Some(opening) = opening::due(upstream, id) else { return Ok(Leg::new(stream)) };
    // On the heap, as most sessions have no need of it.
    let settling = Box::pin(opening::settle(opening, stream, upstream, relay));
    timeout(setup.timeouts.greeting, settling).await.unwrap_or(Err(Ending::GreetingTimeout))
}

/// Ends a session that has no server yet.
async fn turn_away<T: Tap>(
    client: Leg,
    mut relay: Box<Relay<T>>,
    ending: Ending,
    setup: &Setup,
) -> Ending {
    if let Some(reason) = ending.bye() {
        relay.say_bye(reason);
    }
    let _ = client.close(relay.to_client().split(), setup.timeouts.write_stall).await;
    ending
}
