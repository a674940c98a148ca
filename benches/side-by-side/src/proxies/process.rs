//! The process of a proxy.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::imap_proxy;
use crate::{
    client::{Client, Target},
    usage::Tree,
};

/// Dropping it stops it.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
    /// Messages that the log should have shown.
    unseen: Option<Arc<AtomicU64>>,
}

impl Process {
    /// Starts it, and waits until a session goes through it. If it traces, what it writes is read as
    /// fast as it comes.
    pub(super) fn start(
        mut command: Command,
        log: PathBuf,
        traces: bool,
        target: &Target,
    ) -> Result<Self> {
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        if traces {
            command.stderr(Stdio::piped());
        }
        let mut child = command.spawn().with_context(|| format!("is it installed? {command:?}"))?;
        let stderr = child.stderr.take();
        let mut process = Self { child, log, unseen: None };
        process.unseen =
            stderr.map(|stderr| imap_proxy::follow(stderr, &process.log)).transpose()?;
        process.wait(target)?;
        Ok(process)
    }

    pub(super) fn tree(&self) -> Tree {
        Tree(self.child.id())
    }

    /// Messages that could not be shown since the last call.
    pub(super) fn unseen(&self) -> u64 {
        self.unseen.as_ref().map_or(0, |unseen| unseen.swap(0, Ordering::Relaxed))
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
                let log = fs::read_to_string(&self.log).unwrap_or_default();
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
