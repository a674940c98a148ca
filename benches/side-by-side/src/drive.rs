//! Workers that do the same again and again for a while, and what they got done.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::{rows::Sample, usage::Tree};

/// What some workers did together.
pub struct Work {
    elapsed: Duration,
    cpu: Option<Duration>,
    amount: usize,
    /// How long each step took.
    times: Vec<Duration>,
}

impl Work {
    /// As much a second, divided.
    pub fn rate(self, divisor: f64) -> Sample {
        let value = self.amount() / self.elapsed.as_secs_f64() / divisor;
        Sample { value, cpu: self.cpu.map(|cpu| (cpu, self.amount())) }
    }

    /// The median of the steps' times, in microseconds.
    pub fn median(mut self) -> Sample {
        let middle = self.times.len() / 2;
        let (_, median, _) = self.times.select_nth_unstable(middle);
        let value = median.as_secs_f64() * 1e6;
        Sample { value, cpu: self.cpu.map(|cpu| (cpu, self.amount())) }
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn amount(&self) -> f64 {
        self.amount as f64
    }
}

/// Has some workers do their steps for so long. The first step of each is not counted.
pub fn drive<W>(
    workers: usize,
    time: Duration,
    proxy: Option<Tree>,
    prepare: impl Fn() -> Result<W> + Sync,
) -> Result<Work>
where
    W: FnMut() -> Result<usize>,
{
    let (ready, go) = (Barrier::new(workers + 1), Barrier::new(workers + 1));
    let over = AtomicBool::new(false);
    let worker = || -> Result<(usize, Vec<Duration>)> {
        let prepared = prepare().and_then(|mut step| step().map(|_| step));
        ready.wait();
        go.wait();
        let (mut step, mut amount, mut times) = (prepared?, 0, Vec::new());
        while times.is_empty() || !over.load(Ordering::Relaxed) {
            let started = Instant::now();
            amount += step()?;
            times.push(started.elapsed());
        }
        Ok((amount, times))
    };
    thread::scope(|scope| {
        let threads = (0..workers).map(|_| scope.spawn(worker)).collect::<Vec<_>>();
        ready.wait();
        let before = proxy.map(Tree::cpu);
        let started = Instant::now();
        go.wait();
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let done = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked"))));
        let done = done.collect::<Vec<_>>();
        let elapsed = started.elapsed();
        let cpu = match (before, proxy.map(Tree::cpu)) {
            (Some(before), Some(after)) => Some(after?.saturating_sub(before?)),
            _ => None,
        };
        let mut work = Work { elapsed, cpu, amount: 0, times: Vec::new() };
        for result in done {
            let (amount, times) = result?;
            work.amount += amount;
            work.times.extend(times);
        }
        Ok(work)
    })
}
