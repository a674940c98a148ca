//! Dovecot 2.3 as an IMAP proxy, in its "high performance" mode: a fixed set of login processes.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Group, Uid, User};

use super::{Setting, program, write};
use crate::tls::{CHAIN, KEY};

pub(super) fn command(setting: &Setting<'_>) -> Result<Command> {
    let version = program(setting, "dovecot").arg("--version").output();
    let version = version.context("Dovecot is not installed")?.stdout;
    ensure!(version.starts_with(b"2.3."), "only Dovecot 2.3 is known here; 2.4 has other settings");

    // For root it would want several users.
    let user = if Uid::effective().is_root() {
        User::from_name("nobody")?.context("no user nobody")?
    } else {
        User::from_uid(Uid::effective())?.context("no name")?
    };
    let group = Group::from_gid(user.gid)?.context("no name of the group")?;
    let Setting { address, stub, .. } = setting;
    let base = setting.dir.join(format!("{}-dovecot", address.port()));
    fs::create_dir(&base)?;
    for name in [CHAIN, KEY] {
        fs::copy(setting.dir.join(name), base.join(name))?;
        chown(base.join(name), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    chown(&base, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    let config = format!(
        "base_dir = {base}/run\n\
         state_dir = {base}/state\n\
         log_path = {base}/log\n\
         default_internal_user = {user}\n\
         default_internal_group = {group}\n\
         default_login_user = {user}\n\
         protocols = imap\n\
         ssl = yes\n\
         ssl_cert = <{base}/{CHAIN}\n\
         ssl_key = <{base}/{KEY}\n\
         default_client_limit = 15000\n\
         default_vsz_limit = 4 G\n\
         service imap-login {{\n\
         \x20 chroot =\n\
         \x20 service_count = 0\n\
         \x20 process_min_avail = 2\n\
         \x20 process_limit = 2\n\
         \x20 inet_listener imap {{\n\
         \x20   address = {host}\n\
         \x20   port = {port}\n\
         \x20   ssl = {ssl}\n\
         \x20 }}\n\
         \x20 inet_listener imaps {{\n\
         \x20   port = 0\n\
         \x20 }}\n\
         }}\n\
         service anvil {{\n\
         \x20 chroot =\n\
         }}\n\
         service stats {{\n\
         \x20 chroot =\n\
         }}\n\
         disable_plaintext_auth = no\n\
         passdb {{\n\
         \x20 driver = static\n\
         \x20 args = proxy=y nopassword=y host={stub_host} port={stub_port}\n\
         }}\n",
        base = base.display(),
        user = user.name,
        group = group.name,
        host = address.ip(),
        port = address.port(),
        ssl = if setting.tls { "yes" } else { "no" },
        stub_host = stub.imap.ip(),
        stub_port = stub.imap.port(),
    );
    let mut command = program(setting, "dovecot");
    command.arg("-F").arg("-c").arg(write(setting, "dovecot.conf", &config)?);
    command.current_dir(&base);
    if Uid::effective().is_root() {
        command.uid(user.uid.as_raw()).gid(Gid::as_raw(user.gid));
    }
    Ok(command)
}
