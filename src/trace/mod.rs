//! Everything that is seen: messages and the daemon's own log lines, in the journal or on stderr.
//!
//! All of it goes through one bounded queue to one writer thread, so that neither decoding for
//! display nor a stalled journal ever holds up a session. What does not fit is counted and told.
//! Secrets are taken out before anything enters the queue.
//!
//! Fields in the journal: `IMAP_SERVICE`, `IMAP_SESSION`, `IMAP_CLIENT`, `IMAP_CLIENT_SUBJECT` of
//! a client with a certificate, `IMAP_SERVER`, and `IMAP_USER` once known; of messages `IMAP_SEQ` (counts those that were dropped, too),
//! `IMAP_DIRECTION` (`client-to-server`, `server-to-client`, `client-to-proxy`, ...), `IMAP_TAG`,
//! `IMAP_COMMAND` or `IMAP_RESPONSE`, `IMAP_SIZE` in bytes,
//! `IMAP_COUNT` when several in a row are shown as one, and `IMAP_UNDECODED=1` when the codec
//! failed; of log lines `IMAP_FAULT` and `IMAP_ERROR`.

mod batch;
mod beginning;
mod capture;
mod command;
mod escape;
mod journal;
mod layer;
mod login;
mod losses;
mod queue;
mod record;
mod redact;
mod render;
mod response;
mod run;
mod sasl;
mod secrets;
mod seen;
mod session_id;
mod sink;
mod subject;
mod tap;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use std::{
    env, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::{ParseError, filter_fn},
    layer::SubscriberExt,
    registry, reload,
};

pub use self::{
    batch::{gather, hand_over, note_turn},
    seen::SessionContext,
    session_id::SessionId,
    subject::client_subject,
    tap::SessionTap,
};
use self::{
    layer::Capturing,
    queue::Queue,
    sink::{Lines, Sink},
};
use crate::config::log_filter;

/// What may wait for the writer: a burst such as the answer to `FETCH 1:* (FLAGS)` of a large mailbox.
const MAX_ITEMS: usize = 65_536;
/// The same in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// For what is still queued when the daemon ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why nothing can be shown.
#[derive(Debug, Error)]
pub enum StartError {
    /// The filter is none.
    #[error("invalid log filter: {0}")]
    Filter(#[from] ParseError),
    /// There is a global `tracing` subscriber already.
    #[error("logging was started before")]
    Already,
    /// The writer's thread could not be started.
    #[error("cannot start the log writer: {0}")]
    Thread(#[from] io::Error),
}

/// Keeps the writer alive. When dropped, what is queued is written, for two seconds at most.
#[derive(Debug)]
pub struct Guard {
    handle: TraceHandle,
    writer: Option<JoinHandle<()>>,
}

/// Where sessions leave what they saw.
#[derive(Clone)]
pub struct TraceHandle {
    queue: Arc<Queue>,
    /// `None` when nobody may change it.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

/// Starts the log, once per process: to the journal when stderr is connected to it, else to
/// stderr.
///
/// `filter` is a `tracing` filter such as `info` or `imap_proxy::session=debug`; a valid `RUST_LOG`
/// goes before it. It chooses among this crate's own log lines only: what other crates say may
/// hold passwords and is never shown. Traces of messages do not depend on it.
pub fn start(filter: &str) -> Result<Guard, StartError> {
    let configured = EnvFilter::try_new(filter)?;
    let rust_log = env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.is_empty());
    let (filter, complaint) = match rust_log.as_deref().map(log_filter) {
        Some(Ok(filter)) => (Some(filter), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let changeable = filter.is_none();
    let (filter, changer) = reload::Layer::new(filter.unwrap_or(configured));

    let mut guard = Guard::write_to(sink::of_the_process())?;
    let subscriber = registry()
        .with(filter)
        .with(filter_fn(|meta| is_ours(meta.target())))
        .with(Capturing(Arc::clone(&guard.handle.queue)));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| StartError::Already)?;
    guard.handle.filter = changeable.then_some(changer);
    if let Some(error) = complaint {
        tracing::warn!(%error, "RUST_LOG is ignored");
    }
    Ok(guard)
}

/// Writes traces of messages as lines to `out`, without a log: for tests and tools.
pub fn start_to(out: impl io::Write + Send + 'static) -> Result<Guard, StartError> {
    Ok(Guard::write_to(Box::new(Lines::to(out)))?)
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix("imap_proxy").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Guard {
    /// For the taps of sessions.
    pub fn handle(&self) -> TraceHandle {
        self.handle.clone()
    }

    fn write_to(mut sink: Box<dyn Sink>) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(MAX_ITEMS, MAX_BYTES));
        let handle = TraceHandle { queue: Arc::clone(&queue), filter: None };
        let run = move || writer::run(&queue, sink.as_mut());
        let writer = thread::Builder::new().name("log".to_owned()).spawn(run)?;
        Ok(Self { handle, writer: Some(writer) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A writer that is stuck is left behind.
        if self.handle.queue.close(PATIENCE)
            && let Some(writer) = self.writer.take()
        {
            let _ = writer.join();
        }
    }
}

impl TraceHandle {
    /// Replaces the filter of the log, unless `RUST_LOG` is in force.
    pub fn set_filter(&self, filter: &str) -> Result<(), ParseError> {
        let filter = EnvFilter::try_new(filter)?;
        if let Some(changer) = &self.filter {
            // Fails only when the subscriber is gone, and the log with it.
            let _ = changer.reload(filter);
        }
        Ok(())
    }
}

impl std::fmt::Debug for TraceHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceHandle").finish_non_exhaustive()
    }
}
