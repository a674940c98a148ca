//! What a valid configuration is. Nothing here can be wrong: [`super::load`] made sure of it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::tls::{Downstream, Identity, Security};

pub use crate::relay::Limits;

/// A whole config file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// In the order of the file; at least one. Names and bind addresses are unique.
    pub services: Vec<Service>,
    /// The daemon's own log.
    pub log: Log,
    /// Whether the file is followed.
    pub watch: Watch,
    /// Sessions in all services together.
    pub connections: usize,
}

impl Config {
    /// The files of certificates and keys that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.services.iter().flat_map(|service| {
            let bind = service.bind.security.tls().into_iter().flat_map(Downstream::files);
            let connect = service.connect.security.tls();
            let ca = connect.and_then(|tls| tls.ca_path.as_deref());
            let identity = connect.and_then(|tls| tls.identity.as_ref());
            bind.chain(ca).chain(identity.into_iter().flat_map(Identity::files))
        })
    }

    /// What is valid, but may not be meant; a line each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.services.iter().flat_map(|service| {
            let warnings = service.bind.security.tls().map(Downstream::warnings);
            let line = |warning| format!("service {:?}: {warning}", service.name);
            warnings.into_iter().flatten().map(line)
        })
    }
}

/// One `[[services]]` entry: a listener and the server behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Unique; the name in every log line.
    pub name: Arc<str>,
    /// Where clients connect to.
    pub bind: Bind,
    /// The server behind.
    pub connect: Connect,
    /// What is shown of each message.
    pub trace: Trace,
    /// How many sessions.
    pub connections: Connections,
    /// How much of anything.
    pub limits: Limits,
    /// How long for anything.
    pub timeouts: Timeouts,
    /// Capability names, beyond the known ones, that may pass (compared without case).
    pub allow_capabilities: Vec<String>,
}

/// `imap://127.0.0.1:1143 (insecure) -> imaps://example.org:993 (TLS)`
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bind, bind_security) = self.bind.security.names();
        let (connect, connect_security) = self.connect.security.names();
        write!(f, "{bind}://{} ({bind_security}) -> ", self.bind.address)?;
        write!(f, "{connect}://{} ({connect_security})", self.connect.address)
    }
}

/// The listening side.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Host and port to listen on.
    pub address: HostPort,
    /// The load balancers: from there a PROXY header is required, and believed.
    pub proxy_protocol_from: Vec<IpNet>,
    /// The identities to show, where there is TLS.
    pub security: Security<Downstream>,
}

/// The side towards the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// Host and port to connect to.
    pub address: HostPort,
    /// Whether the server is told of the client by a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether the server is told of the client by the command ID.
    pub send_client_id: bool,
    /// How to verify the server, where there is TLS.
    pub security: Security<ConnectTls>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary, and tells whether the client spoke TLS.
    V2,
}

/// How a server's certificate is verified, and which one it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectTls {
    /// The name (or IP address) that the certificate must carry: the `host` of the address.
    pub server_name: ServerName<'static>,
    /// File with more roots of trust, beside the system's.
    pub ca_path: Option<PathBuf>,
    /// What `ca_path` held when it was read, so that a changed file is a changed config.
    pub ca_certificates: Vec<CertificateDer<'static>>,
    /// What a server that asks for a certificate is shown.
    pub identity: Option<Identity>,
}

/// A host (name or IP address, IPv6 without brackets) and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// DNS name or IP address.
    pub host: String,
    /// TCP port; 0 on a listener lets the kernel choose.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter (`info`, `imap_proxy::session=debug`, ...); `RUST_LOG` goes before it.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned() }
    }
}

/// `[watch]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Whether changes of the config file, and of the files it names, take effect by themselves;
    /// else on SIGHUP only.
    pub enabled: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// How much of each message the trace shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceLevel {
    /// Nothing.
    Off,
    /// One short line: direction, tag, command or response, size.
    #[default]
    Summary,
    /// The Debug print of the decoded message.
    Full,
}

/// `[trace]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// How much of each message is shown.
    pub level: TraceLevel,
    /// Bytes of each literal's content that are shown; only the size when 0.
    pub max_body: usize,
    /// Shows passwords and tokens. For a test bench, never for real users.
    pub reveal_secrets: bool,
}

/// What `[limits]` says about sessions that are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Of the service.
    pub in_service: usize,
    /// Of each client in all services together, where it comes in here.
    pub per_client: usize,
}

impl Default for Connections {
    fn default() -> Self {
        // Half of the files that the unit allows, two for each session.
        Self { in_service: 15_000, per_client: 100 }
    }
}

/// `[timeouts]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TLS handshake with the client, and before it for a load balancer's PROXY header.
    pub handshake: Duration,
    /// For name resolution, TCP connect and TLS handshake with the server.
    pub connect: Duration,
    /// For the server's greeting.
    pub greeting: Duration,
    /// From the greeting to the login.
    pub login: Duration,
    /// The longest that a login waits because others of its client failed; zero: none waits.
    pub login_delay: Duration,
    /// Without a byte from either side, after login (RFC 9051 5.4: at least 30 minutes).
    pub idle: Duration,
    /// For a peer to take anything of what waits for it.
    pub write_stall: Duration,
    /// For sessions in the middle of a command to finish it when the proxy stops.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            greeting: Duration::from_secs(30),
            login: Duration::from_secs(180),
            login_delay: Duration::from_secs(15),
            idle: Duration::from_secs(35 * 60),
            write_stall: Duration::from_secs(300),
            shutdown: Duration::from_secs(30),
        }
    }
}
