//! The real binary, as a child process.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{certs::certs, secrets};

/// How long anything that must happen may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The beginning of the line that says what a reload changed.
pub const RELOADED: &str = "configuration reloaded, changed: ";
/// The beginning of the line that says why a reload did not take place.
pub const REFUSED: &str = "configuration not reloaded, the old one stays in force: ";

/// A running proxy. Dropping it stops it, and fails the test if it panicked or told a secret.
pub struct Proxy {
    child: Child,
    dir: TempDir,
    log: Arc<Log>,
    reveals_secrets: bool,
}

impl Proxy {
    /// Starts the proxy with this config, beside which lie the files of [`certs`]. Returns once
    /// every service listens.
    ///
    /// It logs at `RUST_LOG=trace`, so that each test shows its secrecy at its worst.
    pub fn start(config_toml: &str) -> Self {
        Self::start_with(config_toml, &[])
    }

    /// As [`Proxy::start`], with these variables in its environment.
    pub fn start_with(config_toml: &str, variables: &[(&str, &str)]) -> Self {
        let proxy = Self::spawn(config_toml, variables);
        for name in services(config_toml) {
            proxy.address(&name);
        }
        proxy
    }

    /// As [`Proxy::start`], but the log may show secrets, and so is kept nowhere.
    pub fn start_revealing(config_toml: &str) -> Self {
        let mut proxy = Self::start(config_toml);
        proxy.reveals_secrets = true;
        proxy
    }

    /// Where the service listens. Waits until it does.
    pub fn address(&self, service: &str) -> SocketAddr {
        let service = format!("service={service:?}");
        let line = self.log.wait(|line| line.contains("listening on ") && line.contains(&service));
        let (_, address) = line.split_once("listening on ").expect("just found");
        let address = address.split_whitespace().next().expect("an address");
        address.parse().unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// All it has logged so far.
    pub fn log(&self) -> String {
        self.log.text().lines.concat()
    }

    /// Waits for a log line with `needle` in it, and returns the first one.
    pub fn wait_log(&self, needle: &str) -> String {
        self.log.wait(|line| line.contains(needle))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where `config.toml` and the certificates lie.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Asks it to stop, by SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Asks it to read its config again, by SIGHUP.
    pub fn hup(&self) {
        self.signal("HUP");
    }

    /// Where its config file is, unless it was started with another.
    pub fn config(&self) -> PathBuf {
        self.dir().join("config.toml")
    }

    /// Puts a new config in the place of the old one, by a rename.
    pub fn write_config(&self, config_toml: &str) {
        replace(&self.config(), config_toml);
    }

    /// Puts a config in force by SIGHUP, and returns the line that says what changed.
    pub fn reload(&self, config_toml: &str) -> String {
        let mark = self.mark();
        self.write_config(config_toml);
        self.hup();
        self.wait_log_after(mark, RELOADED)
    }

    /// Has a config refused on SIGHUP, and returns the line that says why.
    pub fn fail_to_reload(&self, config_toml: &str) -> String {
        let mark = self.mark();
        self.write_config(config_toml);
        self.hup();
        self.wait_log_after(mark, REFUSED)
    }

    /// This point of the log.
    pub fn mark(&self) -> usize {
        self.log.text().lines.len()
    }

    /// As [`Proxy::wait_log`], for what comes after that point of the log.
    pub fn wait_log_after(&self, mark: usize, needle: &str) -> String {
        self.log.wait_after(mark, |line| line.contains(needle))
    }

    /// All it has logged after that point of the log.
    pub fn log_after(&self, mark: usize) -> String {
        self.log.text().lines[mark..].concat()
    }

    /// Waits until it has ended, and returns its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        assert!(self.log.wait_closed(DEADLINE), "the proxy does not end:\n{}", self.log());
        self.child.wait().expect("a child").code()
    }

    /// Sends a signal, named as in `kill -NAME`.
    pub fn signal(&self, name: &str) {
        // std has no way to send a signal; every shell has.
        let kill = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    fn spawn(config_toml: &str, variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let config = dir.path().join("config.toml");
        fs::write(&config, config_toml).expect("config written");
        certs().copy_to(dir.path());
        Self::start_in(dir, &config, variables)
    }

    /// Starts the proxy with a config file in a folder that is all prepared, and with these
    /// variables in its environment. Waits for nothing.
    pub fn start_in(dir: TempDir, config: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_imap-proxy"))
            .arg("--config")
            .arg(config)
            .env("RUST_LOG", "trace")
            // Of a systemd that may run the tests.
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("LISTEN_FDS")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the proxy starts");

        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("piped");
        thread::spawn({
            let log = log.clone();
            move || log.follow(stderr)
        });
        Self { child, dir, log, reveals_secrets: false }
    }

    /// Whether it stopped by itself when it was asked to.
    fn stop(&mut self) -> bool {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
        }
        let stopped = self.log.wait_closed(Duration::from_secs(10));
        if !stopped {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        stopped
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let stopped = self.stop();
        if self.reveals_secrets {
            return;
        }
        let log = self.log();
        keep_log(&log);
        if thread::panicking() {
            eprintln!("--- log of the proxy ---\n{log}------------------------");
            return;
        }
        assert!(stopped, "the proxy did not stop:\n{log}");
        assert!(!log.contains("panicked at"), "the proxy panicked:\n{log}");
        assert_eq!(secrets::found_in(&log), None, "a secret is in the log:\n{log}");
    }
}

/// What the proxy wrote to stderr.
#[derive(Default)]
struct Log {
    text: Mutex<Text>,
    changed: Condvar,
}

#[derive(Default)]
struct Text {
    lines: Vec<String>,
    closed: bool,
}

impl Log {
    fn follow(&self, stderr: ChildStderr) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while matches!(stderr.read_until(b'\n', &mut line), Ok(1..)) {
            self.text().lines.push(String::from_utf8_lossy(&line).into_owned());
            self.changed.notify_all();
            line.clear();
        }
        self.text().closed = true;
        self.changed.notify_all();
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first line that is `wanted`, once there is one.
    fn wait(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_after(0, wanted)
    }

    /// The same, for the lines after the first `seen`.
    fn wait_after(&self, mut seen: usize, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        let text = self.text();
        let (text, _) = self
            .changed
            .wait_timeout_while(text, DEADLINE, |text| {
                found = text.lines[seen..].iter().find(|line| wanted(line)).cloned();
                seen = text.lines.len();
                found.is_none() && !text.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        let log = text.lines.concat();
        drop(text);
        found.unwrap_or_else(|| panic!("not what was waited for in the log:\n{log}"))
    }

    /// Whether stderr was closed (the process is gone) within `deadline`.
    fn wait_closed(&self, deadline: Duration) -> bool {
        let text = self.text();
        let (text, _) = self
            .changed
            .wait_timeout_while(text, deadline, |text| !text.closed)
            .unwrap_or_else(PoisonError::into_inner);
        text.closed
    }
}

/// Puts a new file in the place of another, as careful writers do: whole at every moment.
pub fn replace(file: &Path, content: impl AsRef<[u8]>) {
    let new = file.with_extension("new");
    fs::write(&new, content).expect("file written");
    fs::rename(&new, file).expect("file replaced");
}

/// Keeps a log where the folder for that says, to be searched for secrets.
pub fn keep_log(log: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = env::var_os("IMAP_PROXY_TEST_LOGS") else { return };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{}-{count}.log", env!("CARGO_CRATE_NAME"), std::process::id());
    fs::create_dir_all(&folder).expect("log folder");
    fs::write(Path::new(&folder).join(name), log).expect("log kept");
}

/// The names of the services in a config file.
fn services(config_toml: &str) -> Vec<String> {
    let config: toml::Table = config_toml.parse().expect("the test's config is TOML");
    let services = config["services"].as_array().expect("[[services]]");
    services.iter().map(|s| s["name"].as_str().expect("a name").to_owned()).collect()
}
