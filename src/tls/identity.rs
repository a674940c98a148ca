//! A certificate chain with its key, as shown to clients.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
};

use super::pem::{self, PemError};

/// A certificate chain and its private key, loaded, and known to belong together.
#[derive(Clone)]
pub struct Identity {
    pub(crate) certificate_chain_path: PathBuf,
    pub(crate) leaf_key_path: PathBuf,
    pub(crate) certified: Arc<CertifiedKey>,
    server_config: Arc<ServerConfig>,
}

/// Why an identity cannot be used: what is wrong with which file, and what would be right.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file of the chain.
    #[error(transparent)]
    CertificateChain(PemError),
    /// The file of the key.
    #[error(transparent)]
    LeafKey(PemError),
    /// A key that cannot sign.
    #[error(
        "the key in `{}` cannot be used; it must be RSA (2048 to 8192 bits), ECDSA (P-256 or P-384) or Ed25519",
        .0.display()
    )]
    UnsupportedKey(PathBuf),
    /// The key is for another certificate.
    #[error(
        "the key in `{}` does not match the first certificate in `{}`; use the key that it was made for",
        key.display(), chain.display()
    )]
    Mismatch {
        /// File of the key.
        key: PathBuf,
        /// File of the chain.
        chain: PathBuf,
    },
    /// The key is for a certificate further down (RFC 8446 4.4.2: the sender's comes first).
    #[error("`{}` does not start with the certificate of the key; put that one first, its issuers after it", .0.display())]
    LeafNotFirst(PathBuf),
    /// The TLS library refused to start.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// One of the two files of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityFile {
    /// `certificate_chain_path`
    CertificateChain,
    /// `leaf_key_path`
    LeafKey,
}

impl IdentityError {
    /// Which file to mend.
    pub fn at_fault(&self) -> IdentityFile {
        match self {
            Self::CertificateChain(_) | Self::LeafNotFirst(_) => IdentityFile::CertificateChain,
            Self::LeafKey(_) | Self::UnsupportedKey(_) | Self::Mismatch { .. } | Self::Tls(_) => {
                IdentityFile::LeafKey
            }
        }
    }
}

impl Identity {
    /// Reads both files (PEM; the key as PKCS#8, SEC1 or PKCS#1) and checks that they match.
    /// Dates are not checked: an expired certificate is for the client to judge.
    pub fn load(certificate_chain: &Path, leaf_key: &Path) -> Result<Self, IdentityError> {
        let chain =
            pem::certificates(certificate_chain).map_err(IdentityError::CertificateChain)?;
        let key = pem::private_key(leaf_key).map_err(IdentityError::LeafKey)?;
        let key = ring::sign::any_supported_type(&key)
            .map_err(|_| IdentityError::UnsupportedKey(leaf_key.into()))?;
        let certified = Arc::new(CertifiedKey::new(chain, key));
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(if any_matches(&certified.cert, &certified.key) {
                    IdentityError::LeafNotFirst(certificate_chain.into())
                } else {
                    IdentityError::Mismatch {
                        key: leaf_key.into(),
                        chain: certificate_chain.into(),
                    }
                });
            }
            Err(_) => {
                let error = PemError::BadCertificate(certificate_chain.into());
                return Err(IdentityError::CertificateChain(error));
            }
        }
        Ok(Self {
            certificate_chain_path: certificate_chain.into(),
            leaf_key_path: leaf_key.into(),
            server_config: server_config(&certified).map_err(IdentityError::Tls)?,
            certified,
        })
    }

    /// The files that it was read from.
    pub fn files(&self) -> [&Path; 2] {
        [&self.certificate_chain_path, &self.leaf_key_path]
    }

    /// TLS 1.2 and 1.3 with this certificate, ALPN `imap`, and resumption by tickets. The same
    /// value at each call, so that its tickets live as long as this identity is in use.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server_config)
    }
}

/// Paths only.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate_chain_path", &self.certificate_chain_path)
            .field("leaf_key_path", &self.leaf_key_path)
            .finish_non_exhaustive()
    }
}

/// The same files with the same certificates; these tell the key, as they carry its public half.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.certificate_chain_path == other.certificate_chain_path
            && self.leaf_key_path == other.leaf_key_path
            && self.certified.cert == other.certified.cert
    }
}

fn any_matches(chain: &[CertificateDer<'static>], key: &Arc<dyn SigningKey>) -> bool {
    chain.iter().any(|certificate| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(key)).keys_match().is_ok()
    })
}

fn server_config(certified: &Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certified))));
    config.alpn_protocols = vec![b"imap".to_vec()];
    config.ticketer = ring::Ticketer::new()?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use tokio_rustls::rustls::{
        ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore,
        ServerConnection, SupportedProtocolVersion, version,
    };

    use super::*;

    /// A folder with `c.pem` and `k.pem` for `localhost`.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("c.pem"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("k.pem"), made.signing_key.serialize_pem()).unwrap();
        folder
    }

    fn load(folder: &tempfile::TempDir) -> Identity {
        Identity::load(&folder.path().join("c.pem"), &folder.path().join("k.pem")).unwrap()
    }

    fn client(
        identity: &Identity,
        version: &'static SupportedProtocolVersion,
        alpn: &str,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(identity.certified.cert.iter().cloned());
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.into()];
        Arc::new(config)
    }

    /// A handshake in memory, and one byte of data so that tickets arrive.
    fn handshake(
        client: &Arc<ClientConfig>,
        identity: &Identity,
    ) -> Result<ServerConnection, rustls::Error> {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name)?;
        let mut server = ServerConnection::new(identity.server_config())?;
        server.writer().write_all(b"*").unwrap();
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(server)
    }

    #[test]
    fn both_versions_speak_imap_and_resume() {
        let identity = load(&folder());
        for (version, expected) in [
            (&version::TLS12, ProtocolVersion::TLSv1_2),
            (&version::TLS13, ProtocolVersion::TLSv1_3),
        ] {
            let client = client(&identity, version, "imap");
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let server = handshake(&client, &identity).unwrap();
                assert_eq!(server.protocol_version(), Some(expected));
                assert_eq!(server.alpn_protocol(), Some(b"imap".as_slice()));
                assert_eq!(server.handshake_kind(), Some(kind));
            }
        }
    }

    #[test]
    fn another_protocol_is_refused() {
        let identity = load(&folder());
        let client = client(&identity, &version::TLS13, "http/1.1");
        let error = handshake(&client, &identity).unwrap_err();
        assert_eq!(error, rustls::Error::NoApplicationProtocol);
    }

    #[test]
    fn equality_follows_the_certificate_and_debug_shows_no_key() {
        let here = folder();
        let first = load(&here);
        assert_eq!(first, load(&here));
        let renewed = folder();
        for name in ["c.pem", "k.pem"] {
            fs::copy(renewed.path().join(name), here.path().join(name)).unwrap();
        }
        assert_ne!(first, load(&here));
        let path = here.path().display();
        let expected = format!(
            "Identity {{ certificate_chain_path: \"{path}/c.pem\", \
             leaf_key_path: \"{path}/k.pem\", .. }}"
        );
        assert_eq!(format!("{first:?}"), expected);
    }
}
