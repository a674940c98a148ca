//! Brings the services up, and down again.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use thiserror::Error;
use tokio::{runtime, time::timeout};
use tokio_stream::StreamExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{self, Config},
    exit::Exit,
    service::{self, Service},
    tls::{RootsError, SystemRoots},
    trace::{self, TraceHandle},
};

/// How long sessions may take to say goodbye.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Why the daemon does not run.
#[derive(Debug, Error)]
enum StartError {
    #[error("service \"{service}\": {error}")]
    Roots { service: Arc<str>, error: RootsError },
    #[error("service \"{service}\" cannot listen on {address}: {error}")]
    Bind { service: Arc<str>, address: String, error: io::Error },
    #[error("the system does not let the proxy run: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    fn exit(&self) -> Exit {
        match self {
            Self::Roots { .. } => Exit::Config,
            Self::Bind { .. } | Self::System(_) => Exit::System,
        }
    }
}

/// Runs the daemon with this config file until SIGTERM or SIGINT.
pub fn run(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return complain(&problems, Exit::Config),
    };
    let log = match trace::start(&config.log.filter) {
        Ok(log) => log,
        Err(error) => return complain(&error, Exit::Software),
    };
    let result = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::from)
        .and_then(|runtime| runtime.block_on(supervise(&config, &log.handle())));
    match result {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            tracing::error!(fault = "proxy", "{error}");
            error.exit().into()
        }
    }
}

/// Says what is wrong while there is no log to say it.
fn complain(problem: &dyn std::fmt::Display, exit: Exit) -> ExitCode {
    // Nobody left to tell when this fails.
    let _ = writeln!(io::stderr(), "{problem}");
    exit.into()
}

async fn supervise(config: &Config, shown_at: &TraceHandle) -> Result<(), StartError> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let services = bind_all(config, shown_at).await?;
    let (listeners, sessions) = (TaskTracker::new(), TaskTracker::new());
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    for (service, config) in services.into_iter().zip(&config.services) {
        tracing::info!(imap.service = %config.name, "listening on {} ({config})", service.address);
        listeners.spawn(service.run(sessions.clone(), stop.clone(), cut.clone()));
    }
    // Without systemd there is nobody to notify.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    signals.next().await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("shutting down");
    stop.cancel();
    listeners.close();
    listeners.wait().await;
    cut.cancel();
    sessions.close();
    tokio::select! {
        ended = timeout(SHUTDOWN, sessions.wait()) => if ended.is_err() {
            tracing::warn!("{} sessions did not end in time", sessions.len());
        },
        _ = signals.next() => tracing::warn!("stopped at once: {} sessions are cut", sessions.len()),
    }
    Ok(())
}

/// Makes all services ready, or none.
async fn bind_all(config: &Config, shown_at: &TraceHandle) -> Result<Vec<Service>, StartError> {
    let roots = if config.services.iter().any(|service| service.connect.tls.is_some()) {
        SystemRoots::load()
    } else {
        SystemRoots::none()
    };
    for problem in &roots.problems {
        tracing::warn!(fault = "proxy", "the system's CA certificates: {problem}");
    }
    let mut services = Vec::new();
    for config in &config.services {
        let setup = service::setup(config, &roots, shown_at.clone())
            .map_err(|error| StartError::Roots { service: Arc::clone(&config.name), error })?;
        let service =
            Service::bind(config, Arc::new(setup)).await.map_err(|error| StartError::Bind {
                service: Arc::clone(&config.name),
                address: config.bind.address.to_string(),
                error,
            })?;
        services.push(service);
    }
    Ok(services)
}
