//! imap-proxy. Its log and its traces go to a pipe that this program empties at once.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    process::{ChildStderr, Command},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

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

/// Empties the pipe, keeps the beginning of what came in a file, and counts the messages that the
/// proxy says it could not show.
pub(super) fn follow(mut stderr: ChildStderr, log: &Path) -> Result<Arc<AtomicU64>> {
    const KEPT: usize = 64 * 1024;
    let mut file = File::create(log)?;
    let unseen = Arc::new(AtomicU64::new(0));
    let count = unseen.clone();
    let mut room = vec![0; 256 * 1024];
    let mut kept = 0;
    thread::Builder::new().name("log".into()).spawn(move || {
        while let Ok(length @ 1..) = stderr.read(&mut room) {
            let bytes = &room[..length];
            count.fetch_add(unseen_in(bytes), Ordering::Relaxed);
            if kept < KEPT {
                kept += length;
                // The numbers count, not the log.
                let _ = file.write_all(bytes);
            }
        }
    })?;
    Ok(unseen)
}

/// Each line is one write of the proxy's, and a pipe keeps short writes whole.
fn unseen_in(bytes: &[u8]) -> u64 {
    memchr::memmem::find_iter(bytes, b" were not shown: ")
        .filter_map(|end| {
            let start = memchr::memrchr(b'\n', &bytes[..end]).map_or(0, |newline| newline + 1);
            let line = str::from_utf8(&bytes[start..end]).ok()?;
            let (before, _) = line.split_once(" messages and ")?;
            before.rsplit(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_shown_is_counted() {
        let log =
            b"time TRACE x\ntime WARN 12 messages and 3 log lines were not shown: the journal\n\
            time WARN 5 messages and 0 log lines were not shown: the journal\n";
        assert_eq!(unseen_in(log), 17);
    }
}
