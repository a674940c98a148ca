//! The certificates and keys that a config names, each read once: many services share them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::tls::{self, Identity, IdentityError, PemError};

/// What was read so far.
pub(super) struct Files<'a> {
    folder: &'a Path,
    identities: HashMap<(PathBuf, PathBuf), Identity>,
    certificates: HashMap<PathBuf, Vec<CertificateDer<'static>>>,
}

impl<'a> Files<'a> {
    /// Relative paths start from `folder`.
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { folder, identities: HashMap::new(), certificates: HashMap::new() }
    }

    /// Where a path of the config leads.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A certificate chain with its key.
    pub(super) fn identity(
        &mut self,
        chain: PathBuf,
        key: PathBuf,
    ) -> Result<Identity, IdentityError> {
        let paths = (chain, key);
        if let Some(identity) = self.identities.get(&paths) {
            return Ok(identity.clone());
        }
        let identity = Identity::load(&paths.0, &paths.1)?;
        self.identities.insert(paths, identity.clone());
        Ok(identity)
    }

    /// Roots of trust.
    pub(super) fn certificates(
        &mut self,
        path: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, PemError> {
        if let Some(certificates) = self.certificates.get(path) {
            return Ok(certificates.clone());
        }
        let certificates = tls::ca_certificates(path)?;
        self.certificates.insert(path.to_owned(), certificates.clone());
        Ok(certificates)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_file_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path());
        let [chain, key] = ["chain.pem", "key.pem"].map(|name| files.at(name));
        assert!(files.identity(chain.clone(), key.clone()).is_err());
        assert!(files.certificates(&chain).is_err());
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        fs::write(&chain, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let identity = files.identity(chain.clone(), key.clone()).unwrap();
        let certificates = files.certificates(&chain).unwrap();
        fs::remove_file(&chain).unwrap();
        assert_eq!(files.identity(chain.clone(), key.clone()).unwrap(), identity);
        assert_eq!(files.certificates(&chain).unwrap(), certificates);
        assert!(files.identity(key, chain).is_err());
    }
}
