//! How sessions end: whatever was sent arrives, and both sides are told.

mod common;

use common::bench::{
    Bench, COMBINATIONS,
    Encryption::{Insecure, StartTls},
    GREETING, exchange, told_bye,
};

/// The last bytes and the end of the stream may come in one segment.
#[test]
fn last_words_of_the_server_arrive_whole() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        for size in [0, 1, 30, 43, 56, 69, 82, 95, 581, 5722, 16_384, 100_000] {
            let (mut client, mut server) = bench.session();
            client.send("A1 LOGOUT\r\n");
            server.expect("A1 LOGOUT\r\n");
            let last = format!("* OK {}\r\n* BYE bye\r\nA1 OK done\r\n", "x".repeat(size));
            server.send_and_end(&last);
            client.expect(&last);
            client.eof();
        }
    }
}

#[test]
fn server_that_says_bye_and_closes() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    server.send_and_end("* BYE idle for too long\r\n");
    client.expect("* BYE idle for too long\r\n");
    client.eof();
}

#[test]
fn client_is_told_when_the_server_closes() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        server.send_and_end("* 1 EXISTS\r\n");
        client.expect("* 1 EXISTS\r\n");
        told_bye(client);

        // Without close_notify.
        let (client, server) = bench.session();
        drop(server);
        told_bye(client);

        let (client, server) = bench.session();
        server.reset();
        told_bye(client);
    }
}

#[test]
fn client_is_told_whatever_it_was_doing() {
    let bench = Bench::insecure();
    let lines =
        ["A1 AUTHENTICATE PLAIN\r\n", "A1 IDLE\r\n", "A1 APPEND INBOX {9999}\r\n", "A1 NOOP\r\n"];
    for line in lines {
        let (mut client, mut server) = bench.session();
        exchange(&mut client, &mut server, line.as_bytes(), b"+ go on\r\n");
        server.shutdown_write();
        told_bye(client);

        let (mut client, mut server) = bench.session();
        client.send(line);
        server.expect(line);
        server.shutdown_write();
        told_bye(client);
    }
    // While the proxy waits for the server to accept a collected literal.
    let (mut client, mut server) = bench.session();
    client.send("A1 SELECT {5}\r\nINBOX\r\n");
    server.expect("A1 SELECT {5}\r\n");
    client.expect("+ proxy: Literal accepted by proxy\r\n");
    server.shutdown_write();
    told_bye(client);
}

/// A BYE inside a literal would be content.
#[test]
fn message_that_the_server_does_not_finish() {
    let bench = Bench::insecure();
    for part in ["* 1 FETCH (BODY[] {100}\r\nhello", "* 1 FETCH (BODY[] {5}\r\nhello"] {
        let (mut client, mut server) = bench.session();
        server.send_and_end(part);
        client.expect(part);
        client.eof();
    }
}

#[test]
fn client_that_closes_its_half_gets_all_answers() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        client.send_and_end("A1 FETCH 1 BODY[]\r\nA2 LOGOUT\r\n");
        server.expect("A1 FETCH 1 BODY[]\r\nA2 LOGOUT\r\n");
        server.eof();
        let body = "x".repeat(100_000);
        let answers = format!("* 1 FETCH (BODY[] {{100000}}\r\n{body})\r\nA1 OK done\r\n");
        server.send(&answers);
        server.send_and_end("* BYE bye\r\nA2 OK done\r\n");
        client.expect(&answers);
        client.expect("* BYE bye\r\nA2 OK done\r\n");
        client.eof();
    }
}

/// A command that is cut short goes as far as it came: what to make of it is for the server.
#[test]
fn last_words_of_the_client_arrive_whole() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send_and_end("A1 NOOP\r\nA2 NO");
    server.expect("A1 NOOP\r\nA2 NO");
    server.eof();
}

#[test]
fn client_that_leaves_frees_the_server() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        for said in [
            "",
            "A1 NO",
            "A1 NOOP\r\n",
            "A1 IDLE\r\n",
            "A1 AUTHENTICATE PLAIN\r\n",
            "A1 SELECT {5}\r\nIN",
            "A1 APPEND INBOX {9999}\r\n",
        ] {
            let (mut client, mut server) = bench.session();
            client.send(said);
            drop(client);
            server.gone();

            let (mut client, mut server) = bench.session();
            client.send(said);
            client.reset();
            server.gone();
        }
    }
}

/// What it had to say is on hold, so the proxy must look behind that.
#[test]
fn client_that_leaves_without_waiting_frees_the_server() {
    let bench = Bench::insecure();
    for (first, held) in [
        ("A1 AUTHENTICATE PLAIN\r\n", "AGEAYg==\r\n"),
        ("A1 IDLE\r\n", "DONE\r\n"),
        ("A1 APPEND INBOX {9999}\r\n", "held"),
    ] {
        let (mut client, mut server) = bench.session();
        client.send([first, held].concat());
        server.expect(first);
        client.reset();
        server.gone();
    }
}

#[test]
fn client_that_leaves_before_the_greeting_frees_the_server() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "timeouts = { greeting = \"1h\" }");
        let (client, mut server) = bench.connect();
        client.reset();
        server.gone();

        // With STARTTLS the server has the word: it is given 10 seconds.
        if connect == StartTls && bind != Insecure {
            continue;
        }
        let (client, mut server) = bench.connect();
        drop(client);
        server.gone();
    }
}

#[test]
fn client_that_leaves_during_a_download_frees_the_server() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (client, mut server) = bench.session();
        server.send("* 1 FETCH (BODY[] {4000000000}\r\n");
        client.reset();
        server.send_until_gone([b'x'; 16_384]);
    }
}

#[test]
fn server_that_leaves_during_an_upload() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.logged_in();
    let announcement = b"A1 APPEND INBOX {4000000000}\r\n";
    exchange(&mut client, &mut server, announcement, b"+ go on\r\n");
    server.reset();
    client.send_until_gone([b'x'; 16_384]);
}

/// A peer that takes nothing must not hold the other one for ever.
#[test]
fn peer_that_takes_nothing_is_dropped() {
    let bench = Bench::new(Insecure, Insecure, "timeouts = { write_stall = \"1s\" }");
    let (_stalled, mut server) = bench.session();
    server.send("* 1 FETCH (BODY[] {4000000000}\r\n");
    server.send_until_gone([b'x'; 16_384]);

    let (mut client, mut stalled) = bench.logged_in();
    let announcement = b"A1 APPEND INBOX {4000000000}\r\n";
    exchange(&mut client, &mut stalled, announcement, b"+ go on\r\n");
    client.send_until_gone([b'x'; 16_384]);
}

#[test]
fn client_that_says_nothing_is_logged_out() {
    let bench = Bench::new(Insecure, Insecure, "timeouts = { login = \"1s\" }");
    for said in ["", "A1 NO", "A1 LOGIN {5}\r\nal", "A1 IDLE\r\n", "A1 APPEND INBOX {9999}\r\n"] {
        let (mut client, mut server) = bench.session();
        client.send(said);
        if said.contains("LOGIN") {
            client.expect("+ proxy: Literal accepted by proxy\r\n");
        }
        told_bye(client);
        server.gone();
    }
}

#[test]
fn clients_are_told_when_the_proxy_stops() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let sessions: Vec<_> = (0..3).map(|_| bench.session()).collect();
        bench.proxy.terminate();
        for (client, mut server) in sessions {
            told_bye(client);
            server.gone();
        }
    }
}

/// The client may speak before it is spoken to.
#[test]
fn command_before_the_greeting() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.connect();
    client.send("A1 NOOP\r\nA2 COMPRESS DEFLATE\r\n");
    server.send(GREETING);
    client.expect(GREETING);
    server.expect("A1 NOOP\r\n");
    client.expect_line_starting("A2 NO [CANNOT] proxy: ");
    server.send("A1 OK done\r\n");
    client.expect("A1 OK done\r\n");
}
