//! Certificates are renewed under the running proxy.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use std::{fs, os::unix::fs::symlink, path::Path};

use common::{
    bench::{Encryption::Insecure, Encryption::Tls, service_to},
    certs::{CHAIN, KEY, RENEWED_CHAIN, RENEWED_KEY, certs},
    peer::tls_client,
    proxy::{Proxy, REFUSED, RELOADED, replace},
};
use tempfile::TempDir;

const WAITS: &str = "a certificate and its key are no pair yet";

fn config() -> String {
    service_to("a", Tls, Insecure, 1, "")
}

fn start() -> Proxy {
    let proxy = Proxy::start(&config());
    proxy.wait_log("the configuration is unchanged");
    proxy
}

fn shown_by(proxy: &Proxy) -> Vec<u8> {
    tls_client(proxy.address("a")).certificate()
}

fn put(proxy: &Proxy, name: &str, from: &str) {
    replace(&proxy.dir().join(name), certs().read(from));
}

#[test]
fn a_renewal_in_two_steps_is_one_reload_without_an_error() {
    for (first, second) in
        [((CHAIN, RENEWED_CHAIN), (KEY, RENEWED_KEY)), ((KEY, RENEWED_KEY), (CHAIN, RENEWED_CHAIN))]
    {
        let proxy = start();
        let before = shown_by(&proxy);
        let mark = proxy.mark();
        put(&proxy, first.0, first.1);
        proxy.wait_log_after(mark, WAITS);
        assert_eq!(shown_by(&proxy), before);
        put(&proxy, second.0, second.1);
        let line = proxy.wait_log_after(mark, RELOADED);
        assert!(line.trim_end().ends_with("changed \"a\" (certificate)"), "{line}");
        assert_ne!(shown_by(&proxy), before);
        assert!(!proxy.log_after(mark).contains("ERROR"));
        assert_eq!(proxy.log_after(mark).matches(RELOADED).count(), 1);
    }
}

#[test]
fn a_pair_that_stays_broken_is_told_once() {
    let proxy = start();
    let before = shown_by(&proxy);
    let mark = proxy.mark();
    put(&proxy, CHAIN, RENEWED_CHAIN);
    proxy.wait_log_after(mark, WAITS);
    let line = proxy.wait_log_after(mark, REFUSED);
    assert!(line.contains("localhost-key.pem` does not match"), "{line}");
    assert!(line.contains("config.toml:3:"), "{line}");
    assert_eq!(shown_by(&proxy), before);
    // Looked at again, and still broken: a status that is written last shows that it was.
    put(&proxy, CHAIN, RENEWED_CHAIN);
    put(&proxy, KEY, RENEWED_KEY);
    proxy.wait_log_after(mark, RELOADED);
    assert_ne!(shown_by(&proxy), before);
    assert_eq!(proxy.log_after(mark).matches(REFUSED).count(), 1);
}

/// Who asks gets an answer.
#[test]
fn a_broken_pair_is_told_at_once_on_a_signal() {
    let proxy = start();
    let mark = proxy.mark();
    put(&proxy, CHAIN, RENEWED_CHAIN);
    proxy.hup();
    proxy.wait_log_after(mark, "does not match");
    let mark = proxy.mark();
    proxy.hup();
    proxy.wait_log_after(mark, REFUSED);
    put(&proxy, KEY, RENEWED_KEY);
    proxy.wait_log_after(mark, RELOADED);
}

/// certbot: `live/NAME/fullchain.pem` is a link to `../../archive/NAME/fullchain1.pem`; a renewal
/// writes the next number, and makes the links anew, one after the other.
#[test]
fn behind_the_links_of_certbot() {
    let dir = TempDir::new().expect("a folder");
    let (live, archive) = (dir.path().join("live/x"), dir.path().join("archive/x"));
    fs::create_dir_all(&live).expect("made");
    fs::create_dir_all(&archive).expect("made");
    let link = |name: &str, number: usize| {
        let next = live.join("next");
        symlink(format!("../../archive/x/{name}{number}.pem"), &next).expect("linked");
        fs::rename(next, live.join(format!("{name}.pem"))).expect("moved");
    };
    let issue = |number: usize, chain: &str, key: &str| {
        let write = |name: &str, from: &str| {
            let file = archive.join(format!("{name}{number}.pem"));
            fs::write(file, certs().read(from)).expect("written");
        };
        write("fullchain", chain);
        write("privkey", key);
        link("fullchain", number);
        link("privkey", number);
    };
    issue(1, CHAIN, KEY);
    let text = config()
        .replace("localhost.pem", "../live/x/fullchain.pem")
        .replace("localhost-key.pem", "../live/x/privkey.pem");
    let etc = dir.path().join("etc");
    fs::create_dir(&etc).expect("made");
    fs::write(etc.join("config.toml"), text).expect("written");
    let proxy = Proxy::start_in(dir, Path::new(&etc.join("config.toml")), &[]);
    proxy.address("a");
    proxy.wait_log("the configuration is unchanged");
    let mut before = shown_by(&proxy);
    for (number, chain, key) in [(2, RENEWED_CHAIN, RENEWED_KEY), (3, CHAIN, KEY)] {
        let mark = proxy.mark();
        issue(number, chain, key);
        proxy.wait_log_after(mark, RELOADED);
        let now = shown_by(&proxy);
        assert_ne!(now, before);
        before = now;
    }
}
