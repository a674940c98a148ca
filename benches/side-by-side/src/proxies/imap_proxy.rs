//! imap-proxy.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Setting, write};
use crate::tls::{CHAIN, KEY};

pub(super) fn command(setting: &Setting<'_>, program: &Path, level: &str) -> Result<Command> {
    let encryption = if setting.tls {
        format!(
            "encryption = \"Tls\", identity = {{ type = \"CertificateChainAndLeafKey\", \
             certificate_chain_path = \"{CHAIN}\", leaf_key_path = \"{KEY}\" }}"
        )
    } else {
        "encryption = \"Insecure\"".to_owned()
    };
    let config = format!(
        "[[services]]\n\
         name = \"bench\"\n\
         trace = \"{level}\"\n\
         bind = {{ host = \"{}\", port = {}, {encryption} }}\n\
         connect = {{ host = \"{}\", port = {}, encryption = \"Insecure\" }}\n",
        setting.address.ip(),
        setting.address.port(),
        setting.stub.imap.ip(),
        setting.stub.imap.port(),
    );
    let mut command = Command::new(program);
    command.arg("--config").arg(write(setting, "imap-proxy.toml", &config)?);
    for variable in ["RUST_LOG", "JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"] {
        command.env_remove(variable);
    }
    Ok(command)
}
