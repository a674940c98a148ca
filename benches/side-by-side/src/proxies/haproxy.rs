//! `HAProxy`, with its own idea of how many threads to run.

use std::process::Command;

use anyhow::Result;

use super::{Setting, program, write};
use crate::tls::IDENTITY;

pub(super) fn command(setting: &Setting<'_>) -> Result<Command> {
    let Setting { address, stub, .. } = setting;
    let tls = if setting.tls { format!("ssl crt {IDENTITY}") } else { String::new() };
    let config = format!(
        "defaults\n\
         \x20 mode tcp\n\
         \x20 timeout connect 10s\n\
         \x20 timeout client 1h\n\
         \x20 timeout server 1h\n\
         listen imap\n\
         \x20 bind {address} {tls}\n\
         \x20 server stub {}\n",
        stub.imap
    );
    let mut command = program(setting, "haproxy");
    command.arg("-db").arg("-f").arg(write(setting, "haproxy.cfg", &config)?);
    Ok(command)
}
