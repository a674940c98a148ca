//! Literals of any kind and size, and connections that are cut in the middle of them: what was sent
//! arrives, and others are unharmed.

mod common;

use std::thread;

use common::{
    bench::{Bench, COMBINATIONS, exchange, told_bye},
    peer::transfer,
};

/// Above what the proxy collects.
const LARGE: usize = 9000;

/// A server may have enough of a literal in the middle of it, and still read on.
#[test]
fn refusal_in_the_middle_of_a_literal() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        let announcement = b"A1 APPEND INBOX {9000}\r\n";
        exchange(&mut client, &mut server, announcement, b"+ go on\r\n");
        exchange(&mut client, &mut server, &[b'x'; 4000], b"A1 NO [OVERQUOTA] full\r\n");
        // It is content still, and no command.
        let mut rest = b"\r\nA2 COMPRESS DEFLATE\r\n".to_vec();
        rest.resize(5000, b'x');
        exchange(&mut client, &mut server, &rest, b"* 1 EXISTS\r\n");
        exchange(&mut client, &mut server, b"\r\n", b"* 2 EXISTS\r\n");
        bench.goes_on(&mut client, &mut server);
    }
}

/// The client is told, though it sends and the server reads no more.
#[test]
fn server_that_says_bye_in_the_middle_of_a_literal() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        let announcement = b"A1 APPEND INBOX {100000000}\r\n";
        exchange(&mut client, &mut server, announcement, b"+ go on\r\n");
        client.send(vec![b'x'; 100_000]);
        server.send_and_end("* BYE full\r\n");
        client.expect("* BYE full\r\n");
        client.eof();
        bench.serves_another();
    }
}

#[test]
fn resets_in_the_middle_of_a_literal() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        for literal in ["{100}", "{100000}"] {
            let (mut client, mut server) = bench.session();
            client.send(format!("A1 APPEND INBOX {literal}\r\n"));
            if literal == "{100000}" {
                server.expect("A1 APPEND INBOX {100000}\r\n");
                server.send("+ go on\r\n");
            }
            client.expect_line_starting("+ ");
            client.send("part");
            if literal == "{100000}" {
                server.expect("part");
            }
            client.reset();
            server.gone();

            let (mut client, mut server) = bench.session();
            server.send(format!("* 1 FETCH (BODY[] {literal}\r\npart"));
            client.expect(format!("* 1 FETCH (BODY[] {literal}\r\npart"));
            server.reset();
            // A BYE would be content.
            client.eof();
        }
        bench.serves_another();
    }
}

/// What the client sent of a literal goes as far as it came.
#[test]
fn half_close_in_the_middle_of_a_literal() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        exchange(&mut client, &mut server, b"A1 APPEND INBOX {9000}\r\n", b"+ go on\r\n");
        client.send_and_end("part");
        server.expect("part");
        server.eof();
        server.send_and_end("* BYE what?\r\n");
        client.expect("* BYE what?\r\n");
        client.eof();

        // Nobody has seen anything of what is collected.
        let (mut client, mut server) = bench.session();
        client.send_and_end("A1 LOGIN {5}\r\nal");
        client.expect("+ proxy: Literal accepted by proxy\r\n");
        server.eof();
        server.send_and_end("* BYE what?\r\n");
        client.expect("* BYE what?\r\n");
        client.eof();
        bench.serves_another();
    }
}

/// `{0}` where the literals of a command stream, too.
#[test]
fn empty_literals() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable("IMAP4rev1 LITERAL+");
    exchange(&mut client, &mut server, b"A1 APPEND INBOX {9000}\r\n", b"+ go on\r\n");
    let next = [&[b'x'; LARGE][..], b" {0}\r\n"].concat();
    exchange(&mut client, &mut server, &next, b"+ nothing\r\n");
    exchange(&mut client, &mut server, b" {0+}\r\n ~{0+}\r\n\r\n", b"A1 OK done\r\n");
    for response in [
        "* LIST () \"/\" {0}\r\n\r\n",
        "* 1 FETCH (BODY[] {0}\r\n BODY[1] ~{0}\r\n)\r\n",
        "* 1 FETCH (BODY[] {00}\r\n)\r\n",
    ] {
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", response.as_bytes());
    }
    bench.goes_on(&mut client, &mut server);
}

/// Lines of any length end in text that looks like an announcement, or in an announcement.
#[test]
fn announcements_at_the_end_of_long_lines() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        for size in [8180, 8192, 8200, 65_530, 65_536, 65_540, 300_000] {
            let x = "x".repeat(size);
            for text in ["* OK", "* NO [ALERT]", "A1 OK", "+"] {
                let response = format!("{text} {x} {{5}}\r\n* 1 EXISTS\r\n");
                transfer(&mut server, &mut client, response.as_bytes());
            }
            let response = format!("* FLAGS ({x} {{9}}\r\n* OK {{5}}\r {x} ~{{2}}\r\n\r\n)\r\n");
            transfer(&mut server, &mut client, response.as_bytes());
        }
        bench.goes_on(&mut client, &mut server);
    }
}

/// RFC 3516, where the server has to agree to it.
#[test]
fn literal8_that_streams() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    exchange(&mut client, &mut server, b"A1 APPEND INBOX ~{9000}\r\n", b"+ go on\r\n");
    exchange(&mut client, &mut server, &[0; LARGE], b"* 1 EXISTS\r\n");
    exchange(&mut client, &mut server, b"\r\n", b"A1 OK done\r\n");
    // LITERAL+ is not offered: the proxy waits in place of the client.
    client.send("A2 APPEND INBOX ~{9000+}\r\n");
    server.expect("A2 APPEND INBOX ~{9000}\r\n");
    server.send("+ go on\r\n");
    exchange(&mut client, &mut server, &[0; LARGE], b"* 2 EXISTS\r\n");
    exchange(&mut client, &mut server, b"\r\n", b"A2 OK done\r\n");
    let response = [b"* 1 FETCH (BINARY[] ~{9000}\r\n", &[0; LARGE][..], b")\r\n"].concat();
    exchange(&mut client, &mut server, b"A3 NOOP\r\n", &response);
    bench.goes_on(&mut client, &mut server);
}

/// 4 GiB and more than anybody has. What comes of it is delivered, and nobody waits for the rest.
#[test]
fn huge_announcements_of_a_server() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        for size in ["4294967295", "4294967296", "9223372036854775808", "18446744073709551615"] {
            let (mut client, mut server) = bench.session();
            let response = format!("* 1 FETCH (BODY[] {{{size}}}\r\nA1 OK content\r\n");
            exchange(&mut client, &mut server, b"A1 NOOP\r\n", response.as_bytes());
            // The other direction is as it was.
            exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK content\r\n");
            client.send_and_end("A3 LOGOUT\r\n");
            server.expect("A3 LOGOUT\r\n");
            server.eof();
            server.send_and_end("the end");
            client.expect("the end");
            client.eof();
        }
        bench.serves_another();
    }
}

/// Both sides fail at the same time.
#[test]
fn both_sides_reset() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        for _ in 0..20 {
            let (client, server) = bench.session();
            thread::scope(|scope| {
                scope.spawn(|| client.reset());
                server.reset();
            });
        }
        bench.serves_another();
    }
}

/// A server that has nothing more to say is gone, even though it would listen.
#[test]
fn half_close_of_the_server() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        client.send("A1 NOOP\r\n");
        server.expect("A1 NOOP\r\n");
        server.shutdown_write();
        server.gone();
        told_bye(client);
        bench.serves_another();
    }
}
