//! A private CA and certificates by it, made once per test process.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::proxy::replace;

/// Chain file of the `localhost` certificate.
pub const CHAIN: &str = "localhost.pem";
/// Key file of the `localhost` certificate.
pub const KEY: &str = "localhost-key.pem";
/// Chain file of a later `localhost` certificate by the same CA, with another key.
pub const RENEWED_CHAIN: &str = "renewed.pem";
/// Key file of that one.
pub const RENEWED_KEY: &str = "renewed-key.pem";
/// File of the CA's certificate.
pub const CA: &str = "ca.pem";

/// The certificates of this process.
pub struct Certs {
    /// Where [`CHAIN`], [`KEY`] and [`CA`] lie.
    pub dir: PathBuf,
    /// Who issued them.
    pub ca: Authority,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    misnamed: Arc<ServerConfig>,
}

/// The certificates of this process, made on first use.
pub fn certs() -> &'static Certs {
    static CERTS: OnceLock<Certs> = OnceLock::new();
    CERTS.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
        fs::create_dir_all(&dir).expect("certificate folder");
        Certs::create(dir)
    })
}

impl Certs {
    /// Of a client that trusts the CA, and speaks `imap` by ALPN.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    /// Of a server that shows the `localhost` certificate (also 127.0.0.1 and `::1`).
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// Of a server whose certificate is by the CA, but for `elsewhere.example`.
    pub fn misnamed_server_config(&self) -> Arc<ServerConfig> {
        self.misnamed.clone()
    }

    /// The content of one of the files.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.join(name)).expect("a certificate file")
    }

    /// Copies the files into another folder.
    pub fn copy_to(&self, dir: &Path) {
        for name in [CHAIN, KEY, CA] {
            fs::copy(self.dir.join(name), dir.join(name)).expect("certificate copied");
        }
    }

    fn create(dir: PathBuf) -> Self {
        let ca = Authority::new("imap-proxy test CA");
        let local = ca.server(&["localhost", "127.0.0.1", "::1"]);
        let elsewhere = ca.server(&["elsewhere.example"]);

        fs::write(dir.join(CA), ca.pem()).expect("CA written");
        fs::write(dir.join(CHAIN), &local.chain_pem).expect("chain written");
        fs::write(dir.join(KEY), local.key.serialize_pem()).expect("key written");
        let renewed = ca.server(&["localhost"]);
        fs::write(dir.join(RENEWED_CHAIN), &renewed.chain_pem).expect("chain written");
        fs::write(dir.join(RENEWED_KEY), renewed.key.serialize_pem()).expect("key written");

        Self {
            dir,
            client: ca.client_config(ALL_VERSIONS, None),
            server: local.server_config(None),
            misnamed: elsewhere.server_config(None),
            ca,
        }
    }
}

/// Who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A root of that name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a CA"))
    }

    /// The root's certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server of these names.
    pub fn server(&self, names: &[&str]) -> Leaf {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name.push(DnType::CommonName, "imap-proxy test server");
        self.issue(params)
    }

    /// A certificate for a client of this subject.
    pub fn client(&self, subject: &[(DnType, &str)]) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// A certificate that says this.
    pub fn issue(&self, mut params: CertificateParams) -> Leaf {
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Leaf { chain_pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// Of a client that trusts this root, speaks `imap` by ALPN, and shows that certificate,
    /// whichever the server asks for.
    pub fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shown: Option<&Leaf>,
    ) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("protocol versions")
            .with_root_certificates(self.roots());
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(leaf) => {
                let key = ring::sign::any_supported_type(&leaf.key_der()).expect("a key");
                let shown = CertifiedKey::new(vec![leaf.der.clone()], key);
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
        };
        config.alpn_protocols = vec![b"imap".to_vec()];
        Arc::new(config)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        roots
    }
}

/// A certificate and its key.
pub struct Leaf {
    /// The certificate.
    pub der: CertificateDer<'static>,
    chain_pem: String,
    key: KeyPair,
}

impl Leaf {
    /// Puts it in two files, each at once: `NAME.pem` and `NAME-key.pem`.
    pub fn write(&self, dir: &Path, name: &str) {
        replace(&dir.join(format!("{name}-key.pem")), self.key.serialize_pem());
        replace(&dir.join(format!("{name}.pem")), &self.chain_pem);
    }

    /// Of a server that shows it. It may demand that clients show one by that authority.
    pub fn server_config(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        self.server_config_of(ALL_VERSIONS, clients)
    }

    /// The same, for these versions of TLS.
    pub fn server_config_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Arc<ServerConfig> {
        let verifier = match clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(ca) => {
                WebPkiClientVerifier::builder_with_provider(Arc::new(ca.roots()), provider())
                    .build()
                    .expect("a verifier")
            }
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("protocol versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.der.clone()], self.key_der())
            .expect("an identity");
        config.alpn_protocols = vec![b"imap".to_vec()];
        Arc::new(config)
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
