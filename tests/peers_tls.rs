//! Which certificate is shown to whom: to clients by the name that they ask for, by clients that
//! have to, and to servers that ask.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that panics is a test that fails")]

mod common;

use std::{fs, io, sync::Arc};

use common::{
    bench::{
        Encryption::{self, Insecure, StartTls, Tls},
        GREETING, SERVICE, exchange, service, told_bye,
    },
    certs::{Authority, Leaf, certs},
    live::{Doing, Live},
    peer::{Peer, Server, client, client_before_tls, tls_client_with},
    proxy::{Proxy, RELOADED},
};
use rcgen::{DnType, date_time_ymd};
use rustls::{ALL_VERSIONS, ClientConfig, SupportedProtocolVersion, version};
use tempfile::TempDir;

const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&version::TLS12], &[&version::TLS13]];

/// Starts a proxy with these identities beside it, and waits until it follows all files.
fn start(config: &str, identities: &[(&str, &Leaf)], clients: Option<&Authority>) -> Proxy {
    let dir = TempDir::new().expect("a folder");
    certs().copy_to(dir.path());
    for (name, leaf) in identities {
        leaf.write(dir.path(), name);
    }
    if let Some(ca) = clients {
        fs::write(dir.path().join("clients.pem"), ca.pem()).expect("written");
    }
    let file = dir.path().join("config.toml");
    fs::write(&file, config).expect("written");
    let proxy = Proxy::start_in(dir, &file, &[]);
    proxy.address(SERVICE);
    proxy.wait_log("the configuration is unchanged");
    proxy
}

fn identity(name: &str) -> String {
    format!(
        "{{ type = \"CertificateChainAndLeafKey\", certificate_chain_path = \"{name}.pem\", \
         leaf_key_path = \"{name}-key.pem\" }}"
    )
}

/// A service with TLS for clients, and these identities for them.
fn with_identities(bind: Encryption, server: &Server, names: &[&str]) -> String {
    let identities: Vec<_> = names.iter().map(|name| identity(name)).collect();
    let (one, several) = (identity("localhost"), identities.join(", "));
    let config = service(bind, Insecure, server, "");
    config.replace(&format!("identity = {one}"), &format!("identities = [{several}]"))
}

/// A service with TLS for clients, which have to show a certificate.
fn asking(bind: Encryption, server: &Server) -> String {
    let config = service(bind, Insecure, server, "");
    config.replace("identity = ", "client_ca_path = \"clients.pem\", identity = ")
}

/// Connects to the service up to TLS.
fn shake(
    proxy: &Proxy,
    bind: Encryption,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<Peer> {
    let (address, config) = (proxy.address(SERVICE), Arc::clone(config));
    match bind {
        StartTls => client_before_tls(address).start_tls_with(config, name),
        _ => tls_client_with(address, config, name),
    }
}

fn shown(proxy: &Proxy, bind: Encryption, config: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    shake(proxy, bind, config, name).expect("a TLS handshake").certificate()
}

fn alice(ca: &Authority) -> Leaf {
    ca.client(&[(DnType::OrganizationName, "Example, Inc."), (DnType::CommonName, "alice")])
}

/// As it is in a line of the log.
const ALICE: &str = r#"client_subject="CN=alice,O=Example\\, Inc.""#;

/// A session of a client that is let in.
fn session(
    proxy: &Proxy,
    bind: Encryption,
    server: &Server,
    config: &Arc<ClientConfig>,
) -> (Peer, Peer) {
    let mut client = shake(proxy, bind, config, "localhost").expect("a TLS handshake");
    let mut server = server.accept();
    server.send(GREETING);
    // A client has its greeting before STARTTLS.
    if bind == Tls {
        client.expect(GREETING);
    }
    (client, server)
}

/// The alert that a client gets that is not let in, and the line about it.
fn refused(proxy: &Proxy, bind: Encryption, config: &Arc<ClientConfig>) -> (String, String) {
    let mark = proxy.mark();
    let alert = match shake(proxy, bind, config, "localhost") {
        Ok(mut client) => client.broken(),
        Err(error) => error.to_string(),
    };
    (alert, proxy.wait_log_after(mark, "session ended: "))
}

#[test]
fn each_name_gets_its_certificate() {
    let ca = &certs().ca;
    let (one, two) = (ca.server(&["one.example"]), ca.server(&["two.example", "Three.Example"]));
    let wild = ca.server(&["*.wild.example"]);
    let server = Server::listen();
    for bind in [StartTls, Tls] {
        let config = with_identities(bind, &server, &["localhost", "one", "wild", "two"]);
        let proxy = start(&config, &[("one", &one), ("two", &two), ("wild", &wild)], None);
        let default = shown(&proxy, bind, &certs().client_config(), "localhost");
        for versions in VERSIONS {
            let config = ca.client_config(versions, None);
            for (name, expected) in [
                ("one.example", &one.der[..]),
                ("two.example", &two.der),
                ("three.example", &two.der),
                ("ONE.EXAMPLE", &one.der),
                ("a.wild.example", &wild.der),
                // Asks for no name.
                ("127.0.0.1", &default),
            ] {
                assert!(shown(&proxy, bind, &config, name) == expected, "{name}");
            }
            for unknown in ["unknown.example", "a.b.wild.example", "wild.example"] {
                let handshake = shake(&proxy, bind, &config, unknown);
                let error = handshake.err().expect("another name").to_string();
                assert!(error.contains("only valid for DnsName(\"localhost\")"), "{error}");
            }
        }
    }
}

#[test]
fn one_of_several_is_renewed_and_nobody_notices() {
    let ca = &certs().ca;
    let (one, two) = (ca.server(&["one.example"]), ca.server(&["two.example"]));
    let server = Server::listen();
    let config = with_identities(Tls, &server, &["localhost", "one", "two"]);
    let proxy = start(&config, &[("one", &one), ("two", &two)], None);
    let trusting = certs().client_config();
    let sessions: Vec<_> = ["one.example", "two.example"]
        .into_iter()
        .map(|name| {
            let client = tls_client_with(proxy.address(SERVICE), trusting.clone(), name);
            Live::begin_with(client.expect("a TLS handshake"), &server, Doing::Fetch)
        })
        .collect();

    let mark = proxy.mark();
    let renewed = ca.server(&["one.example"]);
    renewed.write(proxy.dir(), "one");
    let line = proxy.wait_log_after(mark, RELOADED);
    assert!(line.trim_end().ends_with("changed \"bench\" (certificate)"), "{line}");
    assert!(shown(&proxy, Tls, &trusting, "one.example") == *renewed.der);
    assert!(shown(&proxy, Tls, &trusting, "two.example") == *two.der);

    let third = ca.server(&["three.example"]);
    third.write(proxy.dir(), "three");
    let line = proxy.reload(&with_identities(Tls, &server, &["localhost", "three", "two"]));
    assert!(line.trim_end().ends_with("changed \"bench\" (certificate)"), "{line}");
    assert!(shown(&proxy, Tls, &trusting, "three.example") == *third.der);
    sessions.into_iter().for_each(Live::survives);
}

#[test]
fn a_name_that_two_certificates_carry_is_told() {
    let (first, second) =
        (certs().ca.server(&["one.example"]), certs().ca.server(&["one.example"]));
    let server = Server::listen();
    let config = with_identities(Tls, &server, &["localhost", "first", "second"]);
    let proxy = start(&config, &[("first", &first), ("second", &second)], None);
    let line = proxy.wait_log("both carry `one.example`; clients are shown the first");
    assert!(line.contains(" WARN service \"bench\": "), "{line}");
    assert!(shown(&proxy, Tls, &certs().client_config(), "one.example") == *first.der);
}

#[test]
fn a_client_with_a_certificate_is_in_every_line_of_its_session() {
    let clients = Authority::new("clients");
    let server = Server::listen();
    for bind in [StartTls, Tls] {
        let proxy = start(&asking(bind, &server), &[], Some(&clients));
        for versions in VERSIONS {
            let mark = proxy.mark();
            let config = certs().ca.client_config(versions, Some(&alice(&clients)));
            let (mut client, mut server) = session(&proxy, bind, &server, &config);
            exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
            client.shutdown_write();
            server.eof();
            drop(server);
            proxy.wait_log_after(mark, "session ended: the client closed the connection");
            let log = proxy.log_after(mark);
            let (before_tls, log) = match bind {
                StartTls => log.split_once("proxy→client tls OK").expect("an answer to STARTTLS"),
                _ => ("", &*log),
            };
            assert!(!before_tls.contains("client_subject"), "{before_tls}");
            let of_session =
                |line: &&str| line.contains("TRACE [bench]") || line.contains(" session ");
            let lines: Vec<_> = log.lines().filter(of_session).collect();
            assert!(lines.iter().all(|line| line.contains(ALICE)), "{lines:#?}");
            for part in ["A1 NOOP", "A1 OK", "session ended"] {
                assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
            }
            assert!([before_tls, log].concat().contains("session started"));
        }
    }
}

#[test]
fn clients_without_a_good_certificate_stay_out() {
    let clients = Authority::new("clients");
    let stranger = alice(&Authority::new("strangers"));
    let mut params = rcgen::CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let expired = clients.issue(params);
    let of_server = {
        let mut params = rcgen::CertificateParams::default();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        clients.issue(params)
    };
    let server = Server::listen();
    for bind in [StartTls, Tls] {
        let proxy = start(&asking(bind, &server), &[], Some(&clients));
        for versions in VERSIONS {
            for (shown, alert, why) in [
                (None, "CertificateRequired", "peer sent no certificates"),
                (Some(&stranger), "UnknownCA", "UnknownIssuer"),
                (Some(&expired), "CertificateExpired", "certificate expired"),
                (Some(&of_server), "UnsupportedCertificate", "for client authentication"),
            ] {
                let config = certs().ca.client_config(versions, shown);
                let (told, line) = refused(&proxy, bind, &config);
                assert!(told.contains(&format!("received fatal alert: {alert}")), "{told}");
                let (_, line) =
                    line.split_once("TLS handshake with the client failed: ").expect("a reason");
                assert!(line.contains(why) && line.contains("fault=\"client\""), "{line}");
                assert!(!line.contains("client_subject"), "{line}");
            }
        }
    }
}

/// Nothing is resumed, so that nobody gets in by a certificate that has expired, or whose CA is gone.
#[test]
fn the_certificate_is_looked_at_each_time() {
    let clients = Authority::new("clients");
    let server = Server::listen();
    let proxy = start(&asking(Tls, &server), &[], Some(&clients));
    let configs = VERSIONS.map(|versions| {
        let config = certs().ca.client_config(versions, Some(&alice(&clients)));
        for _ in 0..2 {
            let mark = proxy.mark();
            let (client, _at_server) = session(&proxy, Tls, &server, &config);
            assert!(!client.is_resumed());
            let line = proxy.wait_log_after(mark, "session started");
            assert!(line.contains(ALICE), "{line}");
        }
        config
    });

    let (mut peer, mut at_server) = session(&proxy, Tls, &server, &configs[1]);
    let mark = proxy.mark();
    common::proxy::replace(&proxy.dir().join("clients.pem"), Authority::new("others").pem());
    let line = proxy.wait_log_after(mark, RELOADED);
    assert!(line.trim_end().ends_with("changed \"bench\" (certificate)"), "{line}");
    for config in &configs {
        let (told, line) = refused(&proxy, Tls, config);
        assert!(told.contains("received fatal alert: UnknownCA"), "{told}");
        assert!(line.contains("UnknownIssuer"), "{line}");
    }
    exchange(&mut peer, &mut at_server, b"A1 NOOP\r\n", b"A1 OK done\r\n");

    // Nobody has to show anything any more, and then everybody again.
    proxy.reload(&service(Tls, Insecure, &server, ""));
    let config = certs().ca.client_config(ALL_VERSIONS, None);
    for resumed in [false, true] {
        let mark = proxy.mark();
        let (client, _at_server) = session(&proxy, Tls, &server, &config);
        assert_eq!(client.is_resumed(), resumed);
        assert!(!proxy.wait_log_after(mark, "session started").contains("client_subject"));
    }
    proxy.reload(&asking(Tls, &server));
    let (told, _) = refused(&proxy, Tls, &config);
    assert!(told.contains("received fatal alert: CertificateRequired"), "{told}");
}

#[test]
fn a_subject_cannot_forge_the_log() {
    let clients = Authority::new("clients");
    let server = Server::listen();
    let proxy = start(&asking(Tls, &server), &[], Some(&clients));
    let hostile = "x\" fault=\"proxy\r\n2026-11-23T00:00:00.000Z ERROR \u{1b}[2J\u{202e}y";
    let leaf = clients.client(&[(DnType::CommonName, hostile)]);
    let _session =
        session(&proxy, Tls, &server, &certs().ca.client_config(ALL_VERSIONS, Some(&leaf)));
    let line = proxy.wait_log("session started");
    let expected = r#"client_subject="CN=x\\\" fault=\\\"proxy\\0D\\0A2026-11-23T00:00:00.000Z ERROR \\1B[2J\\E2\\80\\AEy" server="#;
    assert!(line.contains(expected), "{line}");
    assert!(!proxy.log().contains(['\u{1b}', '\u{202e}', '\r']));
}

/// A service whose server asks for a certificate.
fn towards(server: &Server, connect: Encryption, identity: Option<&str>) -> String {
    let identity = identity.map(|name| format!(", identity = {}", self::identity(name)));
    let ca = "ca_path = \"ca.pem\"".to_owned();
    service(Insecure, connect, server, "")
        .replace(&ca, &(ca.clone() + &identity.unwrap_or_default()))
}

fn asking_server(
    connect: Encryption,
    versions: &[&'static SupportedProtocolVersion],
    clients: &Authority,
) -> Server {
    let config = certs().ca.server(&["127.0.0.1"]).server_config_of(versions, Some(clients));
    match connect {
        StartTls => Server::listen_starttls(config),
        _ => Server::listen_tls(config),
    }
}

#[test]
fn a_server_that_asks_is_shown_our_certificate() {
    let ours = Authority::new("ours");
    let (first, renewed) = (alice(&ours), alice(&ours));
    for connect in [StartTls, Tls] {
        let server = asking_server(connect, ALL_VERSIONS, &ours);
        let proxy = start(&towards(&server, connect, Some("alice")), &[("alice", &first)], None);
        let begin = || {
            let mut client = client(proxy.address(SERVICE));
            let mut at_server = server.accept();
            if connect == StartTls {
                at_server.expect("proxy CAPABILITY\r\n");
                at_server.send("proxy OK done\r\n");
            } else {
                at_server.send(GREETING);
            }
            client.expect_line_starting("* OK ");
            (client, at_server)
        };
        let (mut peer, mut at_server) = begin();
        assert!(at_server.certificate() == *first.der);

        let mark = proxy.mark();
        renewed.write(proxy.dir(), "alice");
        let line = proxy.wait_log_after(mark, RELOADED);
        assert!(line.trim_end().ends_with("changed \"bench\" (for new sessions)"), "{line}");
        assert!(begin().1.certificate() == *renewed.der);
        exchange(&mut peer, &mut at_server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    }
}

#[test]
fn a_server_that_asks_in_vain_is_to_blame() {
    let ours = Authority::new("ours");
    let stranger = alice(&Authority::new("strangers"));
    for (connect, versions) in [StartTls, Tls].into_iter().flat_map(|c| VERSIONS.map(|v| (c, v))) {
        let server = asking_server(connect, versions, &ours);
        for (identity, alert) in [(None, "CertificateRequired"), (Some("stranger"), "UnknownCA")] {
            let config = towards(&server, connect, identity);
            let proxy = start(&config, &[("stranger", &stranger)], None);
            let client = client(proxy.address(SERVICE));
            server.try_accept().err().expect("no certificate that it takes");
            told_bye(client);
            let line = proxy.wait_log("session ended: ");
            let told = format!("TLS with the server failed: received fatal alert: {alert}");
            assert!(line.contains(&told) && line.contains("fault=\"server\""), "{line}");
        }
    }
}
