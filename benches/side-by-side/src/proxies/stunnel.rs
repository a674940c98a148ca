//! stunnel: ends TLS and knows no more.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{Setting, program, write};
use crate::tls::{CHAIN, KEY};

pub(super) fn command(setting: &Setting<'_>) -> Result<Command> {
    ensure!(setting.tls, "stunnel cannot do without TLS");
    let config = format!(
        "foreground = yes\n\
         pid =\n\
         [imaps]\n\
         accept = {}\n\
         connect = {}\n\
         cert = {CHAIN}\n\
         key = {KEY}\n",
        setting.address, setting.stub.imap
    );
    let mut command = program(setting, "stunnel");
    command.arg(write(setting, "stunnel.conf", &config)?);
    Ok(command)
}
