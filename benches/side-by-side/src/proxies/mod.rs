//! The proxies, each started with a config of its own in a folder that is thrown away.

mod dovecot;
mod haproxy;
mod imap_proxy;
mod log;
mod nginx;
mod process;
mod stunnel;

use std::{
    env, fmt, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use log::Reader;
use process::Process;

use crate::{Encryption, client::Target, rows::Row, stub::Stub, usage::Tree};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Proxy {
    /// None: the client talks to the server. What the others could reach at best
    Direct,
    /// What the others are compared with
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
    /// The same, to a journal
    Journal,
    /// The same, to a pipe that nobody reads
    Stalled,
    /// Another build, with trace = "off"
    OtherOff,
    /// Another build, with trace = "summary"
    OtherSummary,
    /// Another build, with trace = "full"
    OtherFull,
}

use Proxy::{
    Direct, Dovecot, Full, Haproxy, Journal, Nginx, Off, OtherFull, OtherOff, OtherSummary,
    Stalled, Stunnel, Summary,
};

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direct => "no proxy",
            Haproxy => "HAProxy",
            Nginx => "nginx",
            Dovecot => "Dovecot",
            Stunnel => "stunnel",
            Off => "imap-proxy, off",
            Summary => "imap-proxy, summary",
            Full => "imap-proxy, full",
            Journal => "imap-proxy, full, journal",
            Stalled => "imap-proxy, full, log stalled",
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

impl Builds {
    /// Ours is beside this program when it is not named.
    pub fn new(ours: Option<PathBuf>, other: Option<PathBuf>) -> Result<Self> {
        let find = |path: PathBuf| {
            path.canonicalize().with_context(|| format!("no program {}", path.display()))
        };
        let ours = match ours {
            Some(path) => path,
            None => env::current_exe()?.with_file_name("imap-proxy"),
        };
        Ok(Self { ours: find(ours)?, other: other.map(find).transpose()? })
    }
}

/// What a proxy is started with.
struct Setting<'a> {
    /// For all its files; the certificate is in it.
    dir: &'a Path,
    address: SocketAddr,
    tls: bool,
    stub: Stub,
}

/// What a client can connect to.
pub struct Running {
    pub target: Target,
    process: Option<Process>,
}

impl Proxy {
    /// Whether there is something to measure.
    pub fn has(self, encryption: Encryption, row: Row) -> bool {
        match self {
            Direct => encryption == Encryption::Plain && !matches!(row, Row::Memory | Row::Resume),
            Stunnel => encryption == Encryption::Tls,
            _ => encryption == Encryption::Tls || row != Row::Resume,
        }
    }

    /// Starts it, with its files in `dir`, and waits until a session goes through it. The address
    /// in `target` is replaced.
    pub fn start(self, dir: &Path, builds: &Builds, stub: Stub, target: Target) -> Result<Running> {
        if self == Direct {
            return Ok(Running { target: Target { address: stub.imap, ..target }, process: None });
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let setting = Setting { dir, address, tls: target.tls.is_some(), stub };
        let target = Target { address, ..target };
        let command = self.command(&setting, builds);
        let log = dir.join(format!("{}.log", address.port()));
        let start = |command| Process::start(command, log, self.log_reader(), &target);
        let process = command.and_then(start).with_context(|| format!("{self} does not start"))?;
        Ok(Running { target, process: Some(process) })
    }

    fn command(self, setting: &Setting<'_>, builds: &Builds) -> Result<Command> {
        match self {
            Direct => bail!("there is nothing to start"),
            Haproxy => haproxy::command(setting),
            Nginx => nginx::command(setting),
            Dovecot => dovecot::command(setting),
            Stunnel => stunnel::command(setting),
            Off | Summary | Full | Journal | Stalled => {
                imap_proxy::command(setting, &builds.ours, self.level())
            }
            OtherOff | OtherSummary | OtherFull => {
                let other = builds.other.as_ref().context("no other build is named")?;
                imap_proxy::command(setting, other, self.level())
            }
        }
    }

    fn log_reader(self) -> Option<Reader> {
        match self {
            Direct | Haproxy | Nginx | Dovecot | Stunnel => None,
            Journal => Some(Reader::Journal),
            Stalled => Some(Reader::Stalled),
            Off | Summary | Full | OtherOff | OtherSummary | OtherFull => Some(Reader::Pipe),
        }
    }

    fn level(self) -> &'static str {
        match self {
            Summary | OtherSummary => "summary",
            Full | Journal | Stalled | OtherFull => "full",
            _ => "off",
        }
    }
}

impl Running {
    /// The processes of the proxy, if it is one.
    pub fn tree(&self) -> Option<Tree> {
        self.process.as_ref().map(Process::tree)
    }

    /// Messages that could not be shown since the last call.
    pub fn unseen(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::unseen)
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
