//! A private CA and certificates by it, made once per test process.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

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
        let ca = issuer();
        let local = Leaf::new(&ca, &["localhost", "127.0.0.1", "::1"]);
        let elsewhere = Leaf::new(&ca, &["elsewhere.example"]);

        fs::write(dir.join(CA), ca.pem()).expect("CA written");
        fs::write(dir.join(CHAIN), &local.chain_pem).expect("chain written");
        fs::write(dir.join(KEY), local.key.serialize_pem()).expect("key written");
        let renewed = Leaf::new(&ca, &["localhost"]);
        fs::write(dir.join(RENEWED_CHAIN), &renewed.chain_pem).expect("chain written");
        fs::write(dir.join(RENEWED_KEY), renewed.key.serialize_pem()).expect("key written");

        Self {
            dir,
            client: client_config(ca.der()),
            server: local.server_config(),
            misnamed: elsewhere.server_config(),
        }
    }
}

struct Leaf {
    chain_pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Leaf {
    fn new(ca: &CertifiedIssuer<'static, KeyPair>, names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name.push(DnType::CommonName, "imap-proxy test server");
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, ca).expect("a certificate");
        Self { chain_pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    fn server_config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .expect("an identity");
        config.alpn_protocols = vec![b"imap".to_vec()];
        Arc::new(config)
    }
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "imap-proxy test CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

fn client_config(ca: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"imap".to_vec()];
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
