//! The two sides of a service: where clients come in, and the server behind.

use std::path::PathBuf;

use tokio_rustls::rustls::pki_types::CertificateDer;
use toml::Spanned;

use super::{
    fields::Fields,
    files::Files,
    model::{Bind, Connect, ConnectTls, HostPort, ProxyProtocol},
    problem::Reported,
    read::Unique,
    values::{Encryption, Host, IdentityType, Network, Port},
};
use crate::tls::{ClientCa, Downstream, Identity, IdentityFile};

pub(super) fn bind(
    fields: &mut Fields<'_, '_>,
    files: &mut Files<'_>,
    unique: &mut Unique,
) -> Result<Bind, Reported> {
    let encryption = fields.required::<Encryption>("encryption").map(Spanned::into_inner);
    let host = fields.required::<Host>("host");
    let port = fields.optional::<Port<0>>("port");
    let balancers = fields.list::<Network>("proxy_protocol_from");
    let tls = bind_tls(fields, files, encryption.ok());

    let security = encryption.and_then(|encryption| {
        tls.and_then(|tls| encryption.with(tls, || fields.missing("identity")))
    });
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
    let proxy_protocol_from = balancers?.into_iter().map(|Network(network)| network).collect();
    Ok(Bind { address, proxy_protocol_from, security: security? })
}

pub(super) fn connect(
    fields: &mut Fields<'_, '_>,
    files: &mut Files<'_>,
) -> Result<Connect, Reported> {
    let encryption = fields.required::<Encryption>("encryption").map(Spanned::into_inner);
    let host = fields.required::<Host>("host").map(Spanned::into_inner);
    let port = fields.optional::<Port<1>>("port");
    let proxy_protocol = fields.optional::<ProxyProtocol>("proxy_protocol");
    let send_client_id = fields.optional::<bool>("send_client_id");
    let ca = certificates(fields, "ca_path", files);
    let identity = fields.table("identity", |fields| identity(fields, files));

    if let Ok(Encryption::Insecure) = encryption {
        fields.needs_tls("ca_path");
        fields.needs_tls("identity");
    }
    let encryption = encryption?;
    let Host { text, name } = host?;
    let port = port?.map_or(encryption.default_port(), |port| port.into_inner().0);
    let (ca_path, ca_certificates) = ca?.unzip();
    let ca_certificates = ca_certificates.unwrap_or_default();
    let identity = identity?.transpose()?;
    let tls = ConnectTls { server_name: name, ca_path, ca_certificates, identity };
    Ok(Connect {
        address: HostPort { host: text, port },
        proxy_protocol: proxy_protocol?.map(Spanned::into_inner),
        send_client_id: send_client_id?.is_some_and(Spanned::into_inner),
        security: encryption.with(Some(tls), || fields.missing("host"))?,
    })
}

/// What TLS with clients needs. `None` without an identity.
fn bind_tls(
    fields: &mut Fields<'_, '_>,
    files: &mut Files<'_>,
    encryption: Option<Encryption>,
) -> Result<Option<Downstream>, Reported> {
    let one = fields.table("identity", |fields| identity(fields, files));
    let several = fields.tables("identities", |fields| identity(fields, files));
    let ca = certificates(fields, "client_ca_path", files);

    if encryption == Some(Encryption::Insecure) {
        for key in ["identity", "identities", "client_ca_path"] {
            fields.needs_tls(key);
        }
        return Ok(None);
    }
    let identities = match (one?.transpose()?, several?) {
        (None, None) => return Ok(None),
        (Some(one), None) => vec![one],
        (None, Some(several)) if several.is_empty() => {
            return Err(fields.misplaced("identities", "is empty; add at least one"));
        }
        (None, Some(several)) => several,
        (Some(_), Some(_)) => {
            let message = "cannot stand beside `identity`; make that one the first of them";
            return Err(fields.misplaced("identities", message));
        }
    };
    let client_ca = ca?.map(|(path, certificates)| ClientCa { path, certificates });
    let tls = Downstream::new(identities, client_ca).map_err(|error| {
        fields.misplaced("encryption", &format!("cannot be had: TLS cannot be set up: {error}"))
    })?;
    let starts_late = encryption == Some(Encryption::StartTls);
    Ok(Some(if starts_late { tls.for_start_tls() } else { tls }))
}

/// A PEM file with roots of trust, and what it holds.
fn certificates(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    files: &mut Files<'_>,
) -> Result<Option<(PathBuf, Vec<CertificateDer<'static>>)>, Reported> {
    let Some(path) = fields.optional::<String>(key)? else { return Ok(None) };
    let at = path.span();
    let path = files.at(path.get_ref());
    fields.reports.names(&path);
    let certificates = files.certificates(&path);
    certificates
        .map(|certificates| Some((path, certificates)))
        .map_err(|error| fields.reports.file(&at, error))
}

fn identity(fields: &mut Fields<'_, '_>, files: &mut Files<'_>) -> Result<Identity, Reported> {
    let kind = fields.required::<IdentityType>("type");
    let chain = fields.required::<String>("certificate_chain_path");
    let key = fields.required::<String>("leaf_key_path");

    let (kind, chain, key) = (kind?.into_inner(), chain?, key?);
    let (chain_path, key_path) = (files.at(chain.get_ref()), files.at(key.get_ref()));
    fields.reports.names(&chain_path);
    fields.reports.names(&key_path);
    let loaded = match kind {
        IdentityType::CertificateChainAndLeafKey => files.identity(chain_path, key_path),
    };
    loaded.map_err(|error| {
        let at = match error.at_fault() {
            IdentityFile::CertificateChain => chain.span(),
            IdentityFile::LeafKey => key.span(),
        };
        fields.reports.file(&at, error)
    })
}
