//! More and more sessions that are logged in and do nothing.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use procfs::process::{LimitValue, Process};
use side_by_side::{
    Encryption,
    client::Target,
    idle,
    proxies::{Builds, Proxy},
    rows::{Effort, Row},
    tls,
};

use crate::{
    plot::{Report, Table},
    stub_process::StubProcess,
};

/// One proxy with so many sessions.
struct Point {
    proxy: Proxy,
    encryption: Encryption,
    sessions: usize,
    /// Kilobytes of each.
    memory: f64,
    /// A second, of all together.
    wakeups: f64,
    /// Microseconds of CPU time a second, of all together.
    cpu: f64,
    /// A second, beside them.
    log_ins: f64,
    /// A second of the proxy's CPU time.
    log_ins_per_cpu: f64,
}

pub fn scale(builds: &Builds, quick: bool, time: Duration) -> Result<Report> {
    let most = most_sessions()?;
    let counts: &[usize] = if quick { &[10, 30] } else { &[10, 30, 100, 300, 1000, 3000, most] };
    let mut points = Vec::new();
    for proxy in [Proxy::Summary, Proxy::Haproxy] {
        for encryption in [Encryption::Plain, Encryption::Tls] {
            points.extend(
                measure(proxy, encryption, builds, counts, time)
                    .with_context(|| format!("{proxy}, {encryption:?}"))?,
            );
        }
    }
    Ok(report(&points))
}

/// 10,000, or what the files allow that a process may open: two for each session.
fn most_sessions() -> Result<usize> {
    const OTHERS: u64 = 200;
    let LimitValue::Value(files) = Process::myself()?.limits()?.max_open_files.soft_limit else {
        return Ok(10_000);
    };
    ensure!(files > 2 * OTHERS, "{files} open files are too few");
    Ok(usize::try_from((files - OTHERS) / 2)?.min(10_000))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn measure(
    proxy: Proxy,
    encryption: Encryption,
    builds: &Builds,
    counts: &[usize],
    time: Duration,
) -> Result<Vec<Point>> {
    let server = StubProcess::start()?;
    let dir = tls::folder()?;
    let config = Arc::new(tls::identity(dir.path())?);
    let tls = (encryption == Encryption::Tls).then_some(config);
    let target = Target { address: server.stub.imap, tls };
    let running = proxy.start(dir.path(), builds, server.stub, target)?;
    let tree = running.tree().context("a proxy")?;

    let empty = tree.memory()?;
    let (mut clients, mut points) = (Vec::new(), Vec::new());
    for &sessions in counts {
        clients.extend(idle::gather(&running.target, clients.len()..sessions)?);
        // What was begun comes to its end.
        let memory = tree.memory()?;
        let (sleeps, cpu) = (tree.sleeps()?, tree.cpu()?);
        thread::sleep(time);
        let wakeups = tree.wakeups_since(&sleeps)?;
        let cpu = tree.cpu()?.saturating_sub(cpu);
        let point = Point {
            proxy,
            encryption,
            sessions,
            memory: (memory as f64 - empty as f64) / 1000.0 / sessions as f64,
            wakeups: wakeups as f64 / time.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / time.as_secs_f64(),
            log_ins: 0.0,
            log_ins_per_cpu: 0.0,
        };
        eprintln!(
            "{}, {sessions} sessions: {:.2} KB each, {:.1} wakeups/s",
            name(&point),
            point.memory,
            point.wakeups
        );
        points.push(point);
    }
    // On the way back, for what they leave behind would count as free memory.
    for point in points.iter_mut().rev() {
        for client in clients.drain(point.sessions..) {
            client.log_out().context("a session was not idle but gone")?;
        }
        let effort = Effort { time, idle: 0 };
        let sample = Row::Connect.measure(&running.target, Some(tree), effort)?;
        point.log_ins = sample.value;
        point.log_ins_per_cpu = sample.per_cpu().context("a proxy takes time")?;
        eprintln!("{}, {} sessions: {:.0} log-ins/s", name(point), point.sessions, point.log_ins);
    }
    for client in clients {
        client.log_out().context("a session was not idle but gone")?;
    }
    Ok(points)
}

fn name(point: &Point) -> String {
    let tls = if point.encryption == Encryption::Tls { ", TLS" } else { "" };
    let proxy = if point.proxy == Proxy::Haproxy { "HAProxy" } else { "imap-proxy" };
    format!("{proxy}{tls}")
}

fn report(points: &[Point]) -> Report {
    let table = |file, title, unit, value: fn(&Point) -> f64| {
        let points = points.iter().map(|point| (name(point), point.sessions, value(point)));
        Table::new(file, title, "idle sessions", unit, points)
    };
    Report(vec![
        table("sessions-memory", "Memory of each idle session", "KB", |point| point.memory),
        table("sessions-log-ins", "Connect, LOGIN, LOGOUT beside them", "a second", |point| {
            point.log_ins
        }),
        table(
            "sessions-log-ins-cpu",
            "Connect, LOGIN, LOGOUT beside them",
            "a second of CPU time",
            |point| point.log_ins_per_cpu,
        ),
        table("sessions-wakeups", "Wakeups, of all sessions together", "a second", |point| {
            point.wakeups
        }),
        table("sessions-cpu", "CPU time, of all sessions together", "us a second", |point| {
            point.cpu
        }),
    ])
}
