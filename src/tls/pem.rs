//! PEM files. The errors name the file and never show what is in it: it may be a key.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls_pemfile::Item;
use thiserror::Error;
use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// Why a PEM file does not give what it should.
#[derive(Debug, Error)]
pub enum PemError {
    /// The file system said no.
    #[error("cannot read `{}`: {source}; it must exist and be readable by the proxy", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A section without its end, or no base64 within.
    #[error("`{}` is damaged PEM; copy the file again, whole and unchanged", .0.display())]
    Damaged(PathBuf),
    /// A file that is empty, or no PEM, or holds other things.
    #[error("`{}` holds no certificate; a section `-----BEGIN CERTIFICATE-----` is needed", .0.display())]
    NoCertificate(PathBuf),
    /// As above, for a key.
    #[error("`{}` holds no private key; a section `-----BEGIN PRIVATE KEY-----` is needed", .0.display())]
    NoKey(PathBuf),
    /// A key behind a passphrase, and nobody there to type it.
    #[error("the key in `{}` is encrypted; decrypt it with `openssl pkey -in OLD -out NEW`", .0.display())]
    EncryptedKey(PathBuf),
    /// PEM on the outside only.
    #[error("`{}` holds a section that is no X.509 certificate; make the file again", .0.display())]
    BadCertificate(PathBuf),
}

/// The certificates of a PEM file, in its order: at least one. Other sections are passed over.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let items = items(&read(path)?).ok_or_else(|| PemError::Damaged(path.into()))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            Item::X509Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(PemError::NoCertificate(path.into()));
    }
    Ok(certificates)
}

/// The first private key of a PEM file: PKCS#8, SEC1 or PKCS#1.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let pem = read(path)?;
    let items = items(&pem);
    let damaged = items.is_none();
    let key = items.into_iter().flatten().find_map(|item| match item {
        Item::Pkcs8Key(key) => Some(key.into()),
        Item::Sec1Key(key) => Some(key.into()),
        Item::Pkcs1Key(key) => Some(key.into()),
        _ => None,
    });
    key.ok_or_else(|| {
        // Both `BEGIN ENCRYPTED PRIVATE KEY` and OpenSSL's older `Proc-Type: 4,ENCRYPTED`.
        if pem.windows(9).any(|window| window == b"ENCRYPTED") {
            PemError::EncryptedKey(path.into())
        } else if damaged {
            PemError::Damaged(path.into())
        } else {
            PemError::NoKey(path.into())
        }
    })
}

/// The certificates of a PEM file that are to be roots of trust: at least one.
pub fn ca_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = certificates(path)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|_| PemError::BadCertificate(path.into()))?;
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    fs::read(path).map_err(|source| PemError::Unreadable { path: path.into(), source })
}

/// All sections of a known kind; `None` when one is damaged.
fn items(mut pem: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    // The error would quote the line at fault, so it ends here.
    while let Some((item, rest)) = rustls_pemfile::read_one_from_slice(pem).ok()? {
        items.push(item);
        pem = rest;
    }
    Some(items)
}
