//! What a peer can make the proxy hold: memory per session, files, lines of log.

#![allow(
    clippy::expect_used,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

mod common;

use std::{fs, process::Command, thread};

use common::{
    bench::{Bench, Encryption::Insecure, SERVICE, exchange, log_in},
    peer::{client, transfer},
    proxy::Proxy,
};

/// What a session may add to the proxy's memory, whatever its peers do (KiB).
///
/// Far below what is sent in each test, and far above the noise of an allocator.
const BOUND: u64 = 8 * 1024;

/// Megabytes of something, which nobody may hold.
const HUGE: usize = 24 * 1024 * 1024;

/// Commands that nobody answers must not hold up the end of the test.
const BRIEF_STOP: &str = "timeouts = { shutdown = \"1s\" }";

#[test]
fn huge_command_line() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    costs_little(&bench.proxy, || {
        let flags = "a ".repeat(HUGE / 2);
        client.send(format!("A1 STORE 1 FLAGS ({flags})\r\n"));
        client.expect_line_starting("A1 BAD proxy: ");
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    });
}

#[test]
fn huge_response_line() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    costs_little(&bench.proxy, || {
        let line = format!("* FLAGS ({})\r\n", "a ".repeat(HUGE / 2));
        transfer(&mut server, &mut client, line.as_bytes());
    });
}

#[test]
fn many_response_lines() {
    // What waits to be shown has a bound for the whole daemon, which one session may reach.
    let bench = Bench::new(Insecure, Insecure, "trace = \"off\"");
    let (mut client, mut server) = bench.session();
    costs_little(&bench.proxy, || {
        let lines = "* 1 FETCH (FLAGS (\\Seen \\Answered) UID 1)\r\n".repeat(600_000);
        transfer(&mut server, &mut client, lines.as_bytes());
    });
}

#[test]
fn unfinished_literals() {
    let bench = Bench::insecure();
    let mut sessions: Vec<_> = (0..8).map(|_| bench.capable("IMAP4rev1 LITERAL+")).collect();
    for (client, server) in &mut sessions {
        log_in(client, server);
    }
    costs_little(&bench.proxy, || {
        let part = vec![b'x'; HUGE / 8];
        for (client, server) in &mut sessions {
            let announcement = format!("A1 APPEND INBOX {{{HUGE}+}}\r\n");
            client.send(&announcement);
            server.expect(&announcement);
            transfer(client, server, &part);
        }
    });
}

#[test]
fn swallowed_literal() {
    let keys = "limits = { literal = 1000 }";
    let bench = Bench::new(Insecure, Insecure, keys);
    let (mut client, mut server) = bench.session();
    costs_little(&bench.proxy, || {
        client.send(format!("A1 APPEND INBOX {{{HUGE}+}}\r\n"));
        client.send(vec![b'x'; HUGE]);
        client.send("\r\n");
        client.expect_line_starting("A1 NO [TOOBIG] proxy: ");
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    });
}

/// The server takes nothing in, so the client is not read any further.
#[test]
fn pipelining_to_a_server_that_does_not_read() {
    let bench = Bench::new(Insecure, Insecure, BRIEF_STOP);
    let (mut client, _server) = bench.session();
    let commands = "A1 NOOP\r\n".repeat(HUGE / 9);
    thread::scope(|scope| {
        scope.spawn(|| client.send_in_vain(&commands));
        costs_little(&bench.proxy, || work_beside(&bench));
        bench.proxy.terminate();
    });
}

/// Tags are kept until the answer comes, so they must not be many and long.
#[test]
fn long_tags() {
    let bench = Bench::new(Insecure, Insecure, BRIEF_STOP);
    let (mut client, mut server) = bench.session();
    let commands = format!("{} NOOP\r\n", "x".repeat(60_000)).repeat(HUGE / 60_000);
    thread::scope(|scope| {
        scope.spawn(|| client.send_in_vain(&commands));
        scope.spawn(|| server.gone());
        costs_little(&bench.proxy, || work_beside(&bench));
        bench.proxy.terminate();
    });
}

/// Refusals are answers, too: a client that does not read them gets no more of them.
#[test]
fn refusals_that_nobody_reads() {
    let bench = Bench::new(Insecure, Insecure, BRIEF_STOP);
    let (mut client, mut server) = bench.session();
    // In the middle of a message no answer of the proxy's own can go out.
    server.send("* 1 FETCH (BODY[] {5}\r\n");
    client.expect("* 1 FETCH (BODY[] {5}\r\n");
    let commands = "A1 COMPRESS DEFLATE\r\n".repeat(HUGE / 21);
    thread::scope(|scope| {
        scope.spawn(|| client.send_in_vain(&commands));
        costs_little(&bench.proxy, || work_beside(&bench));
        bench.proxy.terminate();
    });
}

/// When files run out, clients wait, the log stays readable, and then it goes on.
#[test]
fn too_many_open_files() {
    let keys = "limits = { connections_per_client = 1000 }";
    let bench = Bench::new(Insecure, Insecure, keys);
    let (mut steady_client, mut steady_server) = bench.session();
    limit_files(bench.proxy.pid(), 40);
    let address = bench.proxy.address(SERVICE);
    let clients: Vec<_> = (0..100).map(|_| client(address)).collect();
    bench.proxy.wait_log("cannot accept clients");
    for _ in 0..100 {
        exchange(&mut steady_client, &mut steady_server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    }
    let log = bench.proxy.log();
    let complaints = log.matches("cannot accept clients").count();
    assert!(complaints < 20, "{complaints} in:\n{log}");

    // The servers' ends of those that did get through are in the queue, too.
    drop(clients);
    limit_files(bench.proxy.pid(), 1024);
    let mut late = client(address);
    late.send("A1 NOOP\r\n");
    loop {
        let mut server = bench.server.accept();
        server.send("* OK ready\r\n");
        if server.line_or_end().as_deref() == Some(b"A1 NOOP\r\n") {
            server.send("A1 OK done\r\n");
            break;
        }
    }
    late.expect("* OK ready\r\nA1 OK done\r\n");
}

/// Another session goes on meanwhile.
fn work_beside(bench: &Bench) {
    let (mut client, mut server) = bench.session();
    for _ in 0..5000 {
        exchange(&mut client, &mut server, b"B1 NOOP\r\n", b"B1 OK done\r\n");
    }
}

/// Runs this, which must not cost the proxy more than [`BOUND`].
#[track_caller]
fn costs_little(proxy: &Proxy, act: impl FnOnce()) {
    fs::write(format!("/proc/{}/clear_refs", proxy.pid()), "5").expect("peak reset");
    let before = peak(proxy);
    act();
    let cost = peak(proxy).saturating_sub(before);
    assert!(cost < BOUND, "it cost {cost} KiB");
}

/// The highest memory use so far (KiB).
fn peak(proxy: &Proxy) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn limit_files(pid: u32, limit: u32) {
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={limit}:1024")])
        .status()
        .expect("prlimit of util-linux");
    assert!(status.success());
}
