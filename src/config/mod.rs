//! The config file: read, checked and parsed as a whole, or refused with all that is wrong in it.

mod diff;
mod fields;
mod files;
mod model;
mod problem;
mod read;
mod sides;
mod suggest;
mod values;

use std::{fs, path::Path};

use toml::de::DeTable;

use self::problem::Reports;
pub use self::{
    diff::{Change, Diff},
    model::{
        Bind, Config, Connect, ConnectTls, Connections, HostPort, Limits, Log, ProxyProtocol,
        Service, Timeouts, Trace, TraceLevel, Watch,
    },
    problem::Problems,
    values::log_filter,
};

/// Reads a config file, and the certificates and keys that it names. Relative paths in it start
/// from the file's folder. Errors: all problems at once.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let bytes = fs::read(path).map_err(|error| Problems::unreadable(path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    let reports = Reports::new(&text);
    if let Err(error) = str::from_utf8(&bytes) {
        let start = error.valid_up_to();
        reports.syntax(&(start..start), "this byte is not UTF-8; save the file as UTF-8");
    }
    let (root, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        reports.syntax(&error.span().unwrap_or_default(), error.message());
    }
    let config = read::config(&root, path.parent().unwrap_or(path), &reports);
    reports.finish(path, config)
}
