//! nginx as an IMAP proxy (its mail module), which asks the stub for each user's server.

use std::process::Command;

use anyhow::Result;

use super::{Setting, program, write};
use crate::tls::{CHAIN, KEY};

pub(super) fn command(setting: &Setting<'_>) -> Result<Command> {
    let Setting { dir, address, stub, .. } = setting;
    let tls = if setting.tls {
        format!(
            "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {CHAIN}; ssl_certificate_key {KEY};"
        )
    } else {
        String::new()
    };
    // As Debian has it for the Web, but for the number of connections.
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_mail_module.so;\n\
         daemon off;\n\
         worker_processes auto;\n\
         pid {dir}/nginx-{port}.pid;\n\
         error_log stderr;\n\
         events {{ worker_connections 15000; }}\n\
         mail {{\n\
         \x20 auth_http {auth};\n\
         \x20 imap_capabilities IMAP4rev1 LITERAL+ IDLE;\n\
         \x20 {tls}\n\
         \x20 server {{ listen {address} {ssl}; protocol imap; }}\n\
         }}\n",
        dir = dir.display(),
        port = address.port(),
        auth = stub.auth_http,
        ssl = if setting.tls { "ssl" } else { "" },
    );
    let mut command = program(setting, "nginx");
    command.arg("-p").arg(dir).arg("-e").arg("stderr");
    command.arg("-c").arg(write(setting, "nginx.conf", &config)?);
    Ok(command)
}
