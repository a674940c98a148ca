//! Brings the services up, keeps them in step with the config file, and brings them down again.
//!
//! Everything that happens comes through one channel (`input`); the start is the first reload.

mod input;
mod services;
mod systemd;
mod watch;

use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use thiserror::Error;
use tokio::{
    runtime,
    sync::mpsc,
    task::JoinError,
    time::{Instant, sleep},
};

use self::{
    input::Input,
    services::{ApplyError, Services},
    systemd::Inherited,
    watch::Watch,
};
use crate::{
    config::{self, Config, Diff, Problems},
    exit::Exit,
    service::Workers,
    session,
    trace::{self, TraceHandle},
};

/// How long a certificate and its key may be no pair while they are renewed.
const RENEWAL: Duration = Duration::from_secs(10);

/// What a stop takes beside its sessions: the last lines of the log.
const SPARE: Duration = Duration::from_secs(3);

/// Why a configuration does not take effect.
#[derive(Debug, Error)]
enum ReloadError {
    #[error("{0}")]
    Config(#[from] Problems),
    #[error("{0}")]
    Apply(#[from] ApplyError),
    #[error("the config could not be read: {0}")]
    Panic(#[from] JoinError),
}

impl ReloadError {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Apply(ApplyError::Roots { .. }) => Exit::Config,
            Self::Apply(ApplyError::Listen { .. }) => Exit::System,
            Self::Panic(_) => Exit::Software,
        }
    }
}

/// Runs the daemon with this config file until SIGTERM or SIGINT.
pub fn run(path: &Path) -> ExitCode {
    // Before there are threads: it takes variables out of the environment.
    let inherited = Inherited::from_env();
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return complain(&problems, Exit::Config),
    };
    let log = match trace::start(&config.log.filter) {
        Ok(log) => log,
        Err(error) => return complain(&error, Exit::Software),
    };
    // Of its own, so that no session ever keeps a reload waiting.
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, workers) = match runtime.and_then(|runtime| Ok((runtime, Workers::start()?))) {
        Ok(threads) => threads,
        Err(error) => return complain(&error, Exit::System),
    };
    let exit = runtime.block_on(supervise(path, config, inherited, log.handle(), workers));
    // A reload may hang in a name lookup: nobody waits for that, nor for the workers.
    runtime.shutdown_background();
    exit.into()
}

/// Says what is wrong while there is no log to say it.
fn complain(problem: &dyn fmt::Display, exit: Exit) -> ExitCode {
    // Nobody left to tell when this fails.
    let _ = writeln!(io::stderr(), "{problem}");
    exit.into()
}

async fn supervise(
    path: &Path,
    config: Config,
    inherited: Inherited,
    shown_at: TraceHandle,
    workers: Workers,
) -> Exit {
    let (sender, mut inputs) = match input::channel() {
        Ok(channel) => channel,
        Err(error) => {
            tracing::error!(fault = "proxy", %error, "cannot wait for signals");
            return Exit::System;
        }
    };
    let mut supervisor = Supervisor {
        path: path.to_owned(),
        services: Services::new(inherited, shown_at.clone(), workers),
        shown_at,
        watch: None,
        inputs: sender,
        broken_since: None,
        failure: None,
        in_force_since: String::new(),
    };
    if let Err(error) = supervisor.put_in_force(config).await {
        tracing::error!(fault = "proxy", "{error}");
        return error.exit();
    }
    systemd::ready(&supervisor.status());
    if systemd::is_there() {
        input::tick(supervisor.inputs.clone(), systemd::tick_period());
    }
    supervisor.run(&mut inputs).await;
    supervisor.stop(&mut inputs).await;
    Exit::Ok
}

struct Supervisor {
    path: PathBuf,
    services: Services,
    shown_at: TraceHandle,
    watch: Option<Watch>,
    inputs: mpsc::Sender<Input>,
    /// Since when files of certificates and keys have not been pairs.
    broken_since: Option<Instant>,
    /// What was wrong the last time, so that the same is not said twice.
    failure: Option<String>,
    /// When the configuration in force was read.
    in_force_since: String,
}

/// Why there is a reload. Who asks for one is told what is wrong at once, and each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Signal,
    Files,
}

impl Supervisor {
    /// Until SIGTERM or SIGINT.
    async fn run(&mut self, inputs: &mut mpsc::Receiver<Input>) {
        while let Some(input) = inputs.recv().await {
            match input {
                Input::Reload => {
                    systemd::reloading();
                    self.reload_and_tell(Cause::Signal).await;
                    systemd::ready(&self.status());
                }
                Input::FilesChanged => {
                    self.reload_and_tell(Cause::Files).await;
                    systemd::alive(&self.status());
                }
                Input::Tick => systemd::alive(&self.status()),
                Input::Stop => return,
            }
        }
    }

    async fn reload_and_tell(&mut self, cause: Cause) {
        match self.reload().await {
            Ok(diff) => {
                self.broken_since = None;
                let was_broken = self.failure.take().is_some();
                if was_broken || !diff.is_empty() {
                    tracing::info!("configuration reloaded, changed: {diff}");
                } else {
                    tracing::debug!("the configuration is unchanged");
                }
            }
            Err(ReloadError::Config(problems))
                if cause == Cause::Files && problems.may_pass() && self.waits_for_renewal() =>
            {
                tracing::debug!("a certificate and its key are no pair yet: {problems}");
            }
            Err(error) => self.tell_failure(&error, cause),
        }
    }

    fn tell_failure(&mut self, error: &ReloadError, cause: Cause) {
        let failure = error.to_string();
        if cause == Cause::Signal || self.failure.as_ref() != Some(&failure) {
            let message = "configuration not reloaded, the old one stays in force";
            tracing::error!(fault = "proxy", "{message}: {failure}");
            self.failure = Some(failure);
        }
    }

    /// Whether a broken pair may still be one that is being renewed. If so, there will be another
    /// look at it.
    fn waits_for_renewal(&mut self) -> bool {
        if let Some(since) = self.broken_since {
            since.elapsed() < RENEWAL
        } else {
            self.broken_since = Some(Instant::now());
            let inputs = self.inputs.clone();
            tokio::spawn(async move {
                sleep(RENEWAL).await;
                let _ = inputs.send(Input::FilesChanged).await;
            });
            true
        }
    }

    /// Reads the config and puts it in force, as a whole or not at all.
    async fn reload(&mut self) -> Result<Diff, ReloadError> {
        let path = self.path.clone();
        if let Some(watch) = &mut self.watch {
            watch.rearm();
        }
        match tokio::task::spawn_blocking(move || config::load(&path)).await? {
            Ok(config) => self.put_in_force(config).await,
            Err(problems) => {
                // What it names may be what mends it.
                self.follow(problems.files());
                Err(problems.into())
            }
        }
    }

    async fn put_in_force(&mut self, config: Config) -> Result<Diff, ReloadError> {
        let files: Vec<_> = config.files().map(Path::to_owned).collect();
        let (watch, filter) = (config.watch.enabled, config.log.filter.clone());
        let warnings: Vec<_> = config.warnings().collect();
        let applied = self.services.apply(config).await;
        if applied.is_err() {
            self.follow(&files);
        }
        let diff = applied?;
        if !diff.is_empty() {
            self.in_force_since = now();
            for warning in warnings {
                tracing::warn!(fault = "proxy", "{warning}");
            }
        }
        if diff.daemon
            && let Err(error) = self.shown_at.set_filter(&filter)
        {
            tracing::error!(fault = "proxy", %error, "the log filter is not changed");
        }
        self.watch = match self.watch.take() {
            _ if !watch => None,
            Some(watch) => Some(watch),
            None => Watch::new(self.inputs.clone()).map_err(|error| {
                tracing::error!(fault = "proxy", %error, "cannot follow the config file: reload by SIGHUP");
            }).ok(),
        };
        self.follow(&files);
        Ok(diff)
    }

    /// Watches the config file and these, from now on.
    fn follow(&mut self, files: &[PathBuf]) {
        let Some(watch) = &mut self.watch else { return };
        let all = files.iter().map(PathBuf::as_path).chain([self.path.as_path()]);
        if watch.follow(all) {
            // A change before the watch began would have gone unseen: one more look. When the
            // channel is full, there is one to come anyway.
            let _ = self.inputs.try_send(Input::FilesChanged);
        }
    }

    /// Says goodbye to the sessions, those in the middle of a command when it is done.
    async fn stop(mut self, inputs: &mut mpsc::Receiver<Input>) {
        let sessions = self.services.sessions().clone();
        let status = format!("stopping, sessions to end: {}", sessions.len());
        systemd::stopping(&status, self.longest_stop());
        tracing::info!("{status}");
        self.services.close().await;
        let second_signal = async {
            while let Some(input) = inputs.recv().await {
                match input {
                    Input::Stop => return,
                    Input::Tick => {
                        systemd::alive(&format!("stopping, sessions to end: {}", sessions.len()));
                    }
                    Input::Reload | Input::FilesChanged => {}
                }
            }
        };
        tokio::select! {
            () = sessions.stop() => {}
            () = second_signal => tracing::warn!("stopped at once, sessions cut: {}", sessions.len()),
        }
    }

    /// How long the sessions may take to end.
    fn longest_stop(&self) -> Duration {
        let services = self.services.config().into_iter().flat_map(|config| &config.services);
        let longest = services.map(|service| service.timeouts.shutdown).max().unwrap_or_default();
        longest + session::GOODBYE + SPARE
    }

    /// For `systemctl status`.
    fn status(&self) -> String {
        let services = self.services.config().map_or(0, |config| config.services.len());
        let sessions = self.services.sessions().len();
        let configuration = match &self.failure {
            None => format!("configuration of {}", self.in_force_since),
            Some(failure) => {
                let first = failure.lines().next().unwrap_or_default();
                format!("RELOAD FAILED, configuration of {} stays: {first}", self.in_force_since)
            }
        };
        format!("services: {services}, sessions: {sessions}; {configuration}")
    }
}

/// UTC, to the second.
fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
