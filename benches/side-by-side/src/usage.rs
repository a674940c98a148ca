//! What a proxy takes: CPU time and memory of its process and of all processes below.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{time::ClockId, unistd::Pid};
use procfs::process::{Process, Stat, all_processes};

/// A process and all below.
#[derive(Clone, Copy)]
pub struct Tree(pub u32);

impl Tree {
    /// CPU time since the start, of user and system, to the nanosecond.
    pub fn cpu(self) -> Result<Duration> {
        let mut total = Duration::ZERO;
        for stat in self.stats()? {
            // A process that ends in between is counted below with its parent.
            if let Ok(clock) = ClockId::pid_cpu_clock_id(Pid::from_raw(stat.pid))
                && let Ok(time) = clock.now()
            {
                total += Duration::from(time);
            }
            // Of children that ended and were waited for. In clock ticks.
            let ended = u64::try_from(stat.cutime + stat.cstime).unwrap_or_default();
            total += Duration::from_secs(ended) / u32::try_from(procfs::ticks_per_second())?;
        }
        Ok(total)
    }

    /// Bytes of memory, each shared page in equal parts (PSS). Waits until it does not change for a
    /// moment: some give back memory later.
    pub fn memory(self) -> Result<u64> {
        const MOMENT: Duration = Duration::from_millis(300);
        const LONGEST: Duration = Duration::from_secs(5);
        let started = Instant::now();
        let mut last = self.memory_now()?;
        loop {
            thread::sleep(MOMENT);
            let now = self.memory_now()?;
            if now == last || started.elapsed() > LONGEST {
                return Ok(now);
            }
            last = now;
        }
    }

    /// How often any of the threads has gone to sleep so far: each wakeup ends with that.
    pub fn sleeps(self) -> Result<u64> {
        let mut total = 0;
        for stat in self.stats()? {
            // A thread that ends in between sleeps no more.
            for task in Process::new(stat.pid)?.tasks()?.flatten() {
                let status = task.status().ok().and_then(|status| status.voluntary_ctxt_switches);
                total += status.unwrap_or_default();
            }
        }
        Ok(total)
    }

    fn memory_now(self) -> Result<u64> {
        let mut total = 0;
        for stat in self.stats()? {
            let rollup = Process::new(stat.pid).and_then(|process| process.smaps_rollup());
            let rollup = rollup.with_context(|| format!("the memory of process {}", stat.pid))?;
            let maps = rollup.memory_map_rollup.iter();
            total += maps.filter_map(|map| map.extension.map.get("Pss")).sum::<u64>();
        }
        Ok(total)
    }

    fn stats(self) -> Result<Vec<Stat>> {
        let root = i32::try_from(self.0)?;
        let mut children = HashMap::<i32, Vec<Stat>>::new();
        let mut found = vec![Process::new(root)?.stat()?];
        // One that ends meanwhile is none.
        for stat in all_processes()?.flatten().filter_map(|process| process.stat().ok()) {
            children.entry(stat.ppid).or_default().push(stat);
        }
        let mut next = 0;
        while let Some(stat) = found.get(next) {
            found.extend(children.remove(&stat.pid).unwrap_or_default());
            next += 1;
        }
        Ok(found)
    }
}
