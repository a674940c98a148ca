//! From the tables of the file to the model.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    ops::Range,
    path::Path,
    sync::Arc,
};

use tokio_rustls::rustls::pki_types::ServerName;
use toml::{Spanned, de::DeTable};

use super::{
    fields::Fields,
    model::{
        Bind, Config, Connect, ConnectTls, HostPort, Limits, Log, Service, Timeouts, Trace,
        TraceLevel, Watch,
    },
    problem::{Reported, Reports},
    values::{
        Capability, Encryption, Filter, Host, IdentityType, IdleTime, Name, Port, Size, Time,
    },
};
use crate::tls::{self, Identity, IdentityFile};

/// Reads the whole file; relative paths in it start from `folder`.
pub(super) fn config<'i>(
    root: &Spanned<DeTable<'i>>,
    folder: &Path,
    reports: &Reports<'i>,
) -> Result<Config, Reported> {
    Fields::read(reports, root.get_ref(), root.span(), |fields| {
        let log = log(fields);
        let watch = watch(fields);
        let settings = Settings::default().overridden(fields);
        let mut unique = Unique::default();
        let services = fields
            .required_tables("services", |fields| service(fields, folder, &settings, &mut unique));
        Ok(Config { services: services?, log, watch })
    })
}

/// The tables that the file and each service may have.
#[derive(Clone, Default)]
struct Settings {
    trace: Trace,
    limits: Limits,
    timeouts: Timeouts,
}

impl Settings {
    /// What stands in the tables goes before what was so far, key by key.
    fn overridden(&self, fields: &mut Fields<'_, '_>) -> Self {
        let mut settings = self.clone();
        trace(fields, &mut settings.trace);
        limits(fields, &mut settings.limits);
        timeouts(fields, &mut settings.timeouts);
        settings
    }
}

// In the functions below a table that is none was reported, and nobody will see the defaults.

fn log(fields: &mut Fields<'_, '_>) -> Log {
    let mut log = Log::default();
    let _ = fields.table("log", |fields| fields.replace::<Filter, _>("filter", &mut log.filter));
    log
}

fn watch(fields: &mut Fields<'_, '_>) -> Watch {
    let mut watch = Watch::default();
    let _ =
        fields.table("watch", |fields| fields.replace::<bool, _>("enabled", &mut watch.enabled));
    watch
}

fn trace(fields: &mut Fields<'_, '_>, trace: &mut Trace) {
    if fields.is_string("trace") {
        return fields.replace::<TraceLevel, _>("trace", &mut trace.level);
    }
    let _ = fields.table("trace", |fields| {
        fields.replace::<TraceLevel, _>("level", &mut trace.level);
        fields.replace::<Size<0>, _>("max_body", &mut trace.max_body);
        fields.replace::<bool, _>("reveal_secrets", &mut trace.reveal_secrets);
    });
}

fn limits(fields: &mut Fields<'_, '_>, limits: &mut Limits) {
    let _ = fields.table("limits", |fields| {
        fields.replace::<Size<1>, _>("command_line", &mut limits.command_line);
        fields.replace::<Size<0>, _>("collect_literal", &mut limits.collect_literal);
        fields.replace::<Size<0>, _>("literal", &mut limits.literal);
        fields.replace::<Size<1>, _>("unanswered_commands", &mut limits.unanswered_commands);
    });
}

fn timeouts(fields: &mut Fields<'_, '_>, timeouts: &mut Timeouts) {
    let _ = fields.table("timeouts", |fields| {
        fields.replace::<Time, _>("handshake", &mut timeouts.handshake);
        fields.replace::<Time, _>("connect", &mut timeouts.connect);
        fields.replace::<Time, _>("greeting", &mut timeouts.greeting);
        fields.replace::<Time, _>("login", &mut timeouts.login);
        fields.replace::<IdleTime, _>("idle", &mut timeouts.idle);
        fields.replace::<Time, _>("write_stall", &mut timeouts.write_stall);
        fields.replace::<Time, _>("shutdown", &mut timeouts.shutdown);
    });
}

fn service(
    fields: &mut Fields<'_, '_>,
    folder: &Path,
    settings: &Settings,
    unique: &mut Unique,
) -> Result<Service, Reported> {
    let name = fields.required::<Name>("name");
    let bind = fields.required_table("bind", |fields| bind(fields, folder, unique));
    let connect = fields.required_table("connect", |fields| connect(fields, folder));
    let allow = fields.list::<Capability>("allow_capabilities");
    let Settings { trace, limits, timeouts } = settings.overridden(fields);

    let name = name?;
    let at = name.span();
    let Name(name) = name.into_inner();
    if let Some(first) = unique.names.take(Arc::clone(&name), &at) {
        let line = fields.reports.line(&first);
        let message = format!("`{name}` is the name of a service already, in line {line}");
        fields.reports.wrong(&at, format_args!("{message}; every service needs its own"));
    }
    Ok(Service {
        name,
        bind: bind?,
        connect: connect?,
        trace,
        limits,
        timeouts,
        allow_capabilities: allow?.into_iter().map(|Capability(name)| name).collect(),
    })
}

fn bind(fields: &mut Fields<'_, '_>, folder: &Path, unique: &mut Unique) -> Result<Bind, Reported> {
    let encryption = fields.required::<Encryption>("encryption").map(Spanned::into_inner);
    let host = fields.required::<Host>("host");
    let port = fields.optional::<Port<0>>("port");
    let identity = fields.table("identity", |fields| identity(fields, folder));

    let tls = match (encryption, identity?) {
        (Ok(Encryption::Tls), Some(identity)) => identity.map(Some),
        (Ok(Encryption::Tls), None) => Err(fields.missing("identity")),
        (Ok(Encryption::Insecure), Some(_)) => Err(fields.misplaced("identity", TLS_ONLY)),
        (Ok(Encryption::Insecure), None) => Ok(None),
        (Err(reported), _) => Err(reported),
    };
    let port = port?.map_or(encryption?.default_port(), |port| port.into_inner().0);
    let host = host?;
    let at = host.span();
    let Host { text, name } = host.into_inner();
    let address = HostPort { host: text, port };
    if let (Some(first), 1..) = (unique.addresses.take((name, port), &at), port) {
        let line = fields.reports.line(&first);
        let message = format!("`{address}` is the address of a service already, in line {line}");
        fields.reports.wrong(&at, format_args!("{message}; every service needs its own"));
    }
    Ok(Bind { address, tls: tls? })
}

fn connect(fields: &mut Fields<'_, '_>, folder: &Path) -> Result<Connect, Reported> {
    let encryption = fields.required::<Encryption>("encryption").map(Spanned::into_inner);
    let host = fields.required::<Host>("host").map(Spanned::into_inner);
    let port = fields.optional::<Port<1>>("port");
    let ca = fields.optional::<String>("ca_path").and_then(|path| {
        let Some(path) = path else { return Ok(None) };
        let at = path.span();
        let path = folder.join(path.into_inner());
        fields.reports.names(&path);
        let certificates = tls::ca_certificates(&path);
        certificates
            .map(|certificates| Some((path, certificates)))
            .map_err(|error| fields.reports.file(&at, error))
    });

    if let (Ok(Encryption::Insecure), Ok(Some(_))) = (encryption, &ca) {
        fields.misplaced("ca_path", TLS_ONLY);
    }
    let encryption = encryption?;
    let Host { text, name } = host?;
    let (ca_path, ca_certificates) = ca?.unzip();
    Ok(Connect {
        address: HostPort {
            host: text,
            port: port?.map_or(encryption.default_port(), |port| port.into_inner().0),
        },
        tls: match encryption {
            Encryption::Insecure => None,
            Encryption::Tls => Some(ConnectTls {
                server_name: name,
                ca_path,
                ca_certificates: ca_certificates.unwrap_or_default(),
            }),
        },
    })
}

const TLS_ONLY: &str = "is for `encryption = \"Tls\"` only; remove it, or use `Tls`";

fn identity(fields: &mut Fields<'_, '_>, folder: &Path) -> Result<Identity, Reported> {
    let kind = fields.required::<IdentityType>("type");
    let chain = fields.required::<String>("certificate_chain_path");
    let key = fields.required::<String>("leaf_key_path");

    let (kind, chain, key) = (kind?.into_inner(), chain?, key?);
    let (chain_path, key_path) = (folder.join(chain.get_ref()), folder.join(key.get_ref()));
    fields.reports.names(&chain_path);
    fields.reports.names(&key_path);
    let loaded = match kind {
        IdentityType::CertificateChainAndLeafKey => Identity::load(&chain_path, &key_path),
    };
    loaded.map_err(|error| {
        let at = match error.at_fault() {
            IdentityFile::CertificateChain => chain.span(),
            IdentityFile::LeafKey => key.span(),
        };
        fields.reports.file(&at, error)
    })
}

/// What no two services may share.
#[derive(Default)]
struct Unique {
    names: Taken<Arc<str>>,
    addresses: Taken<(ServerName<'static>, u16)>,
}

/// Values with the places where they first stand.
struct Taken<K>(HashMap<K, Range<usize>>);

impl<K> Default for Taken<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Taken<K> {
    /// Takes a value; if it is taken already, where.
    fn take(&mut self, value: K, at: &Range<usize>) -> Option<Range<usize>> {
        match self.0.entry(value) {
            Entry::Occupied(first) => Some(first.get().clone()),
            Entry::Vacant(entry) => {
                entry.insert(at.clone());
                None
            }
        }
    }
}
