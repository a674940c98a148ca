//! Where imap-proxy's log goes, and what the log says was not shown.

use std::{
    fs::{self, File},
    io::{self, PipeReader, Read, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::MetadataExt as _, net::UnixDatagram},
    },
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Result;
use nix::unistd::Uid;

/// Messages that could not be shown.
pub(super) type Unseen = Arc<AtomicU64>;

/// What reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// This program, from a pipe, as fast as it comes.
    Pipe,
    /// Nobody: the pipe is soon full.
    Stalled,
    /// This program, in journald's place.
    Journal,
}

/// The folder of the journal's socket.
const JOURNAL: &str = "/run/systemd/journal";

impl Reader {
    /// The command with its log going there. The pipe is to be kept as long as it runs.
    pub(super) fn attach(self, mut command: Command, log: &Path) -> Result<(Command, Log)> {
        let (reader, writer) = io::pipe()?;
        let unseen = Unseen::default();
        let mut kept = None;
        match self {
            Self::Pipe => spawn(follow(reader, File::create(log)?, unseen.clone()))?,
            Self::Stalled => kept = Some(reader),
            Self::Journal => {
                let dir = log.with_extension("journal");
                fs::create_dir(&dir)?;
                let socket = UnixDatagram::bind(dir.join("socket"))?;
                spawn(receive(socket, unseen.clone()))?;
                spawn(follow(reader, File::create(log)?, unseen.clone()))?;
                command = where_the_journal_is(&dir, &command);
                let stderr = fs::metadata(format!("/proc/self/fd/{}", writer.as_raw_fd()))?;
                command.env("JOURNAL_STREAM", format!("{}:{}", stderr.dev(), stderr.ino()));
            }
        }
        command.stderr(writer);
        Ok((command, Log { unseen, _kept: kept }))
    }
}

/// A log that goes on.
pub(super) struct Log {
    pub(super) unseen: Unseen,
    _kept: Option<PipeReader>,
}

/// The same command, with another folder in the place of the journal's, which only it sees.
fn where_the_journal_is(dir: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    if !Uid::effective().is_root() {
        wrapped.arg("--map-root-user");
    }
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p {JOURNAL} && mount --bind \"$1\" {JOURNAL} && shift && exec \"$@\""
    );
    wrapped.args(["--mount", "sh", "-c", &script, "sh"]);
    wrapped.arg(dir).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    wrapped
}

fn spawn(follow: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().name("log".into()).spawn(follow)?;
    Ok(())
}

/// Empties a pipe, and keeps the beginning of what came in a file.
fn follow(mut pipe: impl Read, mut file: File, unseen: Unseen) -> impl FnOnce() {
    const KEPT: usize = 64 * 1024;
    move || {
        let (mut room, mut begun, mut kept) = (vec![0; 256 * 1024], 0, 0);
        while let Ok(length @ 1..) = pipe.read(&mut room[begun..]) {
            if kept < KEPT {
                kept += length;
                // The numbers count, not the log.
                let _ = file.write_all(&room[begun..begun + length]);
            }
            let end = begun + length;
            let lines = memchr::memrchr(b'\n', &room[..end]).map_or(0, |newline| newline + 1);
            unseen.fetch_add(unseen_in(&room[..lines]), Ordering::Relaxed);
            room.copy_within(lines..end, 0);
            // A line without end is none.
            begun = if end - lines < room.len() { end - lines } else { 0 };
        }
    }
}

/// Takes what the journal is sent.
fn receive(socket: UnixDatagram, unseen: Unseen) -> impl FnOnce() {
    move || {
        let mut room = vec![0; 256 * 1024];
        while let Ok(length) = socket.recv(&mut room) {
            unseen.fetch_add(unseen_in(&room[..length]), Ordering::Relaxed);
        }
    }
}

/// What the log says could not be shown.
fn unseen_in(log: &[u8]) -> u64 {
    memchr::memmem::find_iter(log, b" were not shown: ")
        .filter_map(|end| {
            let line = &log[memchr::memrchr(b'\n', &log[..end]).unwrap_or_default()..end];
            let count = &line[..memchr::memmem::find(line, b" messages and ")?];
            // The journal's fields begin with a length in binary.
            let digits = count.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            str::from_utf8(&count[count.len() - digits..]).ok()?.parse::<u64>().ok()
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
            MESSAGE\n\x45\0\0\0\0\0\0\x005 messages and 0 log lines were not shown: the journal\n";
        assert_eq!(unseen_in(log), 17);
    }

    #[test]
    fn lines_in_pieces_are_counted_once() -> Result<()> {
        let (reader, mut writer) = io::pipe()?;
        let (file, unseen) = (tempfile::tempfile()?, Unseen::default());
        let line = b"time WARN 12 messages and 3 log lines were not shown: the journal\n";
        let follower = thread::spawn(follow(reader, file, unseen.clone()));
        for byte in line.iter().chain(&vec![b'x'; 300 * 1024]).chain(b"\n").chain(line) {
            writer.write_all(&[*byte])?;
        }
        drop(writer);
        assert!(follower.join().is_ok());
        assert_eq!(unseen.load(Ordering::Relaxed), 24);
        Ok(())
    }
}
