//! What a new configuration changes: a pure function of the old one and the new one.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    mem::discriminant,
    sync::Arc,
};

use super::model::{Bind, Config, Service};

/// How far a change of a service reaches. Live sessions are reached by none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It listens elsewhere (and new sessions may differ in more than that).
    Address,
    /// New sessions are served in another way: upstream, limits, deadlines, trace, TLS or not.
    NewSessions,
    /// New handshakes show another certificate, or ask for another one; nothing else.
    Identity,
}

/// The services that differ, in the order of the file they stand in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Names that are new.
    pub added: Vec<Arc<str>>,
    /// Names that are gone.
    pub removed: Vec<Arc<str>>,
    /// Names that stayed, of services that did not.
    pub changed: Vec<(Arc<str>, Change)>,
    /// Something outside the services changed: log or watch.
    pub daemon: bool,
    /// The number of sessions that all services together may have changed.
    pub connections: bool,
}

impl Diff {
    /// What `new` changes of `old`. Services are told apart by their names; their order is of no
    /// importance.
    pub fn between(old: &Config, new: &Config) -> Self {
        let before: HashMap<_, _> =
            old.services.iter().map(|service| (&service.name, service)).collect();
        let mut diff = Self {
            daemon: old.log != new.log || old.watch != new.watch,
            connections: old.connections != new.connections,
            ..Self::default()
        };
        for service in &new.services {
            let name = Arc::clone(&service.name);
            match before.get(&service.name) {
                None => diff.added.push(name),
                Some(old) => diff.changed.extend(change(old, service).map(|change| (name, change))),
            }
        }
        let after: HashSet<_> = new.services.iter().map(|service| &service.name).collect();
        let gone = old.services.iter().filter(|service| !after.contains(&service.name));
        diff.removed.extend(gone.map(|service| Arc::clone(&service.name)));
        diff
    }

    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// For the log: `added "a"; removed "b"; changed "c" (certificate)`.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[Arc<str>]| {
            names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        };
        let mut parts = Vec::new();
        if !self.added.is_empty() {
            parts.push(format!("added {}", names(&self.added)));
        }
        if !self.removed.is_empty() {
            parts.push(format!("removed {}", names(&self.removed)));
        }
        if !self.changed.is_empty() {
            let changed = self.changed.iter().map(|(name, change)| format!("{name:?} ({change})"));
            parts.push(format!("changed {}", changed.collect::<Vec<_>>().join(", ")));
        }
        if self.daemon {
            parts.push("log or watch settings".to_owned());
        }
        if self.connections {
            parts.push("connections in all".to_owned());
        }
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "address",
            Self::NewSessions => "for new sessions",
            Self::Identity => "certificate",
        })
    }
}

fn change(old: &Service, new: &Service) -> Option<Change> {
    if old == new {
        return None;
    }
    if old.bind.address != new.bind.address {
        return Some(Change::Address);
    }
    let security = old.bind.security.clone();
    let old_identity = Service { bind: Bind { security, ..new.bind.clone() }, ..new.clone() };
    let same_kind = discriminant(&old.bind.security) == discriminant(&new.bind.security);
    Some(if same_kind && *old == old_identity { Change::Identity } else { Change::NewSessions })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::{Connect, Connections, HostPort, Limits, Log, Timeouts, Trace, TraceLevel, Watch},
        tls::{ClientCa, Downstream, Identity, Security},
    };

    fn address(port: u16) -> HostPort {
        HostPort { host: "127.0.0.1".to_owned(), port }
    }

    fn service(name: &str, port: u16) -> Service {
        Service {
            name: name.into(),
            bind: Bind {
                address: address(port),
                proxy_protocol_from: Vec::new(),
                security: Security::Insecure,
            },
            connect: Connect {
                address: address(993),
                proxy_protocol: None,
                send_client_id: false,
                security: Security::Insecure,
            },
            trace: Trace::default(),
            connections: Connections::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            allow_capabilities: Vec::new(),
        }
    }

    fn config(services: Vec<Service>) -> Config {
        Config {
            services,
            log: Log { filter: "info".to_owned() },
            watch: Watch::default(),
            connections: 100,
        }
    }

    #[test]
    fn table() {
        let (a, b) = (|| service("a", 1), || service("b", 2));
        let with = |change: fn(&mut Service)| {
            let mut service = service("a", 1);
            change(&mut service);
            vec![service]
        };
        for (old, new, expected) in [
            (vec![a(), b()], vec![a(), b()], "nothing"),
            (vec![a(), b()], vec![b(), a()], "nothing"),
            (vec![a()], vec![a(), b()], "added \"b\""),
            (vec![a(), b()], vec![b()], "removed \"a\""),
            (vec![a()], vec![b()], "added \"b\"; removed \"a\""),
            (vec![a()], with(|s| s.bind.address.port = 9), "changed \"a\" (address)"),
            (vec![a()], with(|s| s.connect.address.port = 9), "changed \"a\" (for new sessions)"),
            (
                vec![a()],
                with(|s| s.trace.level = TraceLevel::Off),
                "changed \"a\" (for new sessions)",
            ),
            (
                vec![a()],
                with(|s| s.bind.proxy_protocol_from.push("10.0.0.0/8".parse().unwrap())),
                "changed \"a\" (for new sessions)",
            ),
            (
                vec![a()],
                with(|s| s.connect.send_client_id = true),
                "changed \"a\" (for new sessions)",
            ),
            (vec![a()], with(|s| s.limits.command_line = 9), "changed \"a\" (for new sessions)"),
            (vec![a()], with(|s| s.connections.per_client = 9), "changed \"a\" (for new sessions)"),
            (
                vec![a()],
                with(|s| s.timeouts.idle = Duration::MAX),
                "changed \"a\" (for new sessions)",
            ),
            (
                vec![a()],
                with(|s| s.allow_capabilities.push("X".to_owned())),
                "changed \"a\" (for new sessions)",
            ),
            (
                vec![service("a", 1), service("b", 2)],
                vec![service("a", 2), service("b", 1)],
                "changed \"a\" (address), \"b\" (address)",
            ),
        ] {
            let diff = Diff::between(&config(old), &config(new));
            assert_eq!(diff.to_string(), expected);
            assert_eq!(diff.is_empty(), expected == "nothing");
        }
    }

    #[test]
    fn identities() {
        let folder = tempfile::tempdir().unwrap();
        let identity = |name: &str| {
            let rcgen::CertifiedKey { cert, signing_key } =
                rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
            std::fs::write(&chain, cert.pem()).unwrap();
            std::fs::write(&key, signing_key.serialize_pem()).unwrap();
            let identity = Identity::load(&chain, &key).unwrap();
            (Downstream::new(vec![identity.clone()], None).unwrap(), identity)
        };
        let ((first, a), (second, b)) = (identity("one.example"), identity("two.example"));
        let both = Security::Tls(Downstream::new(vec![a.clone(), b], None).unwrap());
        let ca = ClientCa { path: "ca.pem".into(), certificates: a.certified.cert.clone() };
        let asking = Security::Tls(Downstream::new(vec![a], Some(ca)).unwrap());
        let (one, two) = (Security::Tls(first.clone()), Security::Tls(second.clone()));
        let (start_one, start_two) = (Security::StartTls(first), Security::StartTls(second));
        let none = Security::Insecure;
        let with = |security: &Security<_>, port| {
            let mut service = service("a", 1);
            service.bind.security.clone_from(security);
            service.connect.address.port = port;
            config(vec![service])
        };
        for (old, new, expected) in [
            (with(&one, 1), with(&one, 1), None),
            (with(&one, 1), with(&two, 1), Some(Change::Identity)),
            (with(&one, 1), with(&both, 1), Some(Change::Identity)),
            (with(&one, 1), with(&asking, 1), Some(Change::Identity)),
            (with(&one, 1), with(&two, 2), Some(Change::NewSessions)),
            (with(&start_one, 1), with(&start_two, 1), Some(Change::Identity)),
            (with(&start_one, 1), with(&one, 1), Some(Change::NewSessions)),
            (with(&one, 1), with(&none, 1), Some(Change::NewSessions)),
            (with(&none, 1), with(&two, 1), Some(Change::NewSessions)),
        ] {
            let changed = Diff::between(&old, &new).changed;
            assert_eq!(changed.first().map(|(_, change)| *change), expected);
        }
        let mut balanced = with(&two, 1);
        balanced.services[0].bind.proxy_protocol_from.push("::1/128".parse().unwrap());
        let changed = Diff::between(&with(&one, 1), &balanced).changed;
        assert_eq!(changed[0].1, Change::NewSessions);
    }

    #[test]
    fn the_daemons_own() {
        let old = config(vec![service("a", 1)]);
        let mut new = old.clone();
        new.log.filter = "debug".to_owned();
        assert_eq!(Diff::between(&old, &new).to_string(), "log or watch settings");
        let mut new = old.clone();
        new.watch.enabled = false;
        assert!(Diff::between(&old, &new).daemon);
        let mut new = old.clone();
        new.connections = 99;
        assert_eq!(Diff::between(&old, &new).to_string(), "connections in all");
    }
}
