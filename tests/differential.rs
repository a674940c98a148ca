//! One script of commands gives the same bytes directly and through the proxy.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

mod common;
#[path = "differential/extensions.rs"]
mod extensions;
#[path = "differential/script.rs"]
mod script;
#[path = "differential/site.rs"]
mod site;

use std::sync::OnceLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    bench::{
        Encryption::{self, Insecure, StartTls, Tls},
        service_to,
    },
    dovecot::Dovecot,
    proxy::Proxy,
};
use site::{Record, Site};

#[test]
fn insecure_to_insecure() {
    same_through_the_proxy(Insecure, Insecure);
}

#[test]
fn insecure_to_tls() {
    same_through_the_proxy(Insecure, Tls);
}

#[test]
fn insecure_to_starttls() {
    same_through_the_proxy(Insecure, StartTls);
}

#[test]
fn starttls_to_insecure() {
    same_through_the_proxy(StartTls, Insecure);
}

#[test]
fn starttls_to_starttls() {
    same_through_the_proxy(StartTls, StartTls);
}

#[test]
fn starttls_to_tls() {
    same_through_the_proxy(StartTls, Tls);
}

#[test]
fn tls_to_starttls() {
    same_through_the_proxy(Tls, StartTls);
}

#[test]
fn tls_to_insecure() {
    same_through_the_proxy(Tls, Insecure);
}

#[test]
fn tls_to_tls() {
    same_through_the_proxy(Tls, Tls);
}

/// What the script is about must be what the server does.
#[test]
fn the_server_knows_the_extensions() {
    let dovecot = Dovecot::start();
    let mut client = Site::new(dovecot.address(Insecure), Insecure).login();
    client.command("CAPABILITY");
    let [.., capabilities, _] = client.messages() else { panic!("two messages at least") };
    for name in [
        "ACL",
        "BINARY",
        "CATENATE",
        "CONDSTORE",
        "ENABLE",
        "ESEARCH",
        "IDLE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "LITERAL+",
        "METADATA",
        "MOVE",
        "MULTIAPPEND",
        "NAMESPACE",
        "NOTIFY",
        "QRESYNC",
        "QUOTA",
        "SASL-IR",
        "SEARCHRES",
        "SORT",
        "SPECIAL-USE",
        "THREAD=REFERENCES",
        "UIDPLUS",
    ] {
        let has = capabilities.split([' ', '\\']).any(|capability| capability == name);
        assert!(has, "{name} is not in {capabilities}");
    }
}

/// Runs the script against a fresh server, directly.
fn direct() -> &'static Record {
    static DIRECT: OnceLock<Record> = OnceLock::new();
    DIRECT.get_or_init(|| {
        let dovecot = Dovecot::start();
        Site::new(dovecot.address(Insecure), Insecure).run(script::SECTIONS)
    })
}

fn same_through_the_proxy(bind: Encryption, connect: Encryption) {
    let dovecot = Dovecot::start();
    let port = dovecot.address(connect).port();
    // A delay would be no other answer, but the script has many logins that fail.
    let keys = "trace = \"full\"\ntimeouts.login_delay = \"0s\"";
    let proxy = Proxy::start(&service_to("differential", bind, connect, port, keys));
    let through = Site::new(proxy.address("differential"), bind).run(script::SECTIONS);
    direct().assert_same(&through);
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}
