//! A throw-away Dovecot.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::chown, process::CommandExt},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    bench::Encryption,
    certs::certs,
    proxy::DEADLINE,
    secrets::{ACCOUNT, USER},
};

/// A running Dovecot with the account [`USER`] (password [`ACCOUNT`]) and the `localhost`
/// certificate of [`certs`]. Dropping it stops it.
pub struct Dovecot {
    dir: TempDir,
    owner: Owner,
    imap: SocketAddr,
    imaps: SocketAddr,
    proxied: SocketAddr,
    /// Config beside the template's.
    more: &'static str,
}

/// Believes proxies at 127.0.0.1 who their clients are.
const TRUSTING: &str = "
login_trusted_networks = 127.0.0.1/32
haproxy_trusted_networks = 127.0.0.1/32
service imap-login {
  inet_listener imap_proxied {
    @LISTEN@ = 127.0.0.1
    port = @PROXIED_PORT@
    haproxy = yes
  }
}
";

impl Dovecot {
    /// Starts it, with nothing but empty mailboxes. Returns once it listens.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// As [`Dovecot::start`]. It believes 127.0.0.1 who the client is: by ID, and by a PROXY
    /// header on [`Dovecot::proxied`].
    pub fn start_trusting() -> Self {
        Self::start_with(TRUSTING)
    }

    fn start_with(more: &'static str) -> Self {
        // Between the choice of a port and its use, somebody else may take it.
        const ATTEMPTS: usize = 5;
        let mut refusals = String::new();
        for _ in 0..ATTEMPTS {
            match Self::try_start(more) {
                Ok(dovecot) => return dovecot,
                Err(refusal) => refusals += &refusal,
            }
        }
        panic!("Dovecot does not start:\n{refusals}");
    }

    /// Where it listens.
    pub fn address(&self, encryption: Encryption) -> SocketAddr {
        match encryption {
            Encryption::Insecure | Encryption::StartTls => self.imap,
            Encryption::Tls => self.imaps,
        }
    }

    /// Where it waits for PROXY headers, if it does.
    pub fn proxied(&self) -> SocketAddr {
        self.proxied
    }

    /// Waits for a line of its log that has all of these.
    #[track_caller]
    pub fn wait_log(&self, needles: &[&str]) -> String {
        let deadline = Instant::now() + DEADLINE;
        let is_it = |line: &&str| needles.iter().all(|needle| line.contains(needle));
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(is_it) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "no {needles:?} in the log of Dovecot");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// All it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("dovecot.log")).unwrap_or_default()
    }

    fn try_start(more: &'static str) -> Result<Self, String> {
        let [imap, imaps, proxied] = free_addresses();
        let (dir, owner) = (TempDir::new().expect("a folder"), Owner::find());
        let dovecot = Self { dir, owner, imap, imaps, proxied, more };
        let dir = dovecot.dir.path();
        certs().copy_to(dir);
        fs::write(dir.join("users"), format!("{USER}:{ACCOUNT}\n")).expect("users written");
        fs::write(dir.join(CONFIG), dovecot.config()).expect("config written");
        chown(dir, Some(dovecot.owner.uid), Some(dovecot.owner.gid)).expect("folder given away");

        // It goes into the background once it listens, and keeps stderr: a pipe would not end.
        let refusal = dir.join("refusal");
        let stderr = File::create(&refusal).expect("file made");
        let mut command = dovecot.command("/usr/sbin/dovecot");
        let status = command.stderr(stderr).status().expect("Dovecot is installed");
        if status.success() {
            Ok(dovecot)
        } else {
            Err(fs::read_to_string(refusal).expect("readable") + &dovecot.log())
        }
    }

    fn config(&self) -> String {
        let (template, listen) = template();
        format!("{template}{}", self.more)
            .replace("@LISTEN@", listen)
            .replace("@PROXIED_PORT@", &self.proxied.port().to_string())
            .replace("@DIR@", self.dir.path().to_str().expect("a UTF-8 path"))
            .replace("@USER@", &self.owner.user)
            .replace("@GROUP@", &self.owner.group)
            .replace("@IMAP_PORT@", &self.imap.port().to_string())
            .replace("@IMAPS_PORT@", &self.imaps.port().to_string())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = as_owner(program, &self.owner);
        command.current_dir(self.dir.path()).arg("-c").arg(self.dir.path().join(CONFIG));
        command
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ = self.command("/usr/bin/doveadm").arg("stop").status();
        if thread::panicking() {
            eprintln!("--- log of Dovecot ---\n{}----------------------", self.log());
        }
    }
}

const CONFIG: &str = "dovecot.conf";

/// The user that Dovecot runs as: ours, unless we are root.
struct Owner {
    user: String,
    group: String,
    uid: u32,
    gid: u32,
    is_other: bool,
}

impl Owner {
    fn find() -> Self {
        // For root Dovecot would serve no mail, and would want several users.
        let is_other = id(&["-u"]) == "0";
        let ask = |what| if is_other { id(&[what, "nobody"]) } else { id(&[what]) };
        Self {
            user: ask("-un"),
            group: ask("-gn"),
            uid: ask("-u").parse().expect("a number"),
            gid: ask("-g").parse().expect("a number"),
            is_other,
        }
    }
}

fn as_owner(program: &str, owner: &Owner) -> Command {
    let mut command = Command::new(program);
    if owner.is_other {
        command.uid(owner.uid).gid(owner.gid);
    }
    command
}

fn id(args: &[&str]) -> String {
    let output = Command::new("id").args(args).output().expect("id runs");
    String::from_utf8(output.stdout).expect("a name").trim().to_owned()
}

/// The config text for the Dovecot that is installed, and its key for an address to listen on: 2.4
/// changed nearly every setting.
fn template() -> (&'static str, &'static str) {
    let output = Command::new("/usr/sbin/dovecot").arg("--version").output();
    let version = output.expect("Dovecot is installed").stdout;
    if version.starts_with(b"2.3.") {
        (include_str!("../../deploy/try/dovecot-2.3.conf"), "address")
    } else {
        (include_str!("../../deploy/try/dovecot-2.4.conf"), "listen")
    }
}

fn free_addresses() -> [SocketAddr; 3] {
    let listen = |()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    // All at once, or else they might be the same.
    [(); 3].map(listen).map(|listener| listener.local_addr().expect("bound"))
}
