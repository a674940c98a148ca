//! The listening side of a scripted server.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

use super::{peer::Peer, proxy::DEADLINE};

/// A listening server on a loopback port.
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    by_starttls: bool,
}

impl Server {
    /// Without TLS.
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        // On Linux this is also the deadline of accept.
        SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).expect("a deadline");
        Self { listener, tls: None, by_starttls: false }
    }

    /// With TLS from the first byte.
    pub fn listen_tls(config: Arc<ServerConfig>) -> Self {
        Self { tls: Some(config), ..Self::listen() }
    }

    /// With TLS after STARTTLS.
    pub fn listen_starttls(config: Arc<ServerConfig>) -> Self {
        Self { by_starttls: true, ..Self::listen_tls(config) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("bound")
    }

    /// The next connection, after its TLS handshake.
    pub fn accept(&self) -> Peer {
        self.try_accept().expect("a TLS handshake")
    }

    /// The next connection, or why its TLS handshake failed.
    pub fn try_accept(&self) -> io::Result<Peer> {
        let (tcp, _) = self.listener.accept().expect("the proxy connects");
        let mut peer = Peer::plain(tcp);
        if self.by_starttls {
            peer.send("* OK please begin TLS\r\n");
            peer.expect("proxy STARTTLS\r\n");
            peer.send("proxy OK begin TLS\r\n");
        }
        match &self.tls {
            None => Ok(peer),
            Some(config) => {
                let connection = ServerConnection::new(config.clone()).expect("a server");
                peer.handshake(connection.into())
            }
        }
    }
}
