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
    files::Files,
    model::{Config, Connections, Limits, Log, Service, Timeouts, Trace, TraceLevel, Watch},
    problem::{Reported, Reports},
    sides,
    values::{Capability, Delay, Filter, IdleTime, Name, Size, Time},
};

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
        let (mut unique, mut files) = (Unique::default(), Files::new(folder));
        let services = fields.required_tables("services", |fields| {
            service(fields, &mut files, &settings, &mut unique)
        });
        Ok(Config { services: services?, log, watch, connections: settings.connections.in_service })
    })
}

/// The tables that the file and each service may have.
#[derive(Clone, Default)]
struct Settings {
    trace: Trace,
    connections: Connections,
    limits: Limits,
    timeouts: Timeouts,
}

impl Settings {
    /// What stands in the tables goes before what was so far, key by key.
    fn overridden(&self, fields: &mut Fields<'_, '_>) -> Self {
        let mut settings = self.clone();
        trace(fields, &mut settings.trace);
        limits(fields, &mut settings.connections, &mut settings.limits);
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

fn limits(fields: &mut Fields<'_, '_>, connections: &mut Connections, limits: &mut Limits) {
    let _ = fields.table("limits", |fields| {
        fields.replace::<Size<1>, _>("connections", &mut connections.in_service);
        fields.replace::<Size<1>, _>("connections_per_client", &mut connections.per_client);
        fields.replace::<Size<1>, _>("command_line", &mut limits.command_line);
        fields.replace::<Size<0>, _>("collect_literal", &mut limits.collect_literal);
        fields.replace::<Size<0>, _>("literal_before_login", &mut limits.literal_before_login);
        fields.replace::<Size<0>, _>("literal", &mut limits.literal);
        fields.replace::<Size<1>, _>("unanswered_commands", &mut limits.unanswered_commands);
        fields.replace::<Size<1>, _>("bad_commands", &mut limits.bad_commands);
        fields.replace::<Size<1>, _>("login_attempts", &mut limits.login_attempts);
    });
}

fn timeouts(fields: &mut Fields<'_, '_>, timeouts: &mut Timeouts) {
    let _ = fields.table("timeouts", |fields| {
        fields.replace::<Time, _>("handshake", &mut timeouts.handshake);
        fields.replace::<Time, _>("connect", &mut timeouts.connect);
        fields.replace::<Time, _>("greeting", &mut timeouts.greeting);
        fields.replace::<Time, _>("login", &mut timeouts.login);
        fields.replace::<Delay, _>("login_delay", &mut timeouts.login_delay);
        fields.replace::<IdleTime, _>("idle", &mut timeouts.idle);
        fields.replace::<Time, _>("write_stall", &mut timeouts.write_stall);
        fields.replace::<Time, _>("shutdown", &mut timeouts.shutdown);
    });
}

fn service(
    fields: &mut Fields<'_, '_>,
    files: &mut Files<'_>,
    settings: &Settings,
    unique: &mut Unique,
) -> Result<Service, Reported> {
    let name = fields.required::<Name>("name");
    let bind = fields.required_table("bind", |fields| sides::bind(fields, files, unique));
    let connect = fields.required_table("connect", |fields| sides::connect(fields, files));
    let allow = fields.list::<Capability>("allow_capabilities");
    let Settings { trace, connections, limits, timeouts } = settings.overridden(fields);

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
        connections,
        limits,
        timeouts,
        allow_capabilities: allow?.into_iter().map(|Capability(name)| name).collect(),
    })
}

/// What no two services may share.
#[derive(Default)]
pub(super) struct Unique {
    names: Taken<Arc<str>>,
    pub(super) addresses: Taken<(ServerName<'static>, u16)>,
}

/// Values with the places where they first stand.
pub(super) struct Taken<K>(HashMap<K, Range<usize>>);

impl<K> Default for Taken<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Taken<K> {
    /// Takes a value; if it is taken already, where.
    pub(super) fn take(&mut self, value: K, at: &Range<usize>) -> Option<Range<usize>> {
        match self.0.entry(value) {
            Entry::Occupied(first) => Some(first.get().clone()),
            Entry::Vacant(entry) => {
                entry.insert(at.clone());
                None
            }
        }
    }
}
