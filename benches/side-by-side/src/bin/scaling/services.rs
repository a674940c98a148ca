//! More and more services in one config file.

use std::{
    fmt::Write as _,
    fs, iter,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use side_by_side::{
    proxies::Builds,
    tls::{self, CHAIN, KEY},
    usage::Tree,
};
use tempfile::TempDir;

use crate::plot::{Report, Table};

/// A proxy with so many services.
struct Point {
    services: usize,
    /// Milliseconds from the start of the process to READY=1.
    start: f64,
    /// Milliseconds from SIGHUP to READY=1, when one service comes.
    add_one: f64,
    /// The same, when a key of each changes.
    change_all: f64,
    /// Megabytes.
    memory: f64,
}

pub fn scale(builds: &Builds, quick: bool) -> Result<Report> {
    let (counts, rounds): (&[usize], _) =
        if quick { (&[1, 3], 1) } else { (&[1, 3, 10, 30, 100, 300, 1000], 5) };
    let mut points = Vec::new();
    for &services in counts {
        let rounds = iter::repeat_with(|| measure(&builds.ours, services))
            .take(rounds)
            .collect::<Result<Vec<_>>>();
        let rounds = rounds.with_context(|| format!("{services} services"))?;
        let median = |of: fn(&Point) -> f64| {
            let mut values = rounds.iter().map(of).collect::<Vec<_>>();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let point = Point {
            services,
            start: median(|point| point.start),
            add_one: median(|point| point.add_one),
            change_all: median(|point| point.change_all),
            memory: median(|point| point.memory),
        };
        eprintln!(
            "{services} services: start {:.1} ms, reload {:.1} and {:.1} ms, {:.1} MB",
            point.start, point.add_one, point.change_all, point.memory
        );
        points.push(point);
    }
    let series = |name: &'static str, value: fn(&Point) -> f64| {
        points.iter().map(move |point| (name.to_owned(), point.services, value(point)))
    };
    let times = series("start to READY", |point| point.start)
        .chain(series("reload, one comes", |point| point.add_one))
        .chain(series("reload, all change", |point| point.change_all));
    Ok(Report(vec![
        Table::new("services-time", "Time to start and to reload", "services", "ms", times),
        Table::new(
            "services-memory",
            "Memory of the process",
            "services",
            "MB",
            series("imap-proxy", |point| point.memory),
        ),
    ]))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn measure(program: &Path, services: usize) -> Result<Point> {
    let dir = tls::folder()?;
    tls::identity(dir.path())?;
    let daemon = Daemon::start(program, dir, &config(services, "off"))?;
    let start = daemon.started;
    let memory = Tree(daemon.child.id()).memory()? as f64 / 1e6;
    let add_one = daemon.reload(&config(services + 1, "off"))?;
    let change_all = daemon.reload(&config(services + 1, "summary"))?;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Point {
        services,
        start: milliseconds(start),
        add_one: milliseconds(add_one),
        change_all: milliseconds(change_all),
        memory,
    })
}

/// So many services with TLS on ports that the system chooses. Only SIGHUP makes the proxy read it.
fn config(services: usize, trace: &str) -> String {
    let mut config = "[watch]\nenabled = false\n".to_owned();
    for n in 0..services {
        // Writing to a String does not fail.
        let _ = write!(
            config,
            "[[services]]\n\
             name = \"service {n}\"\n\
             trace = \"{trace}\"\n\
             bind = {{ host = \"127.0.0.1\", port = 0, encryption = \"Tls\", identity = {{ \
             type = \"CertificateChainAndLeafKey\", certificate_chain_path = \"{CHAIN}\", \
             leaf_key_path = \"{KEY}\" }} }}\n\
             connect = {{ host = \"127.0.0.1\", encryption = \"Insecure\" }}\n"
        );
    }
    config
}

/// imap-proxy with its program's own word of when it is ready. Dropping it stops it.
struct Daemon {
    child: Child,
    told: UnixDatagram,
    config: PathBuf,
    /// From the start of the process to READY=1.
    started: Duration,
    _dir: TempDir,
}

impl Daemon {
    fn start(program: &Path, dir: TempDir, config_toml: &str) -> Result<Self> {
        const LONGEST: Duration = Duration::from_secs(60);
        let (socket, config) = (dir.path().join("notify"), dir.path().join("config.toml"));
        let told = UnixDatagram::bind(&socket)?;
        told.set_read_timeout(Some(LONGEST))?;
        fs::write(&config, config_toml)?;
        let started = Instant::now();
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .env("NOTIFY_SOCKET", &socket)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log"))?)
            .spawn()?;
        let mut daemon = Self { child, told, config, started: Duration::ZERO, _dir: dir };
        daemon.wait("READY=1").context("it does not start")?;
        daemon.started = started.elapsed();
        Ok(daemon)
    }

    /// How long it takes to put another config in force.
    fn reload(&self, config_toml: &str) -> Result<Duration> {
        fs::write(&self.config, config_toml)?;
        let started = Instant::now();
        self.signal(Signal::SIGHUP)?;
        self.wait("RELOADING=1")
            .and_then(|()| self.wait("READY=1"))
            .context("it does not reload")?;
        Ok(started.elapsed())
    }

    /// Waits for a message to systemd with that line.
    fn wait(&self, line: &str) -> Result<()> {
        let mut message = [0; 4096];
        loop {
            let length = self.told.recv(&mut message)?;
            if String::from_utf8_lossy(&message[..length]).lines().any(|told| told == line) {
                return Ok(());
            }
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.signal(Signal::SIGTERM).is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
