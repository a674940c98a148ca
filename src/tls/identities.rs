//! Which of several identities a client is shown: by the name that it asks for.

use std::{collections::HashMap, ptr, sync::Arc};

use tokio_rustls::rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Identity;

/// Chooses by SNI (RFC 6066 3): the identity that carries the very name, else one whose wildcard
/// covers it, else the first. Of several that carry the same name, the first of them.
#[derive(Debug)]
pub(super) struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl ByName {
    pub(super) fn new(identities: &[Identity]) -> Self {
        let mut names = HashMap::new();
        for identity in identities {
            for name in identity.names() {
                names.entry(name.clone()).or_insert_with(|| Arc::clone(&identity.certified));
            }
        }
        let default = identities.first().map(|identity| Arc::clone(&identity.certified));
        Self { names, default }
    }

    /// For a client that asks for this name, or for none: to connect to an address is to ask for
    /// none (RFC 6066 3).
    fn choose(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        name.and_then(|name| self.named(name)).or(self.default.as_ref())
    }

    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.names.get(&name).or_else(|| {
            // A wildcard stands for one label, the leftmost (RFC 9525 6.3).
            let (_, domain) = name.split_once('.')?;
            self.names.get(&format!("*.{domain}"))
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).cloned()
    }
}

/// What the administrator may not have meant: names that an earlier identity carries, too, and
/// identities that nobody can ask for.
pub(super) fn warnings(identities: &[Identity]) -> Vec<String> {
    let mut carriers: HashMap<&str, &Identity> = HashMap::new();
    let mut warnings = Vec::new();
    for (at, identity) in identities.iter().enumerate() {
        let path = identity.certificate_chain_path.display();
        if at > 0 && identity.names().is_empty() {
            warnings.push(format!("`{path}` carries no DNS name, so no client is shown it"));
        }
        for name in identity.names() {
            let first = *carriers.entry(name).or_insert(identity);
            // A certificate may carry a name twice.
            if !ptr::eq(first, identity) {
                let first = first.certificate_chain_path.display();
                warnings.push(format!(
                    "`{first}` and `{path}` both carry `{name}`; clients are shown the first"
                ));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// One identity for each list of names, in files `0.pem`, `1.pem` and so on.
    fn identities(lists: &[&[&str]]) -> Vec<Identity> {
        let folder = tempfile::tempdir().unwrap();
        let identity = |(number, names): (usize, &&[&str])| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let [chain, key] =
                ["pem", "key"].map(|end| folder.path().join(format!("{number}.{end}")));
            fs::write(&chain, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            Identity::load(&chain, &key).unwrap()
        };
        lists.iter().enumerate().map(identity).collect()
    }

    #[test]
    fn table() {
        let identities = identities(&[
            &["default.example"],
            &["imap.example.org", "mail.example.org"],
            &["*.example.org", "192.0.2.1"],
            &["IMAP.Example.NET", "mail.example.org", "www.example.org"],
        ]);
        let by_name = ByName::new(&identities);
        for (name, expected) in [
            (None, 0),
            (Some("default.example"), 0),
            (Some("imap.example.org"), 1),
            (Some("IMAP.example.ORG"), 1),
            (Some("imap.example.org."), 1),
            (Some("mail.example.org"), 1),
            (Some("other.example.org"), 2),
            // The very name goes before a wildcard, wherever they stand.
            (Some("www.example.org"), 3),
            (Some("imap.example.net"), 3),
            // Not one label more, and not one less.
            (Some("a.b.example.org"), 0),
            (Some("example.org"), 0),
            (Some("*.example.org"), 2),
            (Some("192.0.2.1"), 0),
            (Some("org"), 0),
            (Some(""), 0),
            (Some("."), 0),
            (Some("unknown.example"), 0),
        ] {
            let chosen = by_name.choose(name).unwrap();
            let chosen = identities.iter().position(|i| Arc::ptr_eq(&i.certified, chosen));
            assert_eq!(chosen, Some(expected), "{name:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_told() {
        let identities = identities(&[
            &["a.example", "*.a.example"],
            &["b.example", "a.example"],
            &["192.0.2.1"],
            &["b.example", "a.example"],
            &["c.example", "c.example"],
        ]);
        let folder = identities[0].certificate_chain_path.parent().unwrap().display().to_string();
        let warnings: Vec<_> =
            warnings(&identities).iter().map(|w| w.replace(&format!("{folder}/"), "")).collect();
        assert_eq!(
            warnings,
            [
                "`0.pem` and `1.pem` both carry `a.example`; clients are shown the first",
                "`2.pem` carries no DNS name, so no client is shown it",
                "`1.pem` and `3.pem` both carry `b.example`; clients are shown the first",
                "`0.pem` and `3.pem` both carry `a.example`; clients are shown the first",
            ]
        );
    }
}
