//! How imap-proxy does with more and more sessions, and with more and more services: see
//! `benches/README.md`.

mod plot;
mod services;
mod sessions;
mod stub_process;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use side_by_side::proxies::Builds;

/// Measures imap-proxy with more and more sessions and services; writes tables and pictures of it
#[derive(Parser)]
struct Cli {
    /// The folder for them
    #[arg(long, value_name = "PATH", default_value = "benches/pictures")]
    out: PathBuf,
    /// Only one of the two
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Seconds to watch idle sessions at each step, and to count log-ins
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Up to 30 sessions and 3 services, and shorter: shows that it works
    #[arg(long)]
    quick: bool,
    /// The program to measure; when left out, the one beside this one
    #[arg(long, value_name = "PATH")]
    imap_proxy: Option<PathBuf>,
    /// Is the server: what this program starts, so that each of the two has files enough
    #[arg(long, hide = true)]
    serve: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// More and more idle sessions
    Sessions,
    /// More and more services
    Services,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if cli.serve {
        return stub_process::serve();
    }
    let builds = Builds::new(cli.imap_proxy, None)?;
    fs::create_dir_all(&cli.out).with_context(|| cli.out.display().to_string())?;
    if cli.only != Some(Part::Services) {
        let seconds = if cli.quick { 0.1 } else { cli.seconds };
        let time = Duration::from_secs_f64(seconds);
        sessions::scale(&builds, cli.quick, time)?.save(&cli.out)?;
    }
    if cli.only != Some(Part::Sessions) {
        services::scale(&builds, cli.quick)?.save(&cli.out)?;
    }
    Ok(())
}
