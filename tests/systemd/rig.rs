//! A booted systemd with the package installed, and what drives it.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::common::{
    bench::Encryption::{self, Insecure, StartTls, Tls},
    certs::{CHAIN, KEY, certs},
    proxy::{DEADLINE, keep_log},
    secrets,
};

/// Where the package expects its config.
pub const CONFIG: &str = "/etc/imap-proxy/config.toml";

/// A running instance of `rig.sh`. Dropping it halts it, and fails the test if the proxy panicked
/// or told a secret to the journal.
pub struct Rig {
    state: PathBuf,
    root: PathBuf,
    ip: Ipv4Addr,
}

impl Rig {
    /// Boots it, with the `localhost` certificate in place, and nothing installed.
    pub fn boot() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let pid = std::process::id();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rig-{pid}-{count}"));
        // All of 127.0.0.0/8 is this host. The lower half is left to others.
        let [.., high, low] = pid.to_be_bytes();
        let ip = Ipv4Addr::new(127, high | 0x80, low, count);
        let mut rig = Self { state, root: PathBuf::new(), ip };

        let up = rig.script("up").env("OWNER", pid.to_string()).output().expect("rig.sh runs");
        assert!(up.status.success(), "{}", said(&up));
        let root = rig.script("root").output().expect("rig.sh runs");
        rig.root = said(&root).trim().into();
        fs::create_dir_all(rig.path("/etc/imap-proxy/tls")).expect("a folder");
        for name in [CHAIN, KEY] {
            let text = fs::read_to_string(certs().dir.join(name)).expect("a certificate");
            rig.write(&format!("/etc/imap-proxy/tls/{name}"), &text);
        }
        rig
    }

    /// Boots it, and installs the package with this config beforehand, so that it runs with it.
    /// The services get their address from the rig.
    pub fn start(config: impl FnOnce(&Self) -> String) -> Self {
        let rig = Self::boot();
        rig.write(CONFIG, &config(&rig));
        rig.install(package());
        assert_eq!(rig.property("ActiveState"), "active");
        rig
    }

    /// Installs this .deb.
    pub fn install(&self, package: &Path) {
        fs::copy(package, self.path("/opt/imap-proxy.deb")).expect("package copied");
        self.ok("dpkg --install --force-confold /opt/imap-proxy.deb");
    }

    /// An address that nobody else uses.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// A file inside, as it is reached from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Writes a file in place.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder made");
        fs::write(path, text).expect("file written");
    }

    /// Adds a drop-in to the unit.
    pub fn drop_in(&self, text: &str) {
        self.write("/etc/systemd/system/imap-proxy.service.d/test.conf", text);
        self.ok("systemctl daemon-reload");
    }

    /// Writes the config, and reloads.
    #[track_caller]
    pub fn reload(&self, config: &str) {
        self.write(CONFIG, config);
        self.ok("systemctl reload imap-proxy");
    }

    /// A shell command inside, which must succeed. Returns what it said.
    #[track_caller]
    pub fn ok(&self, command: &str) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command}: {}\n{}", output.status, said(&output));
        said(&output)
    }

    /// A shell command inside, which must fail. Returns what it said.
    #[track_caller]
    pub fn fails(&self, command: &str) -> String {
        let output = self.run(command);
        assert!(!output.status.success(), "{command} succeeds:\n{}", said(&output));
        said(&output)
    }

    /// The status text, brought up to date by a reload.
    pub fn status(&self) -> String {
        self.ok("systemctl reload imap-proxy");
        self.property("StatusText")
    }

    /// A property of the unit.
    pub fn property(&self, name: &str) -> String {
        self.property_of("imap-proxy", name)
    }

    /// A property of any unit.
    pub fn property_of(&self, unit: &str, name: &str) -> String {
        self.ok(&format!("systemctl show --value --property {name} {unit}")).trim().to_owned()
    }

    /// What the journal has of the unit, one message a line.
    pub fn log(&self) -> String {
        self.ok("journalctl --sync; journalctl --unit imap-proxy --all --output cat")
    }

    /// The values of a field in all journal entries of the unit that match, in their order.
    pub fn fields(&self, field: &str, matches: &str) -> Vec<String> {
        let query = "journalctl --sync; journalctl --unit imap-proxy --all --output cat";
        let found = self.ok(&format!("{query} --output-fields {field} {matches}"));
        found.lines().map(str::to_owned).collect()
    }

    /// Waits until the log has this.
    #[track_caller]
    pub fn wait_log(&self, needle: &str) {
        let log = || self.log();
        eventually(&format!("{needle:?} in the log"), || log().contains(needle), log);
    }

    /// Waits until a property of the unit is this.
    #[track_caller]
    pub fn wait_property(&self, name: &str, value: &str) {
        let now = || self.property(name);
        eventually(&format!("{name}={value}"), || now() == value, now);
    }

    fn run(&self, command: &str) -> Output {
        self.script("run").args(["sh", "-c", command]).output().expect("rig.sh runs")
    }

    fn script(&self, what: &str) -> Command {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systemd/rig.sh");
        let mut command = Command::new(script);
        command.arg(what).env("RIG", &self.state).stdin(Stdio::null());
        command
    }

    /// All that the journal has, of all units, with all fields.
    fn whole_journal(&self) -> String {
        self.ok("journalctl --sync; journalctl --all --output export")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let panicking = thread::panicking();
        let journal =
            if self.root.as_os_str().is_empty() { String::new() } else { self.whole_journal() };
        if panicking && !journal.is_empty() {
            let last = self.ok("journalctl --no-pager --lines 60 --output short-precise");
            eprintln!("--- the journal's end ---\n{last}-------------------------");
        }
        let down = self.script("down").output().expect("rig.sh runs");
        keep_log(&journal);
        if !panicking {
            assert!(down.status.success(), "{}", said(&down));
            assert!(!journal.contains("panicked at"), "the proxy panicked");
            assert_eq!(secrets::found_in(&journal), None, "a secret is in the journal");
        }
    }
}

/// The package: `IMAP_PROXY_DEB`, or else it is built.
pub fn package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        if let Some(path) = env::var_os("IMAP_PROXY_DEB") {
            return path.into();
        }
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let build = project.join("packaging/build.sh");
        let output = Command::new(build).output().expect("build.sh runs");
        assert!(output.status.success(), "{}", said(&output));
        let paths = String::from_utf8(output.stdout).expect("paths");
        let package =
            paths.lines().map(Path::new).find(|path| path.extension() == Some("deb".as_ref()));
        project.join(package.expect("the path of a .deb"))
    })
}

/// A `[[services]]` entry with this listener, in front of whatever listens on that port of 127.0.0.1.
pub fn service(name: &str, bind: SocketAddr, encryption: Encryption, upstream: u16) -> String {
    let identity = format!(
        "identity = {{ type = \"CertificateChainAndLeafKey\", \
         certificate_chain_path = \"tls/{CHAIN}\", leaf_key_path = \"tls/{KEY}\" }}"
    );
    let encryption = match encryption {
        Insecure => "encryption = \"Insecure\"".to_owned(),
        StartTls => format!("encryption = \"StartTls\", {identity}"),
        Tls => format!("encryption = \"Tls\", {identity}"),
    };
    format!(
        "[[services]]\n\
         name = \"{name}\"\n\
         bind = {{ host = \"{}\", port = {}, {encryption} }}\n\
         connect = {{ host = \"127.0.0.1\", port = {upstream}, encryption = \"Insecure\" }}\n",
        bind.ip(),
        bind.port(),
    )
}

/// Waits until something outside this process is true; fails with what it is `instead`.
#[track_caller]
pub fn eventually(what: &str, is: impl Fn() -> bool, instead: impl Fn() -> String) {
    let deadline = Instant::now() + 2 * DEADLINE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain for {what}, instead:\n{}", instead());
        thread::sleep(Duration::from_millis(20));
    }
}

fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    text
}
