//! How the server's certificate is verified, and which one it is shown.

use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer,
        sign::SingleCertAndKey,
    },
};

use super::Identity;

/// The system's roots of trust, read once for all services.
#[derive(Clone, Debug)]
pub struct SystemRoots {
    store: Arc<RootCertStore>,
    /// Files that could not be read, one line each. The other roots are used all the same.
    pub problems: Vec<String>,
}

/// Why servers could not be verified.
#[derive(Debug, Error)]
pub enum RootsError {
    /// Neither the system nor the config names a root.
    #[error(
        "the system has no CA certificates; install the package ca-certificates, or set `ca_path`"
    )]
    None,
    /// The TLS library does not take a root, or does not start.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl SystemRoots {
    /// For services without TLS.
    pub fn none() -> Self {
        Self { store: Arc::new(RootCertStore::empty()), problems: Vec::new() }
    }

    /// Reads them from where the system keeps them (or where `SSL_CERT_FILE` says). Blocks.
    pub fn load() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // Some systems carry a root that no one can parse: the others are good.
        let (_, unusable) = store.add_parsable_certificates(found.certs);
        let mut problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        if unusable > 0 {
            problems.push(format!("{unusable} of the system's CA certificates cannot be parsed"));
        }
        Self { store: Arc::new(store), problems }
    }

    /// TLS towards a server: the system's roots and `more`, TLS 1.2 and 1.3, ALPN `imap`
    /// (RFC 7301), resumption. A server that asks for a certificate is shown that of `identity`.
    pub fn connector(
        &self,
        more: &[CertificateDer<'static>],
        identity: Option<&Identity>,
    ) -> Result<TlsConnector, RootsError> {
        let mut roots = Arc::clone(&self.store);
        for certificate in more {
            Arc::make_mut(&mut roots).add(certificate.clone())?;
        }
        if roots.is_empty() {
            return Err(RootsError::None);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let shown = SingleCertAndKey::from(Arc::clone(&identity.certified));
                config.with_client_cert_resolver(Arc::new(shown))
            }
        };
        config.alpn_protocols = vec![b"imap".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
