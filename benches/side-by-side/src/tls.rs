//! TLS of the client's side, and the certificate of all proxies.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
};

use anyhow::Result;
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, UnbufferedClientConnection},
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    unbuffered::{
        AppDataRecord, ConnectionState, EncodeError, EncryptError, InsufficientSizeError,
        UnbufferedStatus,
    },
    version::TLS13,
};
use tempfile::TempDir;

/// The certificate's file.
pub const CHAIN: &str = "localhost.pem";
/// The key's file.
pub const KEY: &str = "localhost-key.pem";
/// Both in one file.
pub const IDENTITY: &str = "identity.pem";

const NAME: &str = "localhost";

/// A folder that is thrown away, and that others may look into: some proxies are other users.
pub fn folder() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    Ok(builder.prefix("side-by-side").permissions(Permissions::from_mode(0o755)).tempdir()?)
}

/// Makes a certificate, puts it and its key into a folder, and returns what a client needs to know.
///
/// Ciphers and key exchange are fixed, so that all proxies do the same work: what OpenSSL's clients
/// prefer.
pub fn identity(dir: &Path) -> Result<ClientConfig> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(dir.join(IDENTITY), format!("{chain}{key}"))?;
    fs::write(dir.join(CHAIN), chain)?;
    fs::write(dir.join(KEY), key)?;

    let provider = CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    };
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A client's connection. It reads and writes in large pieces, for its time is the proxy's, too.
pub struct Tls {
    socket: TcpStream,
    connection: UnbufferedClientConnection,
    /// What came, from `start` to `end`, and room for more.
    incoming: Vec<u8>,
    start: usize,
    end: usize,
    /// Of the handshake.
    outgoing: Vec<u8>,
    /// Room for data.
    sealed: Vec<u8>,
    /// How large `incoming` may become.
    room: usize,
}

/// What there is to do next.
#[derive(PartialEq, Eq)]
enum Next {
    Again,
    Got,
    /// More has to come first. Data may be sent.
    Idle,
    /// More has to come before data can be sent.
    Handshake,
    Closed,
}

impl Tls {
    /// Shakes hands.
    pub fn connect(socket: TcpStream, config: Arc<ClientConfig>, room: usize) -> Result<Self> {
        let connection = UnbufferedClientConnection::new(config, ServerName::try_from(NAME)?)?;
        let mut tls = Self {
            socket,
            connection,
            incoming: vec![0; 4096],
            start: 0,
            end: 0,
            outgoing: Vec::new(),
            sealed: Vec::new(),
            room,
        };
        loop {
            match tls.step(&mut |_| ())? {
                Next::Again => {}
                Next::Handshake => tls.receive()?,
                Next::Idle => return Ok(tls),
                Next::Got | Next::Closed => {
                    return Err(io::Error::from(ErrorKind::InvalidData).into());
                }
            }
        }
    }

    /// Reads some bytes, which are all taken. Returns whether there were any: there are none at the
    /// end of the stream.
    pub fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        loop {
            match self.step(take)? {
                Next::Again => {}
                Next::Got => return Ok(true),
                Next::Idle | Next::Handshake => self.receive()?,
                Next::Closed => return Ok(false),
            }
        }
    }

    /// Writes all of it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(128 * 1024) {
            let incoming = &mut self.incoming[self.start..self.end];
            let status = self.connection.process_tls_records(incoming);
            self.start += status.discard;
            let ConnectionState::WriteTraffic(mut traffic) =
                status.state.map_err(io::Error::other)?
            else {
                return Err(io::Error::other("the connection cannot be written to"));
            };
            let length = loop {
                match traffic.encrypt(part, &mut self.sealed) {
                    Ok(length) => break length,
                    Err(EncryptError::InsufficientSize(InsufficientSizeError {
                        required_size,
                    })) => {
                        self.sealed.resize(required_size, 0);
                    }
                    Err(error) => return Err(io::Error::other(error)),
                }
            };
            self.socket.write_all(&self.sealed[..length])?;
        }
        Ok(())
    }

    fn step(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<Next> {
        let incoming = &mut self.incoming[self.start..self.end];
        let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(incoming);
        let next = match state.map_err(io::Error::other)? {
            ConnectionState::EncodeTlsData(mut data) => {
                let from = self.outgoing.len();
                let mut encoded = data.encode(&mut self.outgoing[from..]);
                if let Err(EncodeError::InsufficientSize(size)) = &encoded {
                    self.outgoing.resize(from + size.required_size, 0);
                    encoded = data.encode(&mut self.outgoing[from..]);
                }
                self.outgoing.truncate(from + encoded.map_err(io::Error::other)?);
                Next::Again
            }
            ConnectionState::TransmitTlsData(data) => {
                self.socket.write_all(&self.outgoing)?;
                self.outgoing.clear();
                data.done();
                Next::Again
            }
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let AppDataRecord { discard: more, payload, .. } =
                        record.map_err(io::Error::other)?;
                    discard += more;
                    take(payload);
                }
                Next::Got
            }
            ConnectionState::WriteTraffic(_) => Next::Idle,
            ConnectionState::BlockedHandshake => Next::Handshake,
            ConnectionState::PeerClosed | ConnectionState::Closed => Next::Closed,
            other => return Err(io::Error::other(format!("unexpected: {other:?}"))),
        };
        self.start += discard;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        Ok(next)
    }

    /// Receives more. The end of the stream must have been announced.
    fn receive(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.incoming.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.incoming.len() && self.end < self.room {
            self.incoming.resize(2 * self.end, 0);
        }
        loop {
            match self.socket.read(&mut self.incoming[self.end..]) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "no close_notify")),
                Ok(length) => {
                    self.end += length;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
