//! From the start of the daemon to `READY=1`, by the number of its services.
//!
//! Rounds of all cases in turn, then a table of medians. With `--test` one round, to see that it
//! works.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench that panics is a bench that fails, and what it measured is to be seen"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    env, fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{
    bench::{
        Encryption::{self, Insecure, Tls},
        service_to,
    },
    certs::certs,
    proxy::DEADLINE,
};
use tempfile::TempDir;

const ROUNDS: usize = 21;

fn main() {
    let rounds = if env::args().any(|argument| argument == "--test") { 1 } else { ROUNDS };
    let mut cases =
        vec![("as shipped".to_owned(), include_str!("../config.toml").to_owned(), vec![])];
    for count in [1, 100, 1000] {
        for (what, bind, connect) in [
            ("plain", Insecure, Insecure),
            ("TLS to plain", Tls, Insecure),
            ("TLS to TLS", Tls, Tls),
        ] {
            cases.push((format!("{count}, {what}"), services(count, bind, connect), vec![]));
        }
    }
    for _ in 0..rounds {
        for (_, config, times) in &mut cases {
            times.push(start(config));
        }
    }
    println!("| services | median ms | least | most |\n| --- | ---: | ---: | ---: |");
    for (name, _, mut times) in cases {
        times.sort_unstable();
        let [median, least, most] = [times.len() / 2, 0, times.len() - 1]
            .map(|at| times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0));
        println!("| {name} | {median:.1} | {least:.1} | {most:.1} |");
    }
}

/// A config of so many services, each on a port of its own.
fn services(count: usize, bind: Encryption, connect: Encryption) -> String {
    (0..count).map(|number| service_to(&number.to_string(), bind, connect, 143, "")).collect()
}

/// How long the daemon takes until it says that it is ready, in systemd's ears.
fn start(config: &str) -> Duration {
    let dir = TempDir::new().expect("a temporary folder");
    certs().copy_to(dir.path());
    let (path, socket) = (dir.path().join("config.toml"), dir.path().join("notify"));
    fs::write(&path, config).expect("config written");
    let notify = UnixDatagram::bind(&socket).expect("a socket");
    notify.set_read_timeout(Some(DEADLINE)).expect("a deadline");

    let started = Instant::now();
    let mut daemon = daemon(&path, &socket).spawn().expect("the daemon starts");
    let mut told = [0; 4096];
    while !notify
        .recv(&mut told)
        .map(|length| told.get(..length))
        .expect("READY=1")
        .is_some_and(|told| told.split(|byte| *byte == b'\n').any(|line| line == b"READY=1"))
    {}
    let took = started.elapsed();
    daemon.kill().and_then(|()| daemon.wait()).expect("it ends");
    took
}

/// With nothing of a systemd that may run this.
fn daemon(config: &Path, notify: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imap-proxy"));
    command.arg("--config").arg(config).env_clear().env("NOTIFY_SOCKET", notify);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}
