//! What is measured: one row of the table each.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use rustls::client::Resumption;

use crate::{
    client::{Client, Target},
    mail::{FETCH_BODIES, FETCH_ENVELOPES, FETCH_FLAGS, MESSAGE},
    usage::Tree,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Row {
    /// Memory of idle sessions
    Memory,
    /// FETCH of bodies of 1 MiB, 2 sessions
    Fetch,
    /// FETCH 1:10000 (UID FLAGS), 2 sessions
    Flags,
    /// FETCH of ENVELOPE and BODYSTRUCTURE, 2 sessions
    Envelope,
    /// APPEND of 1 MiB with LITERAL+, 2 sessions
    Append,
    /// NOOP, 1 session
    Noop,
    /// NOOP, 50 sessions
    Noop50,
    /// Connect, LOGIN, LOGOUT, 8 at once
    Connect,
    /// The same, with TLS session tickets
    Resume,
}

/// How the numbers of a row are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Megabytes,
    Commands,
    Microseconds,
    Sessions,
    Kilobytes,
}

impl Unit {
    pub fn smaller_is_better(self) -> bool {
        matches!(self, Self::Microseconds | Self::Kilobytes)
    }
}

impl Row {
    pub fn unit(self) -> Unit {
        match self {
            Self::Memory => Unit::Kilobytes,
            Self::Fetch | Self::Flags | Self::Envelope | Self::Append => Unit::Megabytes,
            Self::Noop => Unit::Microseconds,
            Self::Noop50 => Unit::Commands,
            Self::Connect | Self::Resume => Unit::Sessions,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory per idle session, KB",
            Self::Fetch => "FETCH 1 MiB bodies, MB/s",
            Self::Flags => "FETCH 1:10000 (UID FLAGS), MB/s",
            Self::Envelope => "ENVELOPE + BODYSTRUCTURE, MB/s",
            Self::Append => "APPEND 1 MiB (LITERAL+), MB/s",
            Self::Noop => "NOOP, 1 session, p50, us",
            Self::Noop50 => "NOOP, 50 sessions, per second",
            Self::Connect => "connect, LOGIN, LOGOUT per second",
            Self::Resume => "the same with session tickets",
        })
    }
}

/// What came out.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// In the row's unit.
    pub value: f64,
    /// CPU time that the proxy took, and how much (bytes, commands, sessions) was done in it.
    pub cpu: Option<(Duration, f64)>,
}

/// How much to do.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Of each timed row.
    pub time: Duration,
    /// Idle sessions.
    pub idle: usize,
}

impl Row {
    pub fn measure(self, target: &Target, proxy: Option<Tree>, effort: Effort) -> Result<Sample> {
        let transfer = |exchange: fn(&mut Client) -> Result<usize>| {
            drive(2, effort.time, proxy, || {
                let mut client = Client::log_in(target, None)?;
                client.command("SELECT INBOX")?;
                Ok(move || exchange(&mut client))
            })
        };
        let noops = |sessions| {
            drive(sessions, effort.time, proxy, || {
                let mut client = Client::log_in(target, None)?;
                Ok(move || client.command("NOOP").map(|()| 1))
            })
        };
        let sessions = |target: &Target| {
            drive(8, effort.time, proxy, || {
                let target = target.clone();
                Ok(move || Client::log_in(&target, None)?.log_out().map(|()| 1))
            })
        };
        Ok(match self {
            Self::Memory => {
                let proxy = proxy.context("nothing to measure")?;
                Sample { value: memory(target, proxy, effort.idle)?, cpu: None }
            }
            Self::Fetch => transfer(|client| client.fetch(&FETCH_BODIES))?.rate(1e6),
            Self::Flags => transfer(|client| client.fetch(&FETCH_FLAGS))?.rate(1e6),
            Self::Envelope => transfer(|client| client.fetch(&FETCH_ENVELOPES))?.rate(1e6),
            Self::Append => transfer(|client| client.append(&MESSAGE))?.rate(1e6),
            Self::Noop => noops(1)?.median(),
            Self::Noop50 => noops(50)?.rate(1.0),
            Self::Connect => sessions(target)?.rate(1.0),
            Self::Resume => {
                let mut config = target.tls.as_deref().context("only with TLS")?.clone();
                config.resumption = Resumption::in_memory_sessions(64);
                sessions(&Target { tls: Some(Arc::new(config)), ..target.clone() })?.rate(1.0)
            }
        })
    }
}

/// What some workers did together.
struct Work {
    elapsed: Duration,
    cpu: Option<Duration>,
    amount: usize,
    /// How long each step took.
    times: Vec<Duration>,
}

impl Work {
    /// As much a second, divided.
    fn rate(self, divisor: f64) -> Sample {
        let value = self.amount() / self.elapsed.as_secs_f64() / divisor;
        Sample { value, cpu: self.cpu.map(|cpu| (cpu, self.amount())) }
    }

    /// The median of the steps' times, in microseconds.
    fn median(mut self) -> Sample {
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
fn drive<W>(
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

/// Kilobytes for each idle session, after some others have paid for what all share.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn memory(target: &Target, proxy: Tree, sessions: usize) -> Result<f64> {
    const OTHERS: usize = 50;
    let others = gather(target, 0..OTHERS)?;
    let before = proxy.memory()?;
    let clients = gather(target, OTHERS..OTHERS + sessions)?;
    let after = proxy.memory()?;
    for mut client in others.into_iter().chain(clients) {
        client.command("NOOP").context("a session was not idle but gone")?;
    }
    Ok((after as f64 - before as f64) / 1000.0 / sessions as f64)
}

/// Logs in so many, from several addresses: some proxies bound the sessions of each.
fn gather(target: &Target, which: std::ops::Range<usize>) -> Result<Vec<Client>> {
    const EACH: usize = 50;
    const AT_ONCE: usize = 8;
    let which = which.collect::<Vec<_>>();
    let log_in = |n: &usize| {
        let [.., high, low] = (n / EACH).to_be_bytes();
        Client::log_in(target, Some(Ipv4Addr::new(127, 1, high, low)))
    };
    thread::scope(|scope| {
        let size = which.len().div_ceil(AT_ONCE).max(1);
        let threads = which
            .chunks(size)
            .map(|part| scope.spawn(move || part.iter().map(log_in).collect::<Result<Vec<_>>>()))
            .collect::<Vec<_>>();
        let mut clients = Vec::new();
        for thread in threads {
            clients.extend(thread.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked")))?);
        }
        Ok(clients)
    })
}
