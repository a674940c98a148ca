//! A reload drops no session, whatever it changes; new sessions follow the new config.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use std::fs;

use common::{
    bench::{Encryption::Insecure, Encryption::Tls, GREETING, service_to},
    certs::{CHAIN, KEY, RENEWED_CHAIN, RENEWED_KEY, certs},
    live::{ALL, Live, free_port},
    peer::{Server, client, tls_client},
    proxy::{Proxy, RELOADED, replace},
};

/// Only SIGHUP counts here: so each test knows which reload it sees.
const BY_SIGHUP: &str = "[watch]\nenabled = false\n";

fn config(services: &[String]) -> String {
    format!("{BY_SIGHUP}{}", services.concat())
}

fn to(name: &str, server: &Server, keys: &str) -> String {
    service_to(name, Insecure, Insecure, server.address().port(), keys)
}

/// The service on a port that is known.
fn on_port(service: &str, port: u16) -> String {
    service.replacen("port = 0", &format!("port = {port}"), 1)
}

#[test]
fn live_sessions_survive_every_change() {
    let (server, other) = (Server::listen(), Server::listen());
    let a = to("a", &server, "");
    let changes = [
        (vec![a.clone(), to("b", &other, "")], "added \"b\""),
        (vec![to("a", &other, "")], "changed \"a\" (for new sessions)"),
        (vec![to("a", &server, "limits.literal = 1")], "changed \"a\" (for new sessions)"),
        (vec![to("a", &server, "timeouts.login = \"9s\"")], "changed \"a\" (for new sessions)"),
        (vec![to("a", &server, "trace.level = \"full\"")], "changed \"a\" (for new sessions)"),
        (vec![on_port(&a, free_port())], "changed \"a\" (address)"),
        (vec![service_to("a", Tls, Insecure, 1, "")], "changed \"a\" (for new sessions)"),
        (vec![to("b", &other, "")], "added \"b\"; removed \"a\""),
    ];
    for (services, expected) in changes {
        let proxy = Proxy::start(&config(std::slice::from_ref(&a)));
        let sessions = ALL.map(|doing| Live::begin(proxy.address("a"), &server, doing));
        let line = proxy.reload(&config(&services));
        assert!(line.trim_end().ends_with(&format!("{RELOADED}{expected}")), "{line}");
        sessions.into_iter().for_each(Live::survives);
    }
}

#[test]
fn live_sessions_survive_every_failure() {
    let (server, taken) = (Server::listen(), Server::listen());
    let a = to("a", &server, "");
    let proxy = Proxy::start(&config(std::slice::from_ref(&a)));
    let tls = service_to("a", Tls, Insecure, 1, "");
    let in_use = on_port(&a, taken.address().port());
    fs::write(proxy.dir().join("broken.pem"), "-----BEGIN PRIVATE KEY-----\nhalf").expect("key");
    let failures = [
        ("services = [\n".to_owned(), "config.toml:3:13: unclosed array"),
        (to("a", &server, "colour = \"red\""), "colour"),
        (tls.replace(KEY, "broken.pem"), "broken.pem"),
        (tls.replace(KEY, "none.pem"), "none.pem"),
        (in_use, "service \"a\" cannot listen on 127.0.0.1:"),
        (a.get(..a.len() / 2).expect("ASCII").to_owned(), "config.toml:"),
        (String::new(), "services"),
    ];
    for (broken, reason) in failures {
        let sessions = ALL.map(|doing| Live::begin(proxy.address("a"), &server, doing));
        let line = proxy.fail_to_reload(&config(&[broken]));
        assert!(line.contains(reason), "{reason}: {line}");
        sessions.into_iter().for_each(Live::survives);
        // The old one serves on.
        Live::begin(proxy.address("a"), &server, ALL[0]).survives();
    }
    let mark = proxy.mark();
    fs::remove_file(proxy.config()).expect("removed");
    proxy.hup();
    proxy.wait_log_after(mark, "cannot be read");
    let line = proxy.reload(&config(&[a]));
    assert!(line.trim_end().ends_with("changed: nothing"), "{line}");
}

#[test]
fn live_sessions_survive_a_hundred_reloads() {
    let (server, other) = (Server::listen(), Server::listen());
    let a = to("a", &server, "");
    let proxy = Proxy::start(&config(std::slice::from_ref(&a)));
    let address = proxy.address("a");
    let mut sessions: Vec<_> =
        (0..12).map(|n| Live::begin(address, &server, ALL[n % ALL.len()])).collect();
    for round in 0..100 {
        let b = on_port(&to("b", &other, ""), free_port());
        let upstream = if round % 2 == 0 { &other } else { &server };
        proxy.reload(&config(&[to("a", upstream, ""), b]));
        sessions.iter_mut().for_each(Live::go_on);
        Live::begin(address, upstream, ALL[round % ALL.len()]).survives();
    }
    sessions.into_iter().for_each(Live::survives);
}

#[test]
fn new_sessions_follow_the_new_config() {
    let (server, other) = (Server::listen(), Server::listen());
    let proxy = Proxy::start(&config(&[to("a", &server, "trace.level = \"off\"")]));
    let address = proxy.address("a");
    let mut old = Live::begin(address, &server, ALL[0]);

    proxy.reload(&config(&[to("a", &other, "trace.level = \"full\"\nlimits.literal = 10")]));
    let mark = proxy.mark();
    old.go_on();
    let (mut client, mut upstream) = (client(address), other.accept());
    upstream.send(GREETING);
    client.expect(GREETING);
    let line = proxy.wait_log_after(mark, "server→client");
    assert!(line.contains("Greeting"), "{line}");
    client.send("A1 APPEND INBOX {11}\r\n");
    client.expect_line_starting("A1 ");
    upstream.expect_nothing_so_far();
    assert!(!proxy.log_after(mark).contains("EXISTS"), "the old session is traced");
    old.survives();
}

#[test]
fn new_handshakes_show_the_new_certificate() {
    let server = Server::listen();
    let service = service_to("a", Tls, Insecure, server.address().port(), "");
    let proxy = Proxy::start(&config(std::slice::from_ref(&service)));
    let address = proxy.address("a");
    let sessions = ALL.map(|doing| Live::begin_with(tls_client(address), &server, doing));
    let before = tls_client(address).certificate();

    replace(&proxy.dir().join(CHAIN), certs().read(RENEWED_CHAIN));
    replace(&proxy.dir().join(KEY), certs().read(RENEWED_KEY));
    let line = proxy.reload(&config(&[service]));
    assert!(line.trim_end().ends_with("changed: changed \"a\" (certificate)"), "{line}");
    assert_ne!(tls_client(address).certificate(), before);
    sessions.into_iter().for_each(Live::survives);
}

#[test]
fn equal_content_is_no_reload() {
    let (a, b) = (Server::listen(), Server::listen());
    let proxy = Proxy::start(&config(&[to("a", &a, ""), to("b", &b, "")]));
    let mark = proxy.mark();
    // Another order and a comment are no other content.
    proxy.write_config(&config(&[to("b", &b, ""), "# more\n".to_owned(), to("a", &a, "")]));
    proxy.hup();
    proxy.wait_log_after(mark, "the configuration is unchanged");
    assert!(!proxy.log_after(mark).contains("INFO"), "{}", proxy.log_after(mark));
}

/// An edit and `systemctl reload`.
#[test]
fn an_edit_and_a_signal_are_one_change() {
    let server = Server::listen();
    let proxy = Proxy::start(&to("a", &server, ""));
    proxy.wait_log("the configuration is unchanged");
    let mark = proxy.mark();
    let changed = to("a", &server, "limits.literal = 1");
    proxy.write_config(&changed);
    proxy.hup();
    proxy.wait_log_after(mark, RELOADED);
    // The watcher's look at the same edit, or that of a later signal.
    proxy.hup();
    proxy.wait_log_after(mark, "the configuration is unchanged");
    assert_eq!(proxy.log_after(mark).matches(RELOADED).count(), 1);
}
