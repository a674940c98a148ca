//! The process of a proxy.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::log::{Log, Reader};
use crate::{
    client::{Client, Target},
    usage::Tree,
};

/// Dropping it stops it.
pub(super) struct Process {
    child: Child,
    file: PathBuf,
    /// If somebody reads what it writes while it runs.
    log: Option<Log>,
}

impl Process {
    /// Starts it, and waits until a session goes through it. Its log is kept in a file, or goes to
    /// a reader first.
    pub(super) fn start(
        mut command: Command,
        file: PathBuf,
        reader: Option<Reader>,
        target: &Target,
    ) -> Result<Self> {
        let log = if let Some(reader) = reader {
            let (attached, log) = reader.attach(command, &file)?;
            command = attached;
            Some(log)
        } else {
            let output = File::create(&file)?;
            command.stdout(output.try_clone()?).stderr(output);
            None
        };
        command.stdin(Stdio::null());
        let child = command.spawn().with_context(|| format!("is it installed? {command:?}"))?;
        let mut process = Self { child, file, log };
        process.wait(target)?;
        Ok(process)
    }

    pub(super) fn tree(&self) -> Tree {
        Tree(self.child.id())
    }

    /// Messages that could not be shown since the last call.
    pub(super) fn unseen(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.unseen.swap(0, Ordering::Relaxed))
    }

    fn wait(&mut self, target: &Target) -> Result<()> {
        const LONGEST: Duration = Duration::from_secs(20);
        let started = Instant::now();
        loop {
            let error = match Client::log_in(target, None).and_then(Client::log_out) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.child.try_wait()?.is_some() || started.elapsed() > LONGEST {
                let log = fs::read_to_string(&self.file).unwrap_or_default();
                bail!("{error:#}; its log:\n{log}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        const LONGEST: Duration = Duration::from_secs(5);
        // One that is gone needs no signal.
        let _ = i32::try_from(self.child.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if started.elapsed() > LONGEST {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
