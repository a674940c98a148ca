//! How often a client may guess a password, and how long it may take to log in.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use common::{
    bench::{
        Bench, COMBINATIONS,
        Encryption::{Insecure, StartTls, Tls},
        GREETING, SERVICE, exchange, service_to, told_bye,
    },
    peer::{Peer, Server, client, client_from},
    proxy::{DEADLINE, Proxy},
    secrets::{self, ATOM, SASL, WRONG},
};

const ELSEWHERE: &str = "127.0.9.1";
const TOO_MANY: &str = "* BYE proxy: too many failed logins\r\n";
/// Logins that wait longer than any test takes, once enough of them failed.
const LONG_DELAY: &str = "timeouts.login_delay = \"5m\"";
const NO_DELAY: &str = "timeouts.login_delay = \"0s\"";

#[test]
fn so_many_attempts_in_a_connection() {
    for (bind, connect) in COMBINATIONS {
        let keys = format!("limits.login_attempts = 3\n{NO_DELAY}");
        let bench = Bench::new(bind, connect, &keys);
        let (mut client, mut server) = bench.session();
        let refused = b"A1 NO [AUTHENTICATIONFAILED] wrong\r\n";
        let login = format!("A1 LOGIN alice \"{WRONG}\"\r\n");
        exchange(&mut client, &mut server, login.as_bytes(), refused);
        exchange(&mut client, &mut server, b"A1 AUTHENTICATE PLAIN\r\n", b"+ \r\n");
        let response = format!("{}\r\n", secrets::sasl_plain(SASL));
        exchange(&mut client, &mut server, response.as_bytes(), refused);
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");

        client.send(format!("A1 LOGIN alice {{{}}}\r\n", ATOM.len()));
        client.expect("+ proxy: Literal accepted by proxy\r\n");
        client.send(format!("{ATOM}\r\n"));
        server.expect(format!("A1 LOGIN alice {{{}}}\r\n", ATOM.len()));
        server.send("+ go on\r\n");
        server.expect(format!("{ATOM}\r\n"));
        server.send(refused);
        client.expect(refused);
        client.expect(TOO_MANY);
        client.eof();
        server.eof();

        bench.proxy.wait_log("session ended: too many failed logins");
        for attempt in 1..=3 {
            let said = format!("login failed, client 127.0.0.1, attempt {attempt} ");
            let line = bench.proxy.wait_log(&said);
            assert!(line.contains("INFO") && line.contains("fault=\"client\""), "{line}");
            assert!(line.contains(&format!("service={SERVICE:?}")), "{line}");
        }
        assert_eq!(bench.proxy.log().matches("login failed").count(), 3);
    }
}

/// What is not about the credentials, or no answer to a login at all, is no failed attempt.
#[test]
fn answers_that_do_not_count() {
    let bench = Bench::new(Insecure, Insecure, "limits.login_attempts = 1");
    let (mut client, mut server) = bench.session();
    for answer in ["NO [UNAVAILABLE] later", "NO [PRIVACYREQUIRED] not here", "BAD what?"] {
        let answer = format!("A1 {answer}\r\n");
        exchange(&mut client, &mut server, b"A1 LOGIN alice \"\"\r\n", answer.as_bytes());
    }
    exchange(&mut client, &mut server, b"A1 SELECT x\r\n", b"A1 NO no such mailbox\r\n");
    client.send("A1 AUTHENTICATE GSSAPI\r\n");
    client.expect_line_starting("A1 NO [CANNOT] proxy: ");
    exchange(&mut client, &mut server, b"A1 LOGIN alice \"\"\r\n", b"A1 OK in\r\n");
    exchange(&mut client, &mut server, b"A1 LOGIN alice \"\"\r\n", b"A1 BAD again?\r\n");
    assert!(!bench.proxy.log().contains("login failed"));
}

/// The answer to one could not be told from others, and so passwords could be tried without an end.
#[test]
fn logins_without_a_proper_tag_are_refused() {
    let bench = Bench::new(Insecure, Insecure, "limits.bad_commands = 4");
    let (mut client, mut server) = bench.session();
    for tag in ["A%", "+A", "A\u{e9}"] {
        client.send(format!("{tag} LOGIN alice \"{WRONG}\"\r\n"));
        client.expect("* BAD proxy: a login needs a proper tag\r\n");
    }
    client.send("\"A\" AUTHENTICATE PLAIN\r\n");
    client.expect("* BAD proxy: a login needs a proper tag\r\n");
    client.expect("* BYE proxy: too many bad commands\r\n");
    client.eof();
    server.eof();
}

/// A client that has sent its last word gets all its answers.
#[test]
fn one_attempt_after_the_other_without_a_word_more() {
    let bench = Bench::new(Insecure, Insecure, NO_DELAY);
    let (mut client, mut server) = bench.session();
    client.send_and_end("A1 LOGIN a \"1\"\r\nA2 LOGIN a \"2\"\r\n");
    exchange_after(&mut client, &mut server, "A1 LOGIN a \"1\"\r\n", "A1 NO wrong\r\n");
    exchange_after(&mut client, &mut server, "A2 LOGIN a \"2\"\r\n", "A2 OK in\r\n");
    server.eof();
}

#[test]
fn one_attempt_at_a_time() {
    let bench = Bench::new(Insecure, Insecure, NO_DELAY);
    let (mut client, mut server) = bench.session();
    client.send("A1 LOGIN a \"1\"\r\nA2 LOGIN a \"2\"\r\nA3 NOOP\r\n");
    server.expect("A1 LOGIN a \"1\"\r\n");
    let (mut other, mut others_server) = bench.session();
    exchange(&mut other, &mut others_server, b"B1 LOGIN b \"\"\r\n", b"B1 OK in\r\n");
    server.expect_nothing_so_far();
    server.send("A1 NO wrong\r\n");
    server.expect("A2 LOGIN a \"2\"\r\nA3 NOOP\r\n");
    server.send("A2 OK in\r\nA3 OK done\r\n");
    client.expect("A1 NO wrong\r\nA2 OK in\r\nA3 OK done\r\n");
}

#[test]
fn the_delay_grows() {
    let bench = Bench::new(Insecure, Insecure, "timeouts.login_delay = \"2s\"");
    for least in [0, 1, 2, 2] {
        let (mut client, mut server) = bench.session();
        let sent = Instant::now();
        exchange(&mut client, &mut server, b"A1 LOGIN a \"\"\r\n", b"A1 NO wrong\r\n");
        assert!(sent.elapsed() >= Duration::from_secs(least), "{:?}", sent.elapsed());
    }
}

/// Failures count in all services, and reloads leave them; those of one address are of no concern to
/// another.
#[test]
fn only_the_address_that_failed_waits() {
    let server = Server::listen();
    let quick = service_to("quick", Insecure, Insecure, server.address().port(), NO_DELAY);
    let slow = service_to("slow", Insecure, Insecure, server.address().port(), LONG_DELAY);
    let watch = "[watch]\nenabled = false\n";
    let proxy = Proxy::start(&format!("{watch}{quick}"));
    fail(&proxy, &server, "quick");
    proxy.reload(&format!("{watch}{quick}{slow}"));

    let mut held = Vec::new();
    for login in [
        "A1 LOGIN a \"\"\r\n".to_owned(),
        "A1 LOGIN {1+}\r\na {0+}\r\n\r\n".to_owned(),
        format!("A1 LOGIN {{5000+}}\r\n{} \"\"\r\n", "a".repeat(5000)),
        "A1 AUTHENTICATE PLAIN\r\n".to_owned(),
    ] {
        let (mut client, mut upstream) = greeted(client(proxy.address("slow")), &server);
        exchange(&mut client, &mut upstream, b"A0 NOOP\r\n", b"A0 OK done\r\n");
        client.send(login);
        held.push((client, upstream));
    }
    let goes_on = |client| {
        let (mut client, mut upstream) = greeted(client, &server);
        exchange(&mut client, &mut upstream, b"A1 LOGIN a \"\"\r\n", b"A1 OK in\r\n");
    };
    goes_on(client_from(ELSEWHERE, proxy.address("slow")));
    goes_on(client(proxy.address("quick")));
    for (client, upstream) in &mut held {
        upstream.expect_nothing_so_far();
        // The server is heard meanwhile.
        upstream.send("* OK still here\r\n");
        client.expect("* OK still here\r\n");
        upstream.expect_nothing_so_far();
    }
    // Nor does a stop wait.
    proxy.terminate();
    for (mut client, mut upstream) in held {
        client.expect("* BYE proxy: shutting down\r\n");
        client.eof();
        upstream.eof();
    }
}

/// Neither its time for login nor that for its last words runs out meanwhile.
#[test]
fn a_client_that_waits_is_not_at_fault() {
    let server = Server::listen();
    let to = |name, keys| service_to(name, Insecure, Insecure, server.address().port(), keys);
    let slow = "timeouts = { login_delay = \"11s\", login = \"10s\" }";
    let proxy = Proxy::start(&[to("quick", NO_DELAY), to("slow", slow)].concat());
    fail(&proxy, &server, "quick");
    let address = proxy.address("slow");
    let login = "A1 LOGIN a \"\"\r\n";
    let (mut patient, mut first) = greeted(client(address), &server);
    let (mut brief, mut second) = greeted(client(address), &server);
    patient.send(login);
    // It has to say nothing more; what it said goes on all the same.
    brief.send_and_end([login, "A2 LOGOUT\r\n"].concat());
    for (client, upstream) in [(&mut patient, &mut first), (&mut brief, &mut second)] {
        upstream.expect(login);
        upstream.send("A1 OK in\r\n");
        client.expect("A1 OK in\r\n");
    }
    exchange(&mut patient, &mut first, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    second.expect("A2 LOGOUT\r\n");
    second.eof();
    second.send_and_end("* BYE bye\r\nA2 OK done\r\n");
    brief.expect("* BYE bye\r\nA2 OK done\r\n");
    brief.eof();
}

/// A byte now and then does not prolong it.
#[test]
fn the_time_for_login_is_bounded() {
    for sides in [(Insecure, Insecure), (Tls, Tls)] {
        let bench = Bench::new(sides.0, sides.1, "timeouts.login = \"1s\"");
        let (client, mut server) = bench.session();
        dribble(client, || server.gone());
    }
    // Before TLS, too.
    let bench = Bench::new(StartTls, Insecure, "timeouts.login = \"1s\"");
    let mut client = client(bench.proxy.address(SERVICE));
    client.expect_line_starting("* OK ");
    dribble(client, || drop(bench.proxy.wait_log("session ended: the client did not log in")));
}

#[test]
fn who_is_logged_in_has_time() {
    let bench = Bench::new(Insecure, Insecure, "timeouts.login = \"1s\"");
    let (mut client, mut server) = bench.greeted("* PREAUTH in\r\n");
    told_bye(bench.session().0);
    exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
}

/// Sends a byte now and then until it is over; the client must have been told by then.
fn dribble(mut client: Peer, wait_until_over: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Longer than anybody waits for the end, so that a test that fails ends, too.
            let started = Instant::now();
            while !is_over.load(Relaxed) && started.elapsed() < 2 * DEADLINE {
                client.send_in_vain("A");
                thread::sleep(Duration::from_millis(100));
            }
        });
        wait_until_over();
        is_over.store(true, Relaxed);
    });
    client.expect("* BYE proxy: too slow to log in\r\n");
}

/// The server gets this, which was sent before, and answers.
#[track_caller]
fn exchange_after(client: &mut Peer, server: &mut Peer, sent: &str, answer: &str) {
    server.expect(sent);
    server.send(answer);
    client.expect(answer);
}

/// Has as many logins fail as are remembered.
fn fail(proxy: &Proxy, server: &Server, service: &str) {
    let (mut client, mut server) = greeted(client(proxy.address(service)), server);
    for _ in 0..9 {
        exchange(&mut client, &mut server, b"A1 LOGIN a \"\"\r\n", b"A1 NO wrong\r\n");
    }
}

fn greeted(mut client: Peer, server: &Server) -> (Peer, Peer) {
    let mut server = server.accept();
    server.send(GREETING);
    client.expect(GREETING);
    (client, server)
}
