//! What systemd is told: the protocol of `sd_notify(3)`.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use std::fs;

use common::{
    bench::{Encryption::Insecure, service_to},
    certs::certs,
    live::{Doing, Live, free_port},
    notify::Notify,
    peer::{Server, client},
    proxy::Proxy,
};
use tempfile::TempDir;

const BY_SIGHUP: &str = "[watch]\nenabled = false\n";

fn service(name: &str, port: u16, server: &Server) -> String {
    service_to(name, Insecure, Insecure, server.address().port(), "").replacen(
        "port = 0",
        &format!("port = {port}"),
        1,
    )
}

fn start(notify: &Notify, config: &str, variables: &[(&str, &str)]) -> Proxy {
    let dir = TempDir::new().expect("a folder");
    certs().copy_to(dir.path());
    let file = dir.path().join("config.toml");
    fs::write(&file, config).expect("written");
    let variables = [&[("NOTIFY_SOCKET", notify.path())], variables].concat();
    Proxy::start_in(dir, &file, &variables)
}

#[test]
fn ready_comes_when_it_listens_and_each_socket_is_stored() {
    let (notify, server) = (Notify::listen(), Server::listen());
    let ports = [free_port(), free_port()];
    let config = service("a", ports[0], &server) + &service("b", ports[1], &server);
    let _proxy = start(&notify, &format!("{BY_SIGHUP}{config}"), &[]);
    for port in ports {
        let stored = notify.next();
        assert_eq!(stored.get("FDSTORE"), Some("1"));
        assert_eq!(stored.get("FDNAME"), Some(format!("listen-127.0.0.1-{port}").as_str()));
        assert_eq!(stored.sockets, [([127, 0, 0, 1], port).into()]);
    }
    let ready = notify.next();
    assert_eq!(ready.get("READY"), Some("1"));
    assert!(
        ready.status().starts_with("services: 2, sessions: 0; configuration of 2"),
        "{ready:?}"
    );
    for port in ports {
        client(([127, 0, 0, 1], port).into());
    }
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let (notify, server) = (Notify::listen(), Server::listen());
    let ports = [free_port(), free_port()];
    let a = service("a", ports[0], &server);
    let proxy = start(&notify, &format!("{BY_SIGHUP}{a}"), &[]);
    notify.wait("READY");
    let _live = Live::begin(([127, 0, 0, 1], ports[0]).into(), &server, Doing::Idle);

    proxy.reload(&format!("{BY_SIGHUP}{a}{}", service("b", ports[1], &server)));
    let reloading = notify.wait("RELOADING");
    assert!(reloading.get("MONOTONIC_USEC").is_some(), "{reloading:?}");
    assert_eq!(notify.wait("FDSTORE").sockets, [([127, 0, 0, 1], ports[1]).into()]);
    let ready = notify.wait("READY");
    assert!(
        ready.status().starts_with("services: 2, sessions: 1; configuration of 2"),
        "{ready:?}"
    );

    proxy.reload(&format!("{BY_SIGHUP}{a}"));
    notify.wait("RELOADING");
    let removed = notify.wait("FDSTOREREMOVE");
    assert_eq!(removed.get("FDNAME"), Some(format!("listen-127.0.0.1-{}", ports[1]).as_str()));
    assert!(notify.wait("READY").status().starts_with("services: 1, sessions: 1;"));

    // Unchanged: told, as well.
    proxy.hup();
    notify.wait("RELOADING");
    notify.wait("READY");
}

#[test]
fn a_failure_stays_in_the_status_until_it_is_mended() {
    let (notify, server) = (Notify::listen(), Server::listen());
    let a = service("a", free_port(), &server);
    let proxy = start(&notify, &format!("{BY_SIGHUP}{a}"), &[]);
    notify.wait("READY");
    proxy.fail_to_reload(&format!("{BY_SIGHUP}{a}\nbroken"));
    notify.wait("RELOADING");
    let ready = notify.wait("READY");
    let status = ready.status();
    assert!(status.starts_with("services: 1, sessions: 0; RELOAD FAILED, configuration of 2"));
    assert!(status.contains(" stays: ") && status.contains("config.toml:9:7: "), "{status}");
    proxy.reload(&format!("{BY_SIGHUP}{a}"));
    notify.wait("RELOADING");
    assert!(!notify.wait("READY").status().contains("FAILED"));
}

/// What the watcher finds is no reload in systemd's eyes, but the status shows it.
#[test]
fn a_change_that_the_watcher_finds_is_in_the_status() {
    let (notify, server) = (Notify::listen(), Server::listen());
    let a = service("a", free_port(), &server);
    let proxy = start(&notify, &a, &[]);
    notify.wait("READY");
    proxy.wait_log("the configuration is unchanged");
    proxy.write_config(&(a + &service("b", free_port(), &server)));
    proxy.wait_log("added \"b\"");
    let shows_both = |_| {
        let told = notify.wait("STATUS");
        assert_eq!(told.get("RELOADING"), None);
        told.status().starts_with("services: 2, ")
    };
    assert!((0..10).any(shows_both));
}

#[test]
fn the_watchdog_is_fed_also_while_it_stops() {
    let (notify, server) = (Notify::listen(), Server::listen());
    let port = free_port();
    let config = format!("{BY_SIGHUP}{}", service("a", port, &server));
    let mut proxy = start(&notify, &config, &[("WATCHDOG_USEC", "200000")]);
    notify.wait("READY");
    for _ in 0..3 {
        assert!(notify.wait("WATCHDOG").status().starts_with("services: 1, "));
    }
    let live = Live::begin(([127, 0, 0, 1], port).into(), &server, Doing::Fetch);
    proxy.terminate();
    assert!(notify.wait("STOPPING").status().starts_with("stopping, sessions to end: 1"));
    for _ in 0..3 {
        assert!(notify.wait("WATCHDOG").status().starts_with("stopping, sessions to end: 1"));
    }
    drop(live.finish());
    assert_eq!(proxy.exit_code(), Some(0));
}

/// The sockets stay in the store for the next start.
#[test]
fn a_stop_takes_nothing_out_of_the_store() {
    let (notify, server) = (Notify::listen(), Server::listen());
    let config = format!("{BY_SIGHUP}{}", service("a", free_port(), &server));
    let mut proxy = start(&notify, &config, &[]);
    notify.wait("READY");
    proxy.terminate();
    assert_eq!(proxy.exit_code(), Some(0));
    notify.wait("STOPPING");
    assert!(notify.rest().iter().all(|told| told.get("FDSTOREREMOVE").is_none()));
}

#[test]
fn a_config_that_is_wrong_at_the_start_is_never_ready() {
    let notify = Notify::listen();
    let mut proxy = start(&notify, "[[services]]\nname = 1\n", &[]);
    proxy.wait_log("config.toml:2:8: ");
    assert_eq!(proxy.exit_code(), Some(78));
    assert!(notify.rest().is_empty());
}
