//! How sessions begin, or fail to: greetings, and servers that cannot be had.

mod common;

use common::{
    bench::{
        Bench, COMBINATIONS,
        Encryption::{Insecure, StartTls, Tls},
        SERVICE, client, exchange, service, told_bye,
    },
    certs::certs,
    peer::{self, Server},
    proxy::Proxy,
};

#[test]
fn greetings_pass_unchanged() {
    let bench = Bench::insecure();
    for greeting in [
        "* OK\r\n",
        "* OK \r\n",
        "* OK caf\u{e9} {10}\r\n",
        "* ok Hello\r\n",
        "* PREAUTH hello\r\n",
        "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n",
        "* OK [ALERT] down at noon\r\n",
        "* OK IMAP4rev1 Service Ready\n",
    ] {
        let (mut client, mut server) = bench.greeted(greeting);
        exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    }
}

#[test]
fn server_that_turns_the_client_away() {
    // What it says before TLS is not passed on: see peers_starttls.
    for (bind, connect) in COMBINATIONS.into_iter().filter(|(_, connect)| *connect != StartTls) {
        let bench = Bench::new(bind, connect, "");
        for greeting in ["* BYE overloaded\r\n", "* BYE\r\n", "* bye [UNAVAILABLE] later\r\n"] {
            let (mut client, mut server) = bench.connect();
            server.send(greeting);
            client.expect(greeting);
            client.eof();
            server.gone();
        }
    }
}

#[test]
fn what_is_no_greeting() {
    let bench = Bench::insecure();
    for said in [
        "* NO x\r\n",
        "* BAD x\r\n",
        "HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
        "+OK POP3\r\n",
        "220 smtp.example ESMTP\r\n",
        "A1 OK hello\r\n",
        "* 1 EXISTS\r\n",
        "+ hello\r\n",
        "\r\n",
        "* OKAY\r\n",
        "*\r\n",
    ] {
        let (client, mut server) = bench.connect();
        server.send(said);
        told_bye(client);
        server.gone();
    }
}

#[test]
fn greeting_without_an_end() {
    let bench = Bench::insecure();
    let (client, mut server) = bench.connect();
    server.send_until_gone([b'x'; 16_384]);
    told_bye(client);

    for said in ["", "* OK", "\x15\x03\x01\x00\x02\x02\x46"] {
        let (client, mut server) = bench.connect();
        server.send_and_end(said);
        told_bye(client);
    }
}

#[test]
fn server_that_never_greets() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "timeouts = { greeting = \"1s\" }");
        let (client, mut server) = bench.connect();
        told_bye(client);
        server.gone();
    }
}

#[test]
fn server_that_refuses_connections() {
    for bind in [Insecure, Tls] {
        let server = Server::listen();
        let config = service(bind, Insecure, &server, "");
        drop(server);
        let proxy = Proxy::start(&config);
        told_bye(client(&proxy, bind));
        told_why(&proxy);
    }
}

#[test]
fn server_whose_name_does_not_resolve() {
    let server = Server::listen();
    let config = service(Insecure, Insecure, &server, "");
    let (head, connect) = config.split_once("connect = ").expect("a connect key");
    let config = format!("{head}connect = {}", connect.replacen("127.0.0.1", "imap.invalid", 1));
    let proxy = Proxy::start(&config);
    told_bye(client(&proxy, Insecure));
    told_why(&proxy);
}

#[test]
fn server_with_a_certificate_for_another_name() {
    let server = Server::listen_tls(certs().misnamed_server_config());
    no_trust(&server, &service(Insecure, Tls, &server, ""));
}

#[test]
fn server_with_a_certificate_by_an_unknown_ca() {
    let server = Server::listen_tls(certs().server_config());
    let config = service(Insecure, Tls, &server, "").replace(", ca_path = \"ca.pem\"", "");
    no_trust(&server, &config);
}

#[test]
fn server_that_speaks_no_tls() {
    let server = Server::listen();
    let proxy = Proxy::start(&service(Insecure, Tls, &server, ""));
    let client = client(&proxy, Insecure);
    server.accept().send("* OK I speak no TLS\r\n");
    told_bye(client);
    told_why(&proxy);
}

#[test]
fn server_that_never_answers_the_handshake() {
    let server = Server::listen();
    let proxy = Proxy::start(&service(Insecure, Tls, &server, "timeouts = { connect = \"1s\" }"));
    let client = client(&proxy, Insecure);
    let mut silent = server.accept();
    told_bye(client);
    silent.gone();
    told_why(&proxy);
}

/// A client that never begins its handshake delays nobody, and does not stay for ever.
#[test]
fn client_that_never_begins_its_handshake() {
    let bench = Bench::new(Tls, Insecure, "timeouts = { handshake = \"1s\" }");
    let address = bench.proxy.address(SERVICE);
    let silent: Vec<_> = (0..20).map(|_| peer::client(address)).collect();
    works(&bench);
    for mut peer in silent {
        peer.gone();
    }
}

#[test]
fn client_that_speaks_no_tls() {
    let bench = Bench::new(Tls, Insecure, "");
    let address = bench.proxy.address(SERVICE);
    let mut confused = peer::client(address);
    confused.send("A1 CAPABILITY\r\n");
    confused.gone();
    let aborted = peer::client(address);
    aborted.reset();
    works(&bench);
}

/// The proxy is up while its server is down, and serves as soon as that is back.
#[test]
fn one_session_does_not_disturb_another() {
    for connect in [Insecure, Tls] {
        let bench = Bench::new(Tls, connect, "");
        let (mut steady_client, mut steady_server) = bench.session();
        for _ in 0..10 {
            let (client, mut server) = bench.session();
            client.reset();
            server.gone();
        }
        exchange(&mut steady_client, &mut steady_server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    }
}

#[track_caller]
fn no_trust(server: &Server, config: &str) {
    let proxy = Proxy::start(config);
    let client = client(&proxy, Insecure);
    assert!(server.try_accept().is_err(), "the proxy must not trust this server");
    told_bye(client);
    told_why(&proxy);
}

/// The log says whose fault it was, once.
#[track_caller]
fn told_why(proxy: &Proxy) {
    proxy.wait_log("fault=\"server\"");
    let log = proxy.log();
    assert_eq!(log.matches("fault=\"server\"").count(), 1, "{log}");
}

#[track_caller]
fn works(bench: &Bench) {
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
}
