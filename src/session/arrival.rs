//! Who a client is: what the socket says, or a trusted load balancer by the PROXY protocol.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use thiserror::Error;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_rustls::rustls::{ProtocolVersion, ServerConnection};

use super::{
    Setup,
    ending::Ending,
    proxy_header::{self, Wrong, canonical},
};
use crate::trace;

/// Where a client's connection came from, as the next server may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The client's own address.
    pub(super) client: SocketAddr,
    /// The address that it connected to.
    pub(super) connected: SocketAddr,
    /// The name of the version of TLS that it speaks; `None` without TLS.
    pub(super) tls: Option<String>,
    /// The subject of its certificate, where it had to show one.
    pub(super) subject: Option<Arc<str>>,
    /// Whether it is a load balancer's own connection, such as a health check.
    pub(super) is_balancers: bool,
}

impl Origin {
    /// The TLS of the client ends here.
    pub(super) fn shook_hands(&mut self, tls: &ServerConnection) {
        let version = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        };
        self.tls = Some(version.to_owned());
        let shown = tls.peer_certificates().and_then(<[_]>::first);
        self.subject = shown.map(|certificate| trace::client_subject(certificate).into());
    }
}

/// What a load balancer did wrong. For whoever runs it.
#[derive(Debug, Error)]
#[error(
    "the load balancer {balancer} {what}; it needs send-proxy, or has to leave proxy_protocol_from"
)]
pub(super) struct Unannounced {
    balancer: IpAddr,
    what: What,
}

#[derive(Debug, Error)]
enum What {
    #[error("{0}")]
    Wrong(#[from] Wrong),
    #[error("sent half a PROXY header only")]
    Cut,
    #[error("sent no whole PROXY header in time")]
    Timeout,
    #[error("broke the connection before its PROXY header was whole: {0}")]
    Lost(#[from] io::Error),
}

/// Says who the client is. From a load balancer it reads the PROXY header first, and not a byte
/// more.
pub(super) async fn origin(
    socket: &mut TcpStream,
    peer: SocketAddr,
    setup: &Setup,
) -> Result<Origin, Ending> {
    let connected = canonical(socket.local_addr().map_err(Ending::ClientLost)?);
    let direct = Origin { client: peer, connected, tls: None, subject: None, is_balancers: false };
    let balancer = peer.ip();
    if !setup.balancers.iter().any(|trusted| trusted.contains(&balancer)) {
        return Ok(direct);
    }
    let announced = Box::pin(timeout(setup.timeouts.handshake, announcement(socket))).await;
    match announced.unwrap_or(Err(What::Timeout)) {
        // In version 1, HAProxy announces its checks like this.
        Ok(Announcement::Client(origin)) => {
            Ok(Origin { is_balancers: origin.client == peer, ..origin })
        }
        Ok(Announcement::Balancer) => Ok(Origin { is_balancers: true, ..direct }),
        Ok(Announcement::Nothing) => Err(Ending::ClientClosed),
        Err(what) => Err(Unannounced { balancer, what }.into()),
    }
}

/// Whose connection a load balancer says it is.
enum Announcement {
    Client(Origin),
    Balancer,
    /// It closed the connection without a byte, as some check whether anybody listens.
    Nothing,
}

async fn announcement(socket: &mut TcpStream) -> Result<Announcement, What> {
    let mut head = Vec::new();
    loop {
        let missing = match proxy_header::missing(&head)? {
            0 => break,
            missing => missing as u64,
        };
        if (&mut *socket).take(missing).read_buf(&mut head).await? == 0 {
            return if head.is_empty() { Ok(Announcement::Nothing) } else { Err(What::Cut) };
        }
    }
    let origin = proxy_header::parse(&head)?;
    Ok(origin.map_or(Announcement::Balancer, Announcement::Client))
}
