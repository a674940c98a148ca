//! How the server's certificate is verified, and which one it is shown.

use std::{collections::HashMap, sync::Arc};

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
#[derive(Debug)]
pub struct SystemRoots {
    store: Arc<RootCertStore>,
    /// The same with the roots of a service's own: services that add the same ones share a store.
    extended: HashMap<Vec<CertificateDer<'static>>, Arc<RootCertStore>>,
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
        Self::new(RootCertStore::empty(), Vec::new())
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
        Self::new(store, problems)
    }

    fn new(store: RootCertStore, problems: Vec<String>) -> Self {
        Self { store: Arc::new(store), extended: HashMap::new(), problems }
    }

    /// The system's roots and `more`.
    fn extended(
        &mut self,
        more: &[CertificateDer<'static>],
    ) -> Result<Arc<RootCertStore>, rustls::Error> {
        if more.is_empty() {
            return Ok(Arc::clone(&self.store));
        }
        if let Some(store) = self.extended.get(more) {
            return Ok(Arc::clone(store));
        }
        let mut store = RootCertStore::clone(&self.store);
        for certificate in more {
            store.add(certificate.clone())?;
        }
        let store = Arc::new(store);
        self.extended.insert(more.to_vec(), Arc::clone(&store));
        Ok(store)
    }

    /// TLS towards a server: the system's roots and `more`, TLS 1.2 and 1.3, ALPN `imap`
    /// (RFC 7301), resumption. A server that asks for a certificate is shown that of `identity`.
    pub fn connector(
        &mut self,
        more: &[CertificateDer<'static>],
        identity: Option<&Identity>,
    ) -> Result<TlsConnector, RootsError> {
        let roots = self.extended(more)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> CertificateDer<'static> {
        rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.der().clone()
    }

    #[test]
    fn the_same_roots_are_held_once() {
        let mut roots = SystemRoots::none();
        let [one, other] = ["one.example", "other.example"].map(certificate);
        let first = roots.extended(std::slice::from_ref(&one)).unwrap();
        assert_eq!(first.len(), 1);
        assert!(Arc::ptr_eq(&first, &roots.extended(std::slice::from_ref(&one)).unwrap()));
        let both = roots.extended(&[one, other]).unwrap();
        assert_eq!(both.len(), 2);
        assert!(roots.extended(&[]).unwrap().is_empty());
    }
}
