//! A certificate chain with its key, as shown to clients or to a server.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use tokio_rustls::rustls::{
    self,
    crypto::ring,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SigningKey},
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::pem::{self, PemError};

/// A certificate chain and its private key, loaded, and known to belong together.
#[derive(Clone)]
pub struct Identity {
    pub(crate) certificate_chain_path: PathBuf,
    pub(crate) leaf_key_path: PathBuf,
    pub(crate) certified: Arc<CertifiedKey>,
    names: Vec<String>,
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
            Self::LeafKey(_) | Self::UnsupportedKey(_) | Self::Mismatch { .. } => {
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
            names: certified.cert.first().map(dns_names).unwrap_or_default(),
            certified,
        })
    }

    /// The files that it was read from.
    pub fn files(&self) -> [&Path; 2] {
        [&self.certificate_chain_path, &self.leaf_key_path]
    }

    /// The DNS names in its certificate (RFC 5280 4.2.1.6), in lower case; they may begin with `*.`.
    pub fn names(&self) -> &[String] {
        &self.names
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

fn dns_names(certificate: &CertificateDer<'static>) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns_name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns_name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(folder: &tempfile::TempDir, names: &[&str]) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(folder.path().join("c.pem"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("k.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn load(folder: &tempfile::TempDir) -> Identity {
        Identity::load(&folder.path().join("c.pem"), &folder.path().join("k.pem")).unwrap()
    }

    #[test]
    fn equality_follows_the_certificate_and_debug_shows_no_key() {
        let here = tempfile::tempdir().unwrap();
        write(&here, &["localhost"]);
        let first = load(&here);
        assert_eq!(first, load(&here));
        write(&here, &["localhost"]);
        assert_ne!(first, load(&here));
        let path = here.path().display();
        let expected = format!(
            "Identity {{ certificate_chain_path: \"{path}/c.pem\", \
             leaf_key_path: \"{path}/k.pem\", .. }}"
        );
        assert_eq!(format!("{first:?}"), expected);
    }

    #[test]
    fn names_are_those_of_dns_in_the_certificate() {
        let here = tempfile::tempdir().unwrap();
        write(&here, &["Mail.Example.org", "192.0.2.1", "*.example.NET"]);
        assert_eq!(load(&here).names(), ["mail.example.org", "*.example.net"]);
        write(&here, &["::1"]);
        assert!(load(&here).names().is_empty());
    }
}
