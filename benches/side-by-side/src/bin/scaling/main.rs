//! How imap-proxy does with more and more sessions, and with more and more services: see
//! `benches/README.md`.

mod plot;
mod services;
mod sessions;
mod stub_process;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use side_by_side::proxies::Builds;

/// Measures imap-proxy with more and more sessions and services; writes tables and pictures of it
#[derive(Parser)]
struct Cli {
    /// The folder for them
    #[arg(long, value_name = "PATH", default_value = "benches/pictures")]
    out: PathBuf,
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

fn main() -> Result<()> {
    let cli = Cli::parse();
    if cli.serve {
        return stub_process::serve();
    }
    let builds = Builds::new(cli.imap_proxy, None)?;
    fs::create_dir_all(&cli.out).with_context(|| cli.out.display().to_string())?;
    sessions::scale(&builds, cli.quick)?.save(&cli.out)?;
    services::scale(&builds, cli.quick)?.save(&cli.out)
}
