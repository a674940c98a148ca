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

    /// How often each thread has gone to sleep so far: each wakeup ends with that.
    pub fn sleeps(self) -> Result<HashMap<i32, u64>> {
        let mut sleeps = HashMap::new();
        for stat in self.stats()? {
            // A thread that ends in between sleeps no more.
            for task in Process::new(stat.pid)?.tasks()?.flatten() {
                let status = task.status().ok().and_then(|status| status.voluntary_ctxt_switches);
                sleeps.insert(task.tid, status.unwrap_or_default());
            }
        }
        Ok(sleeps)
    }

    /// How often any thread woke up since then. One that has ended did so at least once.
    pub fn wakeups_since(self, before: &HashMap<i32, u64>) -> Result<u64> {
        let now = self.sleeps()?;
        let ended = before.keys().filter(|thread| !now.contains_key(thread)).count();
        let woken = now.iter().map(|(thread, sleeps)| {
            sleeps.saturating_sub(before.get(thread).copied().unwrap_or_default())
        });
        Ok(woken.sum::<u64>() + u64::try_from(ended)?)
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

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;

    const TREE: fn() -> Tree = || Tree(process::id());

    #[test]
    fn cpu_time_of_children_counts_while_they_live_and_later() -> Result<()> {
        let before = TREE().cpu()?;
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn()?;
        let child = Tree(busy.id());
        // Several clock ticks, of which the time of ended children is counted.
        let enough = Duration::from_millis(100);
        while child.cpu()? < enough {
            thread::yield_now();
        }
        let living = TREE().cpu()?.saturating_sub(before);
        busy.kill()?;
        busy.wait()?;
        let ended = TREE().cpu()?.saturating_sub(before);
        assert!(living >= enough / 2 && ended >= enough / 2, "{living:?}, then {ended:?}");
        Ok(())
    }

    #[test]
    fn memory_counts_once_it_is_used() -> Result<()> {
        const SIZE: usize = 64 * 1024 * 1024;
        let before = TREE().memory_now()?;
        let used = vec![1_u8; SIZE];
        let after = TREE().memory_now()?;
        assert!(after > before + SIZE as u64 / 2, "{before}, then {after}, {}", used.len());
        Ok(())
    }

    #[test]
    fn wakeups_count_even_of_threads_that_end() -> Result<()> {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || gone.recv());
        let before = TREE().sleeps()?;
        drop(go);
        drop(thread.join());
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(1));
        }
        let woken = TREE().wakeups_since(&before)?;
        assert!(woken >= 11, "{woken}");
        Ok(())
    }
}
