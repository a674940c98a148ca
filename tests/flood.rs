//! 5,000 clients that do nothing and 200 that send one byte a second, in each phase of a session:
//! a normal client beside them still logs in in under a second.
//!
//! `cargo test --test flood -- --nocapture` prints what it took.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

mod common;
#[path = "flood/crowd.rs"]
mod crowd;
#[path = "flood/host.rs"]
mod host;

use std::{
    process::{self, Command},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{
    bench::{
        Encryption::{self, Insecure, StartTls, Tls},
        SERVICE, client, service_to,
    },
    holds::Holds,
    proxy::Proxy,
};
use crowd::{Crowd, Phase, SILENT, SLOW};
use procfs::process::{LimitValue, Process};
use tokio::{net::TcpListener, runtime::Runtime};

/// What the normal client may have to wait, by the median of its log-ins.
const BOUND: Duration = Duration::from_secs(1);
/// Between the first and the last of them; long enough for each slow peer to send something.
const MEASURED: Duration = Duration::from_secs(2);
/// The same, before the crowd comes.
const WARM_UP: Duration = Duration::from_millis(500);
/// Until the proxy has noticed that a crowd is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody is to be thrown out.
const TIMEOUTS: &str = "timeouts = { handshake = \"1h\", greeting = \"1h\", login = \"1h\" }";

#[test]
fn before_the_handshake() {
    flood(Tls, Phase::Connected, 1);
}

#[test]
fn in_the_client_hello() {
    flood(Tls, Phase::Hello, 1);
}

#[test]
fn before_starttls() {
    flood(StartTls, Phase::Said(""), 1);
}

#[test]
fn before_login_over_tls() {
    flood(Tls, Phase::Said(""), 2);
}

#[test]
fn in_a_command_line() {
    flood(Insecure, Phase::Said("A1 LOGIN al"), 2);
}

#[test]
fn in_a_literal_that_is_collected() {
    flood(Insecure, Phase::Said("A1 LOGIN {5}\r\n"), 2);
}

#[test]
fn in_a_literal_that_streams() {
    flood(Insecure, Phase::Said("A1 APPEND INBOX {100000}\r\n"), 2);
}

#[test]
fn after_login() {
    flood(Insecure, Phase::LoggedIn, 2);
}

#[test]
fn before_the_greeting() {
    flood(Insecure, Phase::Greeting, 2);
}

#[test]
fn with_answers_that_nobody_reads() {
    flood(Insecure, Phase::Reading, 2);
}

/// `files`: how many the proxy holds for each of the crowd.
fn flood(bind: Encryption, phase: Phase, files: usize) {
    // Each takes what files and time there are.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    raise_limit(2 * (SILENT + SLOW) + 1000);

    let runtime = Runtime::new().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let config = service_to(SERVICE, bind, Insecure, port, TIMEOUTS);
    let proxy = Proxy::start_with(&config, &[("RUST_LOG", "info")]);
    let behaves = Arc::new(AtomicBool::new(true));
    runtime.spawn(host::host(listener, phase, Arc::clone(&behaves)));

    let alone = log_ins(&proxy, bind, WARM_UP);
    let before = Holds::of(&proxy);
    behaves.store(false, Ordering::Relaxed);
    let started = Instant::now();
    let crowd = runtime.block_on(Crowd::gather(proxy.address(SERVICE), bind, phase));
    let gathered = started.elapsed();
    behaves.store(true, Ordering::Relaxed);
    let beside = log_ins(&proxy, bind, MEASURED);
    let during = Holds::of(&proxy);
    drop(crowd);
    let after = before.come_back(&proxy, PATIENCE);
    println!(
        "{phase:?}: log-ins alone {alone}, beside {beside}; gathered in {gathered:?}; \
         {before:?}, then {during:?}, then {after:?}"
    );

    let crowd = files * (SILENT + SLOW);
    assert!(during.files >= crowd, "not all were there to the end: {during:?}");
    assert!(beside.median < BOUND, "the normal client had to wait: {beside}");
    assert!(!proxy.log().contains("ERROR"), "{}", proxy.log());
}

/// How long log-ins took.
struct LogIns {
    count: usize,
    median: Duration,
    longest: Duration,
}

impl std::fmt::Display for LogIns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?}, longest {:?})", self.count, self.median, self.longest)
    }
}

/// Logs in as a normal client, again and again.
fn log_ins(proxy: &Proxy, bind: Encryption, for_so_long: Duration) -> LogIns {
    let started = Instant::now();
    let mut times = Vec::new();
    while started.elapsed() < for_so_long {
        let begun = Instant::now();
        let mut client = client(proxy, bind);
        if bind != StartTls {
            client.expect("* OK ready\r\n");
        }
        client.send("A1 LOGIN alice \"\"\r\n");
        client.expect("A1 OK logged in\r\n");
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let (median, longest) = (times.get(times.len() / 2), times.last());
    LogIns {
        count: times.len(),
        median: *median.expect("one at least"),
        longest: *longest.expect("one at least"),
    }
}

/// Lets this process, and those that it starts, open so many files.
fn raise_limit(files: usize) {
    let limits = Process::myself().and_then(|this| this.limits()).expect("limits");
    match limits.max_open_files.soft_limit {
        LimitValue::Value(limit) if limit < files as u64 => {}
        _ => return,
    }
    let status = Command::new("prlimit")
        .args(["--pid", &process::id().to_string(), &format!("--nofile={files}:")])
        .status()
        .expect("prlimit of util-linux");
    assert!(status.success(), "this needs {files} open files (ulimit -Hn)");
}
