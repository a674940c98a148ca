//! The threads that sessions live on.

use std::{future::pending, io, sync::Arc, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::trace;

/// Names of servers that are looked up at once, on threads of their own, by all workers together.
const LOOKUPS: usize = 512;

/// One thread for each core, and each with a runtime of its own. A session stays where it began: what
/// wakes it takes no lock of other threads, and no other thread is woken to look for work.
#[derive(Clone, Debug)]
pub struct Workers(Arc<[Worker]>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) runtime: Handle,
    /// Asks its sessions to end. One of its own, for each session asks it with each of its turns.
    pub(super) stop: CancellationToken,
}

impl Workers {
    /// As many as the process may use cores. They end with the process.
    pub fn start() -> io::Result<Self> {
        Self::start_some(thread::available_parallelism()?.get())
    }

    pub(super) fn start_some(count: usize) -> io::Result<Self> {
        let lookups = LOOKUPS.div_ceil(count);
        (1..=count).map(|number| start(number, lookups)).collect::<io::Result<_>>().map(Self)
    }

    /// The one with the fewest sessions, accept loops included.
    pub(super) fn least_busy(&self) -> &Worker {
        let busy = |worker: &&Worker| worker.runtime.metrics().num_alive_tasks();
        self.0.iter().min_by_key(busy).unwrap_or_else(|| unreachable!("there is always one core"))
    }

    /// Asks all sessions to end.
    pub(super) fn stop(&self) {
        self.0.iter().for_each(|worker| worker.stop.cancel());
    }
}

fn start(number: usize, lookups: usize) -> io::Result<Worker> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(lookups)
        .on_thread_park(trace::hand_over)
        .build()?;
    let worker = Worker { runtime: runtime.handle().clone(), stop: CancellationToken::new() };
    let name = format!("sessions-{number}");
    thread::Builder::new().name(name).spawn(move || {
        trace::gather();
        runtime.block_on(pending::<()>());
    })?;
    Ok(worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share() {
        let workers = Workers::start_some(3).unwrap();
        for _ in 0..7 {
            workers.least_busy().runtime.spawn(pending::<()>());
        }
        let mut shares: Vec<_> =
            workers.0.iter().map(|worker| worker.runtime.metrics().num_alive_tasks()).collect();
        shares.sort_unstable();
        assert_eq!(shares, [2, 2, 3]);
    }
}
