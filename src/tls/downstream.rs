//! TLS with clients: which certificate they are shown, and which one they have to show.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{
    Identity,
    identities::{self, ByName},
};

/// Who may issue the certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCa {
    /// The file that names them.
    pub path: PathBuf,
    /// What it held when it was read, so that a changed file is a changed config.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// What TLS with the clients of a service needs.
#[derive(Clone)]
pub struct Downstream {
    identities: Vec<Identity>,
    client_ca: Option<ClientCa>,
    server_config: Arc<ServerConfig>,
}

impl Downstream {
    /// Shows the first of the identities (there must be one), or another one to clients that ask
    /// for its name. With `client_ca`, clients have to show a certificate by it.
    pub fn new(
        identities: Vec<Identity>,
        client_ca: Option<ClientCa>,
    ) -> Result<Self, rustls::Error> {
        let server_config = Arc::new(server_config(&identities, client_ca.as_ref())?);
        Ok(Self { identities, client_ca, server_config })
    }

    /// The same for clients that begin TLS by STARTTLS: without the tickets of TLS 1.3.
    ///
    /// These would come while the client sends its first command. imaplib2, which `OfflineIMAP` uses,
    /// reads and writes in two threads, and while one of them takes in a ticket, OpenSSL does not
    /// write in the other, but waits for more from the server.
    #[must_use]
    pub fn for_start_tls(self) -> Self {
        let mut config = ServerConfig::clone(&self.server_config);
        config.send_tls13_tickets = 0;
        Self { server_config: Arc::new(config), ..self }
    }

    /// The files that it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let ca = self.client_ca.iter().map(|ca| ca.path.as_path());
        self.identities.iter().flat_map(Identity::files).chain(ca)
    }

    /// What the administrator may not have meant.
    pub fn warnings(&self) -> Vec<String> {
        identities::warnings(&self.identities)
    }

    /// TLS 1.2 and 1.3, ALPN `imap`, and resumption by tickets, save where clients have to show a
    /// certificate. The same value at each call, so that its tickets live as long as it is in use.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server_config)
    }
}

/// Paths only.
impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files()).finish()
    }
}

/// The same files with the same certificates, in the same order.
impl PartialEq for Downstream {
    fn eq(&self, other: &Self) -> bool {
        self.identities == other.identities && self.client_ca == other.client_ca
    }
}

fn server_config(
    identities: &[Identity],
    client_ca: Option<&ClientCa>,
) -> Result<ServerConfig, rustls::Error> {
    let verifier = match client_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(ca) => client_verifier(ca)?,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(ByName::new(identities)));
    config.alpn_protocols = vec![b"imap".to_vec()];
    if client_ca.is_none() {
        config.ticketer = ring::Ticketer::new()?;
    } else {
        // A resumed session brings the next ticket and shows no certificate: whoever was let in
        // once could come back for ever, long after it has expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn client_verifier(ca: &ClientCa) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in &ca.certificates {
        roots.add(certificate.clone())?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio_rustls::rustls::{
        CertificateError, ClientConfig, ClientConnection, Error, HandshakeKind, ProtocolVersion,
        ServerConnection, SupportedProtocolVersion,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        sign::{CertifiedKey, SingleCertAndKey},
        version,
    };

    use super::*;

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn ca() -> Ca {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn client_ca(ca: &Ca) -> ClientCa {
        ClientCa { path: "ca.pem".into(), certificates: vec![ca.der().clone()] }
    }

    fn identity() -> Identity {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let [chain, key] = ["c.pem", "k.pem"].map(|name| folder.path().join(name));
        fs::write(&chain, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Identity::load(&chain, &key).unwrap()
    }

    /// Shows a certificate by the CA, if there is one.
    fn client(
        identity: &Identity,
        version: &'static SupportedProtocolVersion,
        ca: Option<&Ca>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(identity.certified.cert.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match ca {
            None => config.with_no_client_auth(),
            Some(ca) => {
                let key = KeyPair::generate().unwrap();
                let leaf = CertificateParams::default().signed_by(&key, ca).unwrap();
                let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                let signer = ring::sign::any_supported_type(&der).unwrap();
                // Shown to everybody, whatever CA is asked for.
                let shown = CertifiedKey::new(vec![leaf.der().clone()], signer);
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
        };
        config.alpn_protocols = vec![b"imap".to_vec()];
        config
    }

    /// A handshake in memory, and one byte of data so that tickets arrive.
    fn handshake(
        client: &Arc<ClientConfig>,
        server: &Downstream,
    ) -> Result<ServerConnection, Error> {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name)?;
        let mut server = ServerConnection::new(server.server_config())?;
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

    const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

    #[test]
    fn both_versions_speak_imap_and_resume() {
        let identity = identity();
        let server = Downstream::new(vec![identity.clone()], None).unwrap();
        for (version, expected) in
            VERSIONS.into_iter().zip([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3])
        {
            let client = Arc::new(client(&identity, version, None));
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let server = handshake(&client, &server).unwrap();
                assert_eq!(server.protocol_version(), Some(expected));
                assert_eq!(server.alpn_protocol(), Some(b"imap".as_slice()));
                assert_eq!(server.handshake_kind(), Some(kind));
                assert_eq!(server.peer_certificates(), None);
            }
        }
    }

    #[test]
    fn after_start_tls_no_ticket_follows_the_handshake() {
        let identity = identity();
        let server = Downstream::new(vec![identity.clone()], None).unwrap().for_start_tls();
        for (version, again) in
            VERSIONS.into_iter().zip([HandshakeKind::Resumed, HandshakeKind::Full])
        {
            let client = Arc::new(client(&identity, version, None));
            for kind in [HandshakeKind::Full, again] {
                assert_eq!(handshake(&client, &server).unwrap().handshake_kind(), Some(kind));
            }
        }
    }

    #[test]
    fn another_protocol_is_refused() {
        let identity = identity();
        let server = Downstream::new(vec![identity.clone()], None).unwrap();
        let mut client = client(&identity, &version::TLS13, None);
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let error = handshake(&Arc::new(client), &server).unwrap_err();
        assert_eq!(error, Error::NoApplicationProtocol);
    }

    #[test]
    fn clients_show_a_certificate_by_the_ca_or_stay_out() {
        let (identity, ours) = (identity(), ca());
        let server = Downstream::new(vec![identity.clone()], Some(client_ca(&ours))).unwrap();
        for version in VERSIONS {
            let shake = |ca| handshake(&Arc::new(client(&identity, version, ca)), &server);
            assert!(shake(Some(&ours)).is_ok());
            assert_eq!(shake(None).unwrap_err(), Error::NoCertificatesPresented);
            let error = shake(Some(&ca())).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::InvalidCertificate(
                        CertificateError::UnknownIssuer | CertificateError::BadSignature
                    )
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn clients_show_their_certificate_each_time() {
        let (identity, ours) = (identity(), ca());
        let with =
            |ca: Option<&Ca>| Downstream::new(vec![identity.clone()], ca.map(client_ca)).unwrap();
        let asking = with(Some(&ours));
        for version in VERSIONS {
            let stranger = Arc::new(client(&identity, version, None));
            let known = Arc::new(client(&identity, version, Some(&ours)));
            for _ in 0..2 {
                let server = handshake(&known, &asking).unwrap();
                assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
                assert!(server.peer_certificates().is_some_and(|chain| chain.len() == 1));
            }
            // A ticket from before the reload that asks for certificates is worth nothing.
            assert!(handshake(&stranger, &with(None)).is_ok());
            let error = handshake(&stranger, &asking).unwrap_err();
            assert_eq!(error, Error::NoCertificatesPresented);
        }
    }

    #[test]
    fn equality_follows_identities_their_order_and_the_ca() {
        let (one, two) = (identity(), identity());
        let (ca, other) = (client_ca(&ca()), client_ca(&ca()));
        let both = |a: &Identity, b: &Identity, ca: Option<&ClientCa>| {
            Downstream::new(vec![a.clone(), b.clone()], ca.cloned()).unwrap()
        };
        assert_eq!(both(&one, &two, None), both(&one, &two, None));
        assert_ne!(both(&one, &two, None), both(&two, &one, None));
        assert_eq!(both(&one, &two, Some(&ca)), both(&one, &two, Some(&ca)));
        assert_ne!(both(&one, &two, Some(&ca)), both(&one, &two, None));
        let renewed = ClientCa { path: ca.path.clone(), ..other };
        assert_ne!(both(&one, &two, Some(&ca)), both(&one, &two, Some(&renewed)));
    }
}
