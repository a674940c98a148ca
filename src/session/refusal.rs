//! What becomes of clients that may not come in.

use std::{io::Write, net::SocketAddr};

use bytes::BytesMut;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Setup, arrival::Origin, arrive, leg::Leg};
use crate::{
    gate::{Full, Refused},
    tls::Security,
};

/// Tells the client, within the deadline of the handshake, if it is one of those that may be told.
pub(super) async fn refuse(
    socket: TcpStream,
    mut origin: Origin,
    refused: Refused,
    setup: &Setup,
    stop: &CancellationToken,
) {
    if !refused.may_be_told() {
        hang_up(socket, origin.client, &refused, setup);
        return;
    }
    log(origin.client, refused.full, setup);
    let limit = setup.timeouts.handshake;
    let telling = async {
        if let Ok(stream) = arrive(socket, &mut origin, setup).await {
            // The client may be gone: nobody is left to tell.
            let _ = Leg::new(stream).close(BytesMut::from(bye(refused.full)), limit).await;
        }
    };
    tokio::select! {
        _ = timeout(limit, telling) => {}
        () = stop.cancelled() => {}
    }
}

/// Closes the connection without waiting for anything. Where there is no TLS, the client will
/// most likely read why.
pub fn hang_up(socket: TcpStream, client: SocketAddr, refused: &Refused, setup: &Setup) {
    log(client, refused.full, setup);
    let is_plain = !matches!(setup.clients, Security::Tls(_));
    if let (true, Ok(mut socket)) = (is_plain, socket.into_std()) {
        // The buffer of a new socket has room for this; else it is as with TLS.
        let _ = socket.write(bye(refused.full).as_bytes());
    }
}

/// RFC 5530 3: LIMIT is about this client, UNAVAILABLE about all of us.
fn bye(full: Full) -> &'static str {
    match full {
        Full::Proxy | Full::Service => "* BYE [UNAVAILABLE] proxy: too many connections\r\n",
        Full::Client => "* BYE [LIMIT] proxy: too many connections from your address\r\n",
    }
}

fn log(client: SocketAddr, full: Full, setup: &Setup) {
    let reason = full.reason();
    let said = setup.gate.notices.permit(client.ip().into(), reason, Instant::now());
    if let Some(suppressed) = said {
        tracing::info!(
            imap.service = %setup.service, imap.client = %client, fault = "client",
            "connection refused, client {}: {reason}{suppressed}", client.ip()
        );
    }
}
