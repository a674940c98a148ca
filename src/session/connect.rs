//! The way to the server: name, TCP, TLS.

use std::{io, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, CertificateError, pki_types::ServerName},
};

use super::{arrival::Origin, leg::Stream, proxy_header};
use crate::{
    config::{HostPort, ProxyProtocol},
    tls::Security,
};

/// A server, and how to get to it.
pub struct Upstream {
    /// Where it is.
    pub address: HostPort,
    /// The same for the log and the traces: `host:port`.
    pub name: Arc<str>,
    /// Whether it is told of the client before anything else.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether it is told of the client by the command ID.
    pub send_client_id: bool,
    /// How to verify it, and the name that its certificate must carry, where there is TLS.
    pub security: Security<(TlsConnector, ServerName<'static>)>,
}

/// Why there is no connection to the server.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("the name of the server cannot be resolved: {0}")]
    Resolve(io::Error),
    #[error("the server cannot be reached: {0}")]
    Connect(io::Error),
    #[error("TLS with the server failed: {0}")]
    Tls(io::Error),
    #[error("the connection to the server broke: {0}")]
    Lost(io::Error),
    #[error("the server did not answer in time")]
    Timeout,
}

impl ConnectError {
    /// A connection that broke after it was made. In TLS 1.3 a server says only after the handshake
    /// what it thinks of our certificate.
    pub(super) fn broken(error: io::Error) -> Self {
        if is_alert(&error) { Self::Tls(error) } else { Self::Lost(error) }
    }

    /// What the client is told: no addresses, no internals.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "the server's name cannot be resolved",
            Self::Connect(_) | Self::Lost(_) => "the server cannot be reached",
            Self::Tls(error) if is_untrusted(error) => "the server's certificate is not trusted",
            Self::Tls(_) => "no secure connection to the server",
            Self::Timeout => "the server did not answer in time",
        }
    }
}

impl Upstream {
    /// Connects within `limit`, which counts for everything together.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        limit: Duration,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        timeout(limit, self.connect_unbounded(origin)).await.unwrap_or(Err(ConnectError::Timeout))
    }

    async fn connect_unbounded(&self, origin: &Origin) -> Result<Box<dyn Stream>, ConnectError> {
        let mut socket = self.connect_tcp().await?;
        socket.set_nodelay(true).map_err(ConnectError::Connect)?;
        if let Some(version) = self.proxy_protocol {
            let header = proxy_header::build(version, origin);
            socket.write_all(&header).await.map_err(ConnectError::Connect)?;
        }
        match &self.security {
            Security::Insecure | Security::StartTls(_) => Ok(Box::new(socket)),
            Security::Tls(_) => Box::pin(self.handshake(socket)).await,
        }
    }

    /// TLS with the server, where it is configured.
    pub(super) async fn handshake(
        &self,
        stream: impl Stream + 'static,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let Some((connector, name)) = self.security.tls() else { return Ok(Box::new(stream)) };
        let stream = connector.connect(name.clone(), stream).await.map_err(ConnectError::Tls)?;
        Ok(Box::new(stream))
    }

    /// The first of the server's addresses that answers.
    async fn connect_tcp(&self) -> Result<TcpStream, ConnectError> {
        let HostPort { host, port } = &self.address;
        let addresses = lookup_host((host.as_str(), *port)).await.map_err(ConnectError::Resolve)?;
        let mut last = ConnectError::Resolve(io::Error::other("it has no address"));
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = ConnectError::Connect(error),
            }
        }
        Err(last)
    }
}

/// Whether it is the server's own word on why there is no TLS.
pub(super) fn is_alert(error: &io::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::AlertReceived(_)))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|cause| cause.downcast_ref())
}

fn is_untrusted(error: &io::Error) -> bool {
    matches!(
        tls_error(error),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
                | CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. }
                | CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::BadSignature
                | CertificateError::Revoked
                | CertificateError::Other(_)
        ))
    )
}
