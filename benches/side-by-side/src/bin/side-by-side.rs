//! Measures imap-proxy beside other proxies, all in front of the same server: see
//! `benches/README.md`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use side_by_side::{
    Encryption,
    client::Target,
    proxies::{Builds, Proxy, Running},
    rows::{Effort, Row},
    stub::Stub,
    table::{Cell, Results},
    tls,
};

/// Measures imap-proxy beside other proxies
#[derive(Parser)]
struct Cli {
    /// Rows to measure; all when left out
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Proxies to measure. When left out: those up to full, and another build's if there is one
    #[arg(long, value_enum, value_delimiter = ',')]
    proxies: Vec<Proxy>,
    /// Proxies to leave out
    #[arg(long, value_enum, value_delimiter = ',')]
    without: Vec<Proxy>,
    /// Only without TLS, or only with TLS on the client's side
    #[arg(long, value_enum)]
    only: Option<Encryption>,
    /// How often to measure each
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds for each timed row
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Idle sessions, for their memory
    #[arg(long, default_value_t = 1000)]
    idle: usize,
    /// One round of 0.1 s each and of 50 idle sessions: shows that it works, says nothing of speed
    #[arg(long)]
    quick: bool,
    /// The program to measure; when left out, the one beside this one
    #[arg(long, value_name = "PATH")]
    imap_proxy: Option<PathBuf>,
    /// Another build to measure beside it
    #[arg(long, value_name = "PATH")]
    other: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let started = Instant::now();
    let plan = Plan::new(cli)?;
    let mut results = Results::default();
    for round in 1..=plan.rounds {
        for encryption in plan.encryptions() {
            eprintln!("round {round} of {}, {encryption:?}", plan.rounds);
            plan.round(round, encryption, &mut results)?;
        }
    }
    print!("{results}");
    println!("\nIt took {:.0} s.", started.elapsed().as_secs_f64());
    Ok(if results.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Plan {
    rows: Vec<Row>,
    proxies: Vec<Proxy>,
    only: Option<Encryption>,
    rounds: usize,
    effort: Effort,
    builds: Builds,
    stub: Stub,
}

impl Plan {
    fn new(cli: Cli) -> Result<Self> {
        let builds = Builds::new(cli.imap_proxy, cli.other)?;
        let of = |all: &[Proxy]| -> Vec<Proxy> {
            all.iter()
                .copied()
                .filter(|proxy| *proxy <= Proxy::Full || builds.other.is_some())
                .collect()
        };
        let mut proxies =
            if cli.proxies.is_empty() { of(Proxy::value_variants()) } else { cli.proxies };
        proxies.retain(|proxy| !cli.without.contains(proxy));
        proxies.sort_unstable();
        let mut rows = if cli.rows.is_empty() { Row::value_variants().into() } else { cli.rows };
        // Memory first: what the other rows leave behind would count as free.
        rows.sort_unstable();
        let effort = if cli.quick {
            Effort { time: Duration::from_millis(100), idle: 50 }
        } else {
            Effort { time: Duration::from_secs_f64(cli.seconds), idle: cli.idle }
        };
        Ok(Self {
            rows,
            proxies,
            only: cli.only,
            rounds: if cli.quick { 1 } else { cli.rounds },
            effort,
            builds,
            stub: Stub::start()?,
        })
    }

    fn encryptions(&self) -> impl Iterator<Item = Encryption> + use<> {
        let only = self.only;
        let wanted = move |encryption: &Encryption| only.is_none_or(|only| only == *encryption);
        [Encryption::Plain, Encryption::Tls].into_iter().filter(wanted)
    }

    /// Starts all proxies, and measures each row with one after the other, so that a bad moment of
    /// the machine is bad for all of them.
    fn round(&self, round: usize, encryption: Encryption, results: &mut Results) -> Result<()> {
        let dir = tls::folder()?;
        let config = Arc::new(tls::identity(dir.path())?);
        let target = Target {
            address: self.stub.imap,
            tls: (encryption == Encryption::Tls).then(|| config.clone()),
        };
        let mut running = BTreeMap::<Proxy, Running>::new();
        for proxy in self.proxies.iter().copied() {
            if self.rows.iter().any(|row| proxy.has(encryption, *row)) {
                match proxy.start(dir.path(), &self.builds, self.stub, target.clone()) {
                    Ok(started) => drop(running.insert(proxy, started)),
                    Err(error) => results.fail(&error),
                }
            }
        }
        for row in self.rows.iter().copied() {
            for (&proxy, running) in running.iter().filter(|(proxy, _)| proxy.has(encryption, row))
            {
                running.unseen();
                let cell = Cell { encryption, row, proxy };
                let sample = row.measure(&running.target, running.tree(), self.effort);
                match sample.with_context(|| cell.to_string()) {
                    Ok(sample) => results.add(cell, round, sample, running.unseen()),
                    Err(error) => results.fail(&error),
                }
            }
        }
        Ok(())
    }
}
