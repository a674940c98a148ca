//! What is measured: one row of the table each.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::ValueEnum;
use rustls::client::Resumption;

use crate::{
    client::{Client, Target},
    drive::drive,
    idle::memory,
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

    /// Of what is done in a CPU second.
    pub fn per_cpu(self) -> (&'static str, f64) {
        match self {
            Self::Megabytes => ("GB", 1e9),
            _ => ("thousands", 1e3),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Megabytes => "MB/s",
            Self::Commands | Self::Sessions => "per second",
            Self::Microseconds => "median in us",
            Self::Kilobytes => "KB",
        })
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
            Self::Memory => "memory of an idle session",
            Self::Fetch => "FETCH 1 MiB bodies",
            Self::Flags => "FETCH 1:10000 (UID FLAGS)",
            Self::Envelope => "FETCH ENVELOPE BODYSTRUCTURE",
            Self::Append => "APPEND 1 MiB (LITERAL+)",
            Self::Noop => "NOOP, 1 session",
            Self::Noop50 => "NOOP, 50 sessions",
            Self::Connect => "connect, LOGIN, LOGOUT",
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

impl Sample {
    /// How much was done in a CPU second of the proxy.
    pub fn per_cpu(&self) -> Option<f64> {
        self.cpu.map(|(cpu, amount)| amount / cpu.as_secs_f64())
    }
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
