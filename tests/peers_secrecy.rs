//! Passwords and tokens stay out of the log, at `RUST_LOG=trace` and with full message traces.

mod common;

use common::{
    bench::{Bench, COMBINATIONS, Encryption::Insecure, exchange},
    secrets::{self, ATOM, ESCAPED, LITERAL, MISTYPED, QUOTED, SASL, TOKEN, USER},
};

/// Shows as much as the proxy ever shows.
const FULL: &str = "trace = \"full\"";

/// A failure that repeats what it got.
fn echo(sent: &str) -> String {
    format!(
        "* BAD cannot read LOGIN {USER} {sent}\r\n* OK [ALERT] {sent}?\r\n\
         A1 NO [AUTHENTICATIONFAILED] wrong password {sent} of {USER}\r\n"
    )
}

#[test]
fn login_in_every_spelling() {
    let commands = [
        (ATOM, format!("A1 LOGIN {USER} {ATOM}\r\n")),
        (ATOM, format!("A1 login \"{USER}\" {ATOM}\r\n")),
        (ATOM, format!("A1 LOGIN {USER} {ATOM}\n")),
        (QUOTED, format!("A1 LOGIN {USER} \"{QUOTED}\"\r\n")),
        (ESCAPED, format!("A1 LOGIN {USER} \"hunter2 \\\"Escaped\\\\ Secret\"\r\n")),
        (LITERAL, format!("A1 LOGIN {USER} {{{}+}}\r\n{LITERAL}\r\n", LITERAL.len())),
        (LITERAL, format!("A1 LOGIN {{5+}}\r\n{USER} {{{}+}}\r\n{LITERAL}\r\n", LITERAL.len())),
        (ATOM, format!("A1 LOGIN {{5+}}\r\n{USER} {ATOM}\r\n")),
    ];
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, FULL);
        for (secret, command) in &commands {
            let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
            exchange(&mut client, &mut server, command.as_bytes(), echo(secret).as_bytes());
            exchange(&mut client, &mut server, command.as_bytes(), b"A1 OK logged in\r\n");
            // A second time is once too often, but no less secret.
            exchange(&mut client, &mut server, command.as_bytes(), echo(secret).as_bytes());
        }
        told_nothing(&bench);
    }
}

#[test]
fn login_at_every_trace_level() {
    for level in ["off", "summary", "full"] {
        let bench = Bench::new(Insecure, Insecure, &format!("trace = \"{level}\""));
        let (mut client, mut server) = bench.session();
        let command = format!("A1 LOGIN {USER} {ATOM}\r\n");
        exchange(&mut client, &mut server, command.as_bytes(), echo(ATOM).as_bytes());
        told_nothing(&bench);
    }
}

#[test]
fn login_with_collected_literals() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    let (mut client, mut server) = bench.session();
    let size = LITERAL.len();
    client.send("A1 LOGIN {5}\r\n");
    client.expect("+ proxy: Literal accepted by proxy\r\n");
    client.send(format!("{USER} {{{size}}}\r\n"));
    client.expect("+ proxy: Literal accepted by proxy\r\n");
    client.send(format!("{LITERAL}\r\n"));
    server.expect("A1 LOGIN {5}\r\n");
    server.send("+ go on\r\n");
    server.expect(format!("{USER} {{{size}}}\r\n"));
    server.send("+ go on\r\n");
    server.expect(format!("{LITERAL}\r\n"));
    server.send(echo(LITERAL));
    client.expect(echo(LITERAL));
    told_nothing(&bench);
}

/// A password that is too large to be collected is no less secret.
#[test]
fn login_with_streamed_literals() {
    let bench = Bench::new(Insecure, Insecure, "trace = { level = \"full\", max_body = 4096 }");
    let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
    let password = format!("{LITERAL} ").repeat(500);
    let size = password.len();
    let command = format!("A1 LOGIN {USER} {{{size}+}}\r\n{password}\r\n");
    exchange(&mut client, &mut server, command.as_bytes(), echo(LITERAL).as_bytes());
    let command = format!("A1 LOGIN {USER} {{{size}}}\r\n");
    exchange(&mut client, &mut server, command.as_bytes(), b"+ go on\r\n");
    let rest = format!("{password}\r\n");
    exchange(&mut client, &mut server, rest.as_bytes(), b"A1 OK logged in\r\n");
    told_nothing(&bench);
}

#[test]
fn login_in_pieces() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    let (mut client, mut server) = bench.session();
    let command = format!("A1 LOGIN {USER} {ATOM}\r\n");
    client.send_bytewise(&command);
    server.expect(&command);
    server.send_bytewise(echo(ATOM));
    client.expect(echo(ATOM));
    told_nothing(&bench);
}

#[test]
fn authenticate() {
    let plain = secrets::sasl_plain(SASL);
    let xoauth2 = secrets::xoauth2(TOKEN);
    let bearer = secrets::oauthbearer(TOKEN);
    let login = secrets::base64(SASL);
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, FULL);
        for (mechanism, secret, responses) in [
            ("PLAIN", SASL, vec![&plain]),
            ("plain", SASL, vec![&plain]),
            ("XOAUTH2", TOKEN, vec![&xoauth2]),
            ("OAUTHBEARER", TOKEN, vec![&bearer]),
            ("LOGIN", SASL, vec![&login, &login]),
        ] {
            for with_initial_response in [false, true] {
                let (mut client, mut server) = bench.session();
                let mut responses = responses.iter();
                let mut line = format!("A1 AUTHENTICATE {mechanism}");
                if with_initial_response {
                    line = format!("{line} {}", responses.next().expect("one"));
                }
                let mut step = |line: String, answer: &str| {
                    exchange(&mut client, &mut server, line.as_bytes(), answer.as_bytes());
                };
                for response in responses {
                    // The challenge repeats the secret, too.
                    step(format!("{line}\r\n"), &format!("+ {response}\r\n"));
                    line = (*response).clone();
                }
                let answer = echo(&line).replace("A1 NO", "* NO") + &echo(secret);
                step(format!("{line}\r\n"), &answer);
                step(format!("{line}\r\n"), "* BAD what is this?\r\n");
            }
        }
        told_nothing(&bench);
    }
}

#[test]
fn refused_mechanism_with_its_data() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    let (mut client, mut server) = bench.session();
    let data = secrets::sasl_plain(SASL);
    client.send(format!("A1 AUTHENTICATE NTLM {data}\r\n"));
    client.expect_line_starting("A1 NO [CANNOT] proxy: ");
    client.send(format!("A1 AUTHENTICATE {SASL} {data}\r\n"));
    client.expect_line_starting("A1 NO [CANNOT] proxy: ");
    // The client did not wait for the answer.
    let line = format!("{data}\r\n");
    exchange(&mut client, &mut server, line.as_bytes(), b"* BAD what is this?\r\n");
    told_nothing(&bench);
}

/// A password typed in the wrong place is one all the same.
#[test]
fn mistyped_logins() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    let plain = secrets::sasl_plain(MISTYPED);
    for line in [
        format!("A1 LOGN {USER} {MISTYPED}"),
        format!("LOGIN {USER} {MISTYPED}"),
        format!("{USER} {MISTYPED}"),
        format!("{USER} LOGIN {MISTYPED}"),
        MISTYPED.to_owned(),
        format!("A1 {MISTYPED}"),
        format!("A1  LOGIN {USER} {MISTYPED}"),
        format!(" A1 LOGIN {USER} {MISTYPED}"),
        format!("A1\tLOGIN\t{USER}\t{MISTYPED}"),
        format!("A1 LOGIN {USER}  {MISTYPED}"),
        format!("A1 LOGIN {MISTYPED}"),
        format!("A1 LOGIN {USER} {MISTYPED} more"),
        format!("A1 LOGIN {USER} \"{MISTYPED}"),
        format!("A1 LOGIN \"{USER} {MISTYPED}"),
        format!("A1 LOGIN {USER} {MISTYPED}\0"),
        format!("A1 LOGIN {USER} (\"{MISTYPED}\")"),
        format!("A1 LOGIN {USER} {MISTYPED} \r"),
        format!("A1 SELECT {USER} {MISTYPED}"),
        format!("A1 NOOP {MISTYPED}"),
        plain.clone(),
        format!("A1 {plain}"),
        format!("PLAIN {plain}"),
        format!("AUTHENTICATE PLAIN {plain}"),
        format!("A1 AUTH PLAIN {plain}"),
        format!("A1 AUTHENTICATE  PLAIN  {plain}"),
        format!("A1 AUTHENTICATE PLAIN {MISTYPED}"),
        format!("A1 AUTHENTICATE PLAIN {plain} {plain}"),
    ] {
        let (mut client, mut server) = bench.session();
        let last = line.split_whitespace().last().expect("a word");
        let answer = format!("* BAD cannot read {}\r\n{}", line.trim_end(), echo(last));
        let line = format!("{line}\r\n");
        exchange(&mut client, &mut server, line.as_bytes(), answer.as_bytes());
    }
    told_nothing(&bench);
}

#[test]
fn login_that_is_too_long() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    let (mut client, mut server) = bench.session();
    client.send(format!("A1 LOGIN {USER} {}\r\n", MISTYPED.repeat(4000)));
    client.expect_line_starting("A1 BAD proxy: ");
    client.send(format!("A1 LOGIN {USER} {MISTYPED}{}\r\n", " ".repeat(70_000)));
    client.expect_line_starting("A1 BAD proxy: ");
    client.send(format!("{}\r\n", MISTYPED.repeat(4000)));
    client.expect_line_starting("* BAD proxy: ");
    // Within the limit, but more than a trace holds.
    let command = format!("A1 LOGIN {USER} {}\r\n", MISTYPED.repeat(2000));
    exchange(&mut client, &mut server, command.as_bytes(), echo(MISTYPED).as_bytes());
    told_nothing(&bench);
}

#[test]
fn login_with_a_forbidden_literal() {
    let keys = format!("{FULL}\nlimits = {{ literal = 10 }}");
    let bench = Bench::new(Insecure, Insecure, &keys);
    let (mut client, _server) = bench.session();
    client.send(format!("A1 LOGIN {USER} {{{}+}}\r\n{LITERAL}\r\n", LITERAL.len()));
    client.expect_line_starting("A1 NO [TOOBIG] proxy: ");
    told_nothing(&bench);
}

#[test]
fn login_that_is_cut() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    for begin in [
        format!("A1 LOGIN {USER} {MISTYPED}"),
        format!("A1 LOGIN {USER} {{{}+}}\r\n{MISTYPED}", MISTYPED.len()),
        format!("A1 LOGIN {USER} {{100+}}\r\n{MISTYPED}"),
        format!("A1 AUTHENTICATE PLAIN {}", secrets::sasl_plain(MISTYPED)),
    ] {
        let (mut client, mut server) = bench.session();
        client.send_and_end(begin);
        server.gone();
    }
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE PLAIN\r\n", b"+ \r\n");
    client.send_and_end(secrets::sasl_plain(MISTYPED));
    server.gone();
    told_nothing(&bench);
}

#[test]
fn bodies_are_left_out() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
    exchange(&mut client, &mut server, b"A1 LOGIN alice \"\"\r\n", b"A1 OK logged in\r\n");
    let command = b"A2 APPEND INBOX {12+}\r\nprivate mail\r\n";
    exchange(&mut client, &mut server, command, b"A2 OK done\r\n");
    let response = b"* 1 FETCH (BODY[] {12}\r\nprivate mail)\r\nA3 OK done\r\n";
    exchange(&mut client, &mut server, b"A3 FETCH 1 BODY[]\r\n", response);
    told_nothing(&bench);
    let log = bench.proxy.log();
    assert!(log.contains("Append {") && log.contains("Fetch {"), "{log}");
    assert!(!log.contains("private mail"), "{log}");
}

/// What a peer sends cannot fake a line of the log, nor talk to the terminal that shows it.
#[test]
fn control_characters_are_escaped() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    let (mut client, mut server) = bench.session();
    for response in [
        "* OK \x1b[31mred\rfaked\r\n",
        "nonsense \x1b[31m\r\r\n",
        "* 1 FETCH (X {4}\r\n\x1b\nfaked)\r\n",
        "A1 OK [\x1b] \u{85}\u{9b}31m\r\n",
    ] {
        exchange(&mut client, &mut server, b"A1 NOOP \x1b[2J\r\n", response.as_bytes());
    }
    told_nothing(&bench);
    let log = bench.proxy.log();
    let control = log.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{}", log.escape_debug());
    assert!(log.lines().all(|line| !line.starts_with("faked")), "{log}");
}

/// The tests above are able to fail: a proxy that is told to reveal secrets does.
#[test]
fn secrets_can_be_revealed() {
    let bench = Bench::revealing("trace = { level = \"full\", reveal_secrets = true }");
    let (mut client, mut server) = bench.session();
    let command = format!("A1 LOGIN {USER} {ATOM}\r\n");
    exchange(&mut client, &mut server, command.as_bytes(), b"A1 OK logged in\r\n");
    bench.proxy.wait_log(ATOM);
}

#[test]
fn secrets_are_found_in_each_form() {
    for secret in secrets::ALL {
        for text in [
            format!("A1 LOGIN {USER} {secret}"),
            format!("{:?}", format!("A1 LOGIN {USER} \"{secret}\"")),
            format!("Secret({:?})", secret.as_bytes()),
            secrets::base64(secret),
            secrets::sasl_plain(secret),
            secrets::xoauth2(secret),
            secrets::oauthbearer(secret),
        ] {
            assert_eq!(secrets::found_in(&text), Some(*secret), "{text}");
        }
    }
    assert_eq!(secrets::found_in("A1 LOGIN alice \"***\""), None);
}

/// By now everything is in the log, and no secret is.
#[track_caller]
fn told_nothing(bench: &Bench) {
    // The log is written in the order of what happened: this comes last.
    let (mut client, mut server) = bench.session();
    server.send("* CAPABILITY X-MARKER\r\n");
    client.expect("* CAPABILITY\r\n");
    bench.proxy.wait_log("X-MARKER");
    let log = bench.proxy.log();
    assert_eq!(secrets::found_in(&log), None, "{log}");
}

/// A server that takes the password for a capability: its name is not told.
#[test]
fn capabilities_that_are_passwords() {
    for level in ["off", "summary", "full"] {
        let bench = Bench::new(Insecure, Insecure, &format!("trace = \"{level}\""));
        let (mut client, mut server) = bench.session();
        for answer in ["A1 NO", "A1 BAD", "A1 OK"] {
            let login = format!("A1 LOGIN {USER} {ATOM}\r\n");
            client.send(&login);
            server.expect(&login);
            server.send(format!("* CAPABILITY {ATOM}\r\n{answer} [CAPABILITY IDLE {ATOM}] so\r\n"));
            client.expect(format!("* CAPABILITY\r\n{answer} [CAPABILITY IDLE] so\r\n"));
        }
        bench.proxy.wait_log("capability <withheld> of the server is not passed on");
        told_nothing(&bench);
    }
}

/// What was too long to be kept cannot be known again: nothing that the server says is shown.
#[test]
fn the_end_of_a_long_line_and_a_literal_in_its_place() {
    let bench = Bench::new(Insecure, Insecure, FULL);
    for command in [
        format!("A1 AUTHENTICATE PLAIN {}{ATOM}\r\n", "x".repeat(10_000)),
        format!("A1 LOGIN {USER} {} {ATOM}\r\n", "x".repeat(10_000)),
        format!("A1 AUTHENTICATE PLAIN {{{}+}}\r\n{ATOM}\r\n", ATOM.len()),
    ] {
        let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
        exchange(&mut client, &mut server, command.as_bytes(), echo(ATOM).as_bytes());
    }
    told_nothing(&bench);
}
