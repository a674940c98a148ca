//! The servers of the matrix, each started by itself, with nothing but empty mailboxes.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::common::{
    bench::Encryption::{self, Insecure, StartTls, Tls},
    certs::certs,
    dovecot::Dovecot,
    live::free_port,
    proxy::DEADLINE,
    secrets::{ACCOUNT, USER},
};

/// Which server: a column of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dovecot,
    Cyrus,
    Courier,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Dovecot, Self::Cyrus, Self::Courier];

    /// What it calls a mailbox beside INBOX.
    pub(crate) fn mailbox(self, name: &str) -> String {
        match self {
            Self::Courier if name != "INBOX" => format!("INBOX.{name}"),
            _ => name.to_owned(),
        }
    }

    /// Whether it knows MOVE (RFC 6851).
    pub(crate) fn moves(self) -> bool {
        self != Self::Courier
    }

    fn script(self) -> &'static str {
        match self {
            Self::Dovecot => unreachable!("it is not run in the tree"),
            Self::Cyrus => include_str!("cyrus.sh"),
            Self::Courier => include_str!("courier.sh"),
        }
    }
}

/// A running server with the account [`USER`], by the password [`ACCOUNT`].
pub(crate) enum Server {
    Dovecot(Dovecot),
    InTree(InTree),
}

impl Server {
    /// Starts it. Returns once one can log in.
    pub(crate) fn start(kind: Kind) -> Self {
        match kind {
            Kind::Dovecot => Self::Dovecot(Dovecot::start()),
            Kind::Cyrus | Kind::Courier => Self::InTree(InTree::start(kind)),
        }
    }

    pub(crate) fn address(&self, encryption: Encryption) -> SocketAddr {
        match self {
            Self::Dovecot(dovecot) => dovecot.address(encryption),
            Self::InTree(server) => server.address(encryption),
        }
    }
}

/// A server whose package cannot be installed beside the others: see `tree.sh`.
pub(crate) struct InTree {
    kind: Kind,
    dir: TempDir,
    child: Child,
    imap: SocketAddr,
    imaps: SocketAddr,
}

impl InTree {
    fn start(kind: Kind) -> Self {
        // Between the choice of a port and its use, somebody else may take it.
        const ATTEMPTS: usize = 5;
        for _ in 0..ATTEMPTS {
            let mut server = Self::spawn(kind);
            if server.is_ready() {
                return server;
            }
            eprintln!("{kind:?} does not start:\n{}", server.log());
        }
        panic!("{kind:?} does not start");
    }

    fn spawn(kind: Kind) -> Self {
        let dir = TempDir::new().expect("a folder");
        certs().copy_to(dir.path());
        fs::write(dir.path().join("start"), kind.script()).expect("script written");
        let log = File::create(dir.path().join("log")).expect("log made");
        let address = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (imap, imaps) = (address(), address());
        let mut child = tree_command("run")
            .args([tree(), dir.path()])
            .args([USER, &imap.port().to_string(), &imaps.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("bash runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(ACCOUNT.as_bytes()).expect("password told");
        Self { kind, dir, child, imap, imaps }
    }

    fn address(&self, encryption: Encryption) -> SocketAddr {
        match encryption {
            Insecure | StartTls => self.imap,
            Tls => self.imaps,
        }
    }

    /// Waits until one can log in, which is later than that it listens. False when it has ended.
    fn is_ready(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < 3 * DEADLINE {
            if self.logs_in() && TcpStream::connect(self.imaps).is_ok() {
                return true;
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn logs_in(&self) -> bool {
        let session = || {
            let mut tcp = TcpStream::connect(self.imap)?;
            tcp.set_read_timeout(Some(DEADLINE))?;
            // No command after it: Courier forgets what it has got before it lets one in.
            tcp.write_all(format!("A LOGIN {USER} {ACCOUNT}\r\n").as_bytes())?;
            let mut lines = BufReader::new(tcp).lines();
            lines
                .find(|line| line.as_ref().map_or(true, |line| !line.starts_with("* ")))
                .transpose()
        };
        session().is_ok_and(|answer| answer.is_some_and(|line| line.starts_with("A OK")))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for InTree {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of {:?} ---\n{}------------------", self.kind, self.log());
        }
    }
}

/// Where the servers' packages are unpacked, which takes a while the first time.
fn tree() -> &'static Path {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    TREE.get_or_init(|| {
        let tree = kept("servers", include_str!("tree.sh"));
        let status = tree_command("build").arg(&tree).status().expect("bash runs");
        assert!(status.success(), "no tree with the servers");
        tree
    })
}

fn tree_command(what: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix/tree.sh");
    let mut command = Command::new(script);
    command.arg(what);
    command
}

/// Where is kept what takes a while to get; another place when what it is made by has changed.
pub(crate) fn kept(name: &str, made_by: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    hasher.write(made_by.as_bytes());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix");
    fs::create_dir_all(&folder).expect("a folder");
    folder.join(format!("{name}-{:016x}", hasher.finish()))
}
