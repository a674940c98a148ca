//! What a proxy holds of the system: files, threads, memory.

use std::{
    thread,
    time::{Duration, Instant},
};

use procfs::process::Process;

use super::proxy::Proxy;

/// At one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Open files, sockets among them.
    pub files: usize,
    /// Threads.
    pub threads: u64,
    /// Resident memory (KiB).
    pub memory: u64,
}

impl Holds {
    /// Of a running proxy.
    pub fn of(proxy: &Proxy) -> Self {
        let process = Process::new(proxy.pid().try_into().expect("a pid")).expect("it runs");
        let status = process.status().expect("its status");
        Self {
            files: process.fd_count().expect("its files"),
            threads: status.threads,
            memory: status.vmrss.expect("memory"),
        }
    }

    /// Waits until the proxy holds no more files than at this moment. Returns what it holds then.
    #[track_caller]
    pub fn come_back(&self, proxy: &Proxy, patience: Duration) -> Self {
        let started = Instant::now();
        loop {
            let now = Self::of(proxy);
            if now.files <= self.files {
                return now;
            }
            assert!(started.elapsed() < patience, "it began with {self:?} and has {now:?}");
            // /proc tells nobody of changes.
            thread::sleep(Duration::from_millis(20));
        }
    }
}
