//! AUTHENTICATE (RFC 9051 6.2.2) and SASL-IR (RFC 4959) between scripted peers.

mod common;

use common::{
    bench::{Bench, Encryption::Insecure, exchange},
    secrets::{self, SASL, TOKEN},
};

#[test]
fn plain_in_two_steps() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let secret = line(&secrets::sasl_plain(SASL));
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE PLAIN\r\n", b"+ \r\n");
    exchange(&mut client, &mut server, &secret, b"A1 OK logged in\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

#[test]
fn plain_with_initial_response() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let command = format!("A1 AUTHENTICATE PLAIN {}\r\n", secrets::sasl_plain(SASL));
    exchange(&mut client, &mut server, command.as_bytes(), b"A1 OK logged in\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// RFC 9051 6.2.2 lets a challenge be empty; `+` alone is what some servers make of it.
#[test]
fn bare_continuation_is_left_as_it_is() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE PLAIN\r\n", b"+\r\n");
    let secret = line(&secrets::sasl_plain(SASL));
    exchange(&mut client, &mut server, &secret, b"A1 OK logged in\r\n");
}

#[test]
fn login_mechanism_in_three_steps() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE LOGIN\r\n", b"+ VXNlcm5hbWU6\r\n");
    exchange(&mut client, &mut server, b"YWxpY2U=\r\n", b"+ UGFzc3dvcmQ6\r\n");
    exchange(&mut client, &mut server, &line(&secrets::base64(SASL)), b"A1 OK logged in\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// OAUTHBEARER (RFC 7628) reports a bad token by a challenge, which the client has to answer.
#[test]
fn oauthbearer_failure() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let command = format!("A1 AUTHENTICATE OAUTHBEARER {}\r\n", secrets::oauthbearer(TOKEN));
    let challenge = b"+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\r\n";
    exchange(&mut client, &mut server, command.as_bytes(), challenge);
    exchange(&mut client, &mut server, b"AQ==\r\n", b"A1 NO invalid token\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// Mechanisms that neither bind to the TLS channel nor add a security layer.
#[test]
fn other_mechanisms_pass() {
    let mechanisms =
        ["XOAUTH2", "OAUTHBEARER", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "plain", "xoauth2"];
    let bench = Bench::new(Insecure, Insecure, "timeouts.login_delay = \"0s\"");
    let (mut client, mut server) = bench.session();
    for mechanism in mechanisms {
        let command = format!("A1 AUTHENTICATE {mechanism}\r\n");
        exchange(&mut client, &mut server, command.as_bytes(), b"+ PGNoYWxsZW5nZT4=\r\n");
        exchange(&mut client, &mut server, b"cmVzcG9uc2U=\r\n", b"A1 NO no\r\n");
    }
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// They cannot work through a proxy that ends TLS, or would hide what follows from it.
#[test]
fn mechanisms_that_cannot_work_are_refused() {
    let mechanisms = [
        "EXTERNAL",
        "GSSAPI",
        "NTLM",
        "DIGEST-MD5",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256-PLUS",
        "external",
        "Scram-Sha-256-Plus",
        "EXTERNAL =",
        "GSSAPI YGUGCSqGSIb3",
    ];
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    for mechanism in mechanisms {
        client.send(format!("A1 AUTHENTICATE {mechanism}\r\n"));
        client.expect_line_starting("A1 NO [CANNOT] proxy: ");
        // The first thing that the server sees is what comes after.
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

#[test]
fn data_before_its_time_is_held() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let secret = secrets::sasl_plain(SASL);
    client.send(format!("A1 AUTHENTICATE PLAIN\r\n{secret}\r\n"));
    server.expect("A1 AUTHENTICATE PLAIN\r\n");
    let (mut other_client, mut other_server) = bench.session();
    exchange(&mut other_client, &mut other_server, b"B1 NOOP\r\n", b"B1 OK done\r\n");
    server.expect_nothing_so_far();
    server.send("+ \r\n");
    client.expect("+ \r\n");
    server.expect(line(&secret));
    server.send("A1 OK logged in\r\n");
    client.expect("A1 OK logged in\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// One line is taken for each challenge, however many have come.
#[test]
fn everything_in_one_write() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let secret = secrets::base64(SASL);
    client.send(format!("A1 AUTHENTICATE LOGIN\r\nYWxpY2U=\r\n{secret}\r\nA2 NOOP\r\n"));
    server.expect("A1 AUTHENTICATE LOGIN\r\n");
    server.send("+ VXNlcm5hbWU6\r\n");
    server.expect("YWxpY2U=\r\n");
    server.send("+ UGFzc3dvcmQ6\r\n");
    server.expect(line(&secret));
    server.send("A1 OK logged in\r\n");
    server.expect("A2 NOOP\r\n");
    server.send("A2 OK done\r\n");
    client.expect("+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\nA1 OK logged in\r\nA2 OK done\r\n");
}

/// A line too many after an initial response is a line like any other: the server judges it.
#[test]
fn initial_response_and_one_line_more() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let secret = secrets::sasl_plain(SASL);
    client.send(format!("A1 AUTHENTICATE PLAIN {secret}\r\n{secret}\r\n"));
    server.expect(format!("A1 AUTHENTICATE PLAIN {secret}\r\n"));
    server.send("A1 OK logged in\r\n");
    client.expect("A1 OK logged in\r\n");
    server.expect(line(&secret));
    server.send("* BAD no such command\r\n");
    client.expect("* BAD no such command\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

#[test]
fn cancel() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE PLAIN\r\n", b"+ \r\n");
    exchange(&mut client, &mut server, b"*\r\n", b"A1 BAD cancelled\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

#[test]
fn cancel_before_the_challenge() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 AUTHENTICATE PLAIN\r\n*\r\n");
    server.expect("A1 AUTHENTICATE PLAIN\r\n");
    server.send("+ \r\n");
    server.expect("*\r\n");
    server.send("A1 BAD cancelled\r\n");
    client.expect("+ \r\nA1 BAD cancelled\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

#[test]
fn terse_statuses_end_it() {
    for status in ["A1 NO\r\n", "A1 BAD\r\n", "A1 OK\r\n", "A1 NO \r\n", "A1 NO caf\u{e9}\r\n"] {
        let bench = Bench::insecure();
        let (mut client, mut server) = bench.session();
        let command = format!("A1 AUTHENTICATE PLAIN {}\r\n", secrets::sasl_plain(SASL));
        exchange(&mut client, &mut server, command.as_bytes(), status.as_bytes());
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// A refused AUTHENTICATE makes commands of the lines behind it.
#[test]
fn pipelined_command_after_a_refusal() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 AUTHENTICATE PLAIN\r\nA2 NOOP\r\n");
    server.expect("A1 AUTHENTICATE PLAIN\r\n");
    server.send("A1 NO not now\r\n");
    server.expect("A2 NOOP\r\n");
    server.send("A2 OK done\r\n");
    client.expect("A1 NO not now\r\nA2 OK done\r\n");
}

/// Only base64 is allowed here; saying so is the server's part.
#[test]
fn lines_that_are_no_base64_pass() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE PLAIN\r\n", b"+ this is {7}\r\n");
    exchange(&mut client, &mut server, b"no base64 {3}\r\n", b"+ \xff\xfe\r\n");
    exchange(&mut client, &mut server, b"\x00\xff\r\n", b"+ again\r\n");
    exchange(&mut client, &mut server, b"\r\n", b"A1 BAD not base64\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

/// A SASL line may look like a command that the proxy refuses: it is none.
#[test]
fn sasl_line_is_no_command() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE PLAIN\r\n", b"+ \r\n");
    exchange(&mut client, &mut server, b"A2 COMPRESS DEFLATE\r\n", b"A1 BAD no\r\n");
}

/// A token may be long.
#[test]
fn long_lines_pass() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let long = "QUJD".repeat(10_000);
    let challenge = format!("+ {long}\r\n");
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE XOAUTH2\r\n", challenge.as_bytes());
    exchange(&mut client, &mut server, &line(&long), b"A1 OK logged in\r\n");
    let command = format!("A2 AUTHENTICATE XOAUTH2 {long}\r\n");
    exchange(&mut client, &mut server, command.as_bytes(), b"A2 BAD already logged in\r\n");
}

/// Only the tagged status of AUTHENTICATE itself ends it.
#[test]
fn other_responses_do_not_end_it() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 NOOP\r\nA2 AUTHENTICATE PLAIN\r\n");
    server.expect("A1 NOOP\r\nA2 AUTHENTICATE PLAIN\r\n");
    let before = "A1 OK done\r\n* OK patience\r\nA9 NO unknown tag\r\n+ \r\n";
    server.send(before);
    client.expect(before);
    let secret = line(&secrets::sasl_plain(SASL));
    exchange(&mut client, &mut server, &secret, b"* OK nearly\r\nA2 OK logged in\r\n");
    exchange(&mut client, &mut server, b"A3 NOOP\r\n", b"A3 OK done\r\n");
}

/// An untagged BAD answers the line without a tag, not the LOGIN: the log knows the user.
#[test]
fn login_behind_a_line_without_a_tag() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let command = format!("A1 LOGIN {} \"\"\r\n", secrets::USER);
    client.send(format!("\r\n{command}"));
    server.expect(format!("\r\n{command}"));
    server.send("* BAD no tag\r\nA1 OK logged in\r\n");
    client.expect("* BAD no tag\r\nA1 OK logged in\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    let line = bench.proxy.wait_log(" A2 NOOP ");
    assert!(line.contains(&format!("user={:?}", secrets::USER)), "{line}");
}

/// No mechanism at all: the server says what is wrong.
#[test]
fn authenticate_without_mechanism() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE\r\n", b"A1 BAD missing argument\r\n");
    exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}
