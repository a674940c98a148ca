//! The proxies, each started with a config of its own in a folder that is thrown away.

mod dovecot;
mod haproxy;
mod imap_proxy;
mod nginx;
mod stunnel;

use std::{
    fmt,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    client::{Client, Target},
    stub::Stub,
    usage::Tree,
};

/// The first is what the others are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Proxy {
    Haproxy,
    Nginx,
    Dovecot,
    Stunnel,
    /// imap-proxy with trace = "off"
    Off,
    /// imap-proxy with trace = "summary"
    Summary,
    /// imap-proxy with trace = "full"
    Full,
    /// Another build, with trace = "off"
    OtherOff,
    /// Another build, with trace = "summary"
    OtherSummary,
    /// Another build, with trace = "full"
    OtherFull,
}

use Proxy::{
    Dovecot, Full, Haproxy, Nginx, Off, OtherFull, OtherOff, OtherSummary, Stunnel, Summary,
};

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Haproxy => "HAProxy",
            Nginx => "nginx",
            Dovecot => "Dovecot",
            Stunnel => "stunnel",
            Off => "imap-proxy, off",
            Summary => "imap-proxy, summary",
            Full => "imap-proxy, full",
            OtherOff => "other, off",
            OtherSummary => "other, summary",
            OtherFull => "other, full",
        })
    }
}

/// Where the builds of imap-proxy are.
pub struct Builds {
    pub ours: PathBuf,
    pub other: Option<PathBuf>,
}

/// What a proxy is started with.
struct Setting<'a> {
    /// For all its files; the certificate is in it.
    dir: &'a Path,
    address: SocketAddr,
    tls: bool,
    stub: Stub,
}

/// A running proxy. Dropping it stops it.
pub struct Running {
    child: Child,
    pub target: Target,
    log: PathBuf,
    /// Messages that the log should have shown.
    unseen: Option<Arc<AtomicU64>>,
}

impl Proxy {
    /// Whether it can do without TLS.
    pub fn has_plain(self) -> bool {
        self != Stunnel
    }

    /// Starts it, with its files in `dir`, and waits until a session goes through it. The address
    /// in `target` is replaced.
    pub fn start(self, dir: &Path, builds: &Builds, stub: Stub, target: Target) -> Result<Running> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let setting = Setting { dir, address, tls: target.tls.is_some(), stub };
        let log = dir.join(format!("{self:?}-{}.log", address.port()));
        let mut command = match self {
            Haproxy => haproxy::command(&setting),
            Nginx => nginx::command(&setting),
            Dovecot => dovecot::command(&setting),
            Stunnel => stunnel::command(&setting),
            Off | Summary | Full => imap_proxy::command(&setting, &builds.ours, self.level()),
            OtherOff | OtherSummary | OtherFull => {
                let other = builds.other.as_ref().context("no other build is named")?;
                imap_proxy::command(&setting, other, self.level())
            }
        }
        .with_context(|| format!("the config of {self}"))?;
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let traces = self >= Off;
        if traces {
            command.stderr(Stdio::piped());
        }
        let mut child =
            command.spawn().with_context(|| format!("{self} is not installed: {command:?}"))?;
        let unseen = match child.stderr.take() {
            Some(stderr) => Some(imap_proxy::follow(stderr, &log)?),
            None => None,
        };
        let target = Target { address, ..target };
        let mut running = Running { child, target, log, unseen };
        running.wait().with_context(|| format!("{self} does not start"))?;
        Ok(running)
    }

    fn level(self) -> &'static str {
        match self {
            Summary | OtherSummary => "summary",
            Full | OtherFull => "full",
            _ => "off",
        }
    }
}

impl Running {
    pub fn tree(&self) -> Tree {
        Tree(self.child.id())
    }

    /// Messages that could not be shown since the last call.
    pub fn unseen(&self) -> u64 {
        self.unseen.as_ref().map_or(0, |unseen| unseen.swap(0, Ordering::Relaxed))
    }

    fn wait(&mut self) -> Result<()> {
        const LONGEST: Duration = Duration::from_secs(20);
        let started = Instant::now();
        loop {
            let error = match Client::log_in(&self.target, None).and_then(Client::log_out) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.child.try_wait()?.is_some() || started.elapsed() > LONGEST {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{error:#}; its log:\n{log}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        const LONGEST: Duration = Duration::from_secs(5);
        // One that is gone needs no signal.
        let _ = i32::try_from(self.child.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if started.elapsed() > LONGEST {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A port of 127.0.0.1 that nobody listens on, another one at each call. It is outside the range
/// that connections take theirs from.
fn free_port() -> Result<u16> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(101);
    for _ in 0..20_000 {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + start.wrapping_add(call) % 20_000)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}

/// Writes a config file of this setting's, and returns its path.
fn write(setting: &Setting<'_>, name: &str, content: &str) -> Result<PathBuf> {
    let path = setting.dir.join(format!("{}-{name}", setting.address.port()));
    fs::write(&path, content)?;
    Ok(path)
}

/// A command that also finds what Debian keeps out of users' PATH, in this setting's folder.
fn program(setting: &Setting<'_>, name: &str) -> Command {
    let sbin = Path::new("/usr/sbin").join(name);
    let mut command = Command::new(if sbin.exists() { sbin } else { name.into() });
    command.current_dir(setting.dir);
    command
}
