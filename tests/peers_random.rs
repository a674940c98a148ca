//! Random conversations: whatever literals, refusals and pushes come in whatever pieces, both sides
//! agree on what was said.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

mod common;

use std::thread;

use common::{
    bench::{Bench, COMBINATIONS, Encryption::Insecure},
    dice::Dice,
    peer::Peer,
};

const COMMANDS: usize = 150;

/// Around the bounds of what is collected (4096), of a TLS record and of a buffer.
const SIZES: &[usize] = &[0, 1, 5, 100, 2000, 4095, 4096, 4097, 9000, 16_384, 70_000];

#[test]
fn conversations_without_tls() {
    let bench = Bench::new(Insecure, Insecure, "trace = \"full\"");
    for (offer, seed) in ["IMAP4rev1", "LITERAL-", "LITERAL+"].into_iter().zip(1..) {
        converse(&bench, offer, seed);
    }
}

#[test]
fn conversations_with_tls() {
    for ((bind, connect), seed) in COMBINATIONS.into_iter().zip(10..) {
        converse(&Bench::new(bind, connect, ""), "IMAP4rev1 LITERAL+", seed);
    }
}

/// Whatever nonsense both sides talk, the proxy neither breaks nor gets stuck.
#[test]
fn nonsense() {
    let bench = Bench::new(Insecure, Insecure, "trace = \"full\"");
    for seed in 100..400 {
        let (mut client, mut server) = bench.session();
        thread::scope(|scope| {
            scope.spawn(|| client.send_in_vain(babble(Dice::new(seed))));
            server.send_in_vain(babble(Dice::new(seed + 1000)));
        });
        drop(server);
        client.gone();
    }
    converse(&bench, "IMAP4rev1 LITERAL+", 50);
}

/// Runs a session, and compares what one side said with what the other one heard.
#[track_caller]
fn converse(bench: &Bench, offer: &str, seed: u64) {
    let (mut client, mut server) = bench.capable(offer);
    let (client_side, server_side) = thread::scope(|scope| {
        let client_side = scope.spawn(|| run_client(&mut client, Dice::new(seed)));
        let server_side = run_server(&mut server, Dice::new(seed + 1000));
        (client_side.join().expect("the client's side"), server_side)
    });
    client.eof();
    assert_eq!(client_side.heard, server_side.said, "responses, seed {seed}");
    let mut said = client_side.said.iter();
    for heard in &server_side.heard {
        let said = said.next().expect("a command for each that was heard");
        let same = if heard.refused {
            said.bytes.starts_with(&heard.bytes)
        } else {
            said.bytes == heard.bytes
        };
        assert!(same, "seed {seed}: {} became {}", show(&said.bytes), show(&heard.bytes));
        assert_eq!(said.refused, heard.refused, "seed {seed}: the answer to {}", show(&said.bytes));
    }
    assert!(said.next().is_none(), "seed {seed}: a command did not arrive");
}

/// A command, with every literal announced as one that waits.
struct Command {
    bytes: Vec<u8>,
    refused: bool,
}

struct Record<Said, Heard> {
    said: Said,
    heard: Heard,
}

/// Sends commands one after the other. Keeps those that the proxy does not answer itself, and the
/// responses that are no answers.
fn run_client(peer: &mut Peer, mut dice: Dice) -> Record<Vec<Command>, Vec<u8>> {
    let mut record = Record { said: Vec::new(), heard: Vec::new() };
    for number in 0..COMMANDS {
        let tag = format!("T{number}");
        if dice.one_in(10) {
            send(peer, &mut dice, format!("{tag} COMPRESS DEFLATE\r\n").as_bytes());
            let answer = answer(peer, &mut record.heard);
            assert!(answer.starts_with(format!("{tag} NO [CANNOT] proxy: ").as_bytes()));
            continue;
        }
        let verb = dice.pick(&["APPEND", "SELECT", "SEARCH", "FROBNICATE"]);
        let mut bytes = format!("{tag} {verb} some").into_bytes();
        let mut line = bytes.clone();
        let mut early = None;
        for _ in 0..dice.below(4) {
            let size = *dice.pick(SIZES);
            let literal8 = dice.pick(&["", "~"]);
            let sync = dice.one_in(2);
            let plus = if sync { "" } else { "+" };
            bytes.extend(format!(" {literal8}{{{size}}}\r\n").bytes());
            line.extend(format!(" {literal8}{{{size}{plus}}}\r\n").bytes());
            send(peer, &mut dice, &line);
            line = content(&mut dice, size);
            bytes.extend(&line);
            if sync {
                let word = answer(peer, &mut record.heard);
                if !word.starts_with(b"+ ") {
                    early = Some(word);
                    break;
                }
            }
        }
        let word = early.unwrap_or_else(|| {
            bytes.extend(b" end\r\n");
            send(peer, &mut dice, &[&line[..], b" end\r\n"].concat());
            answer(peer, &mut record.heard)
        });
        let refused = word.starts_with(format!("{tag} NO").as_bytes());
        assert!(refused || word.starts_with(format!("{tag} OK").as_bytes()), "{}", show(&word));
        record.said.push(Command { bytes, refused });
    }
    peer.send("Z LOGOUT\r\n");
    assert_eq!(answer(peer, &mut record.heard), b"Z OK bye\r\n");
    record
}

/// Takes in commands until LOGOUT; refuses some literals; says more than it is asked.
fn run_server(peer: &mut Peer, mut dice: Dice) -> Record<Vec<u8>, Vec<Command>> {
    let mut record = Record { said: Vec::new(), heard: Vec::new() };
    loop {
        let mut command = Command { bytes: Vec::new(), refused: false };
        loop {
            let line = peer.line();
            let announced = announced(&line);
            command.bytes.extend(line);
            let Some((size, sync)) = announced else { break };
            if sync {
                push(peer, &mut dice, &mut record.said);
                if dice.one_in(5) {
                    command.refused = true;
                    break;
                }
                peer.send("+ go on\r\n");
            } else {
                let end = command.bytes.len() - "+}\r\n".len();
                command.bytes.splice(end.., *b"}\r\n");
            }
            command.bytes.extend(peer.exactly(size));
        }
        push(peer, &mut dice, &mut record.said);
        if command.bytes == b"Z LOGOUT\r\n" {
            let bye = b"* BYE bye\r\n";
            record.said.extend(bye);
            peer.send_and_end([&bye[..], b"Z OK bye\r\n"].concat());
            return record;
        }
        let tag = command.bytes.split(|byte| *byte == b' ').next().expect("a tag");
        let condition: &[u8] = if command.refused { b" NO\r\n" } else { b" OK done {3}\r\n" };
        send(peer, &mut dice, &[tag, condition].concat());
        record.heard.push(command);
    }
}

/// The next continuation request or tagged status. What comes before goes to `others`.
fn answer(peer: &mut Peer, others: &mut Vec<u8>) -> Vec<u8> {
    loop {
        let line = peer.line();
        if !line.starts_with(b"* ") {
            return line;
        }
        let text = line.starts_with(b"* OK ");
        let mut announcement = announced(&line).filter(|_| !text);
        others.extend(line);
        while let Some((size, _)) = announcement {
            others.extend(peer.exactly(size));
            let line = peer.line();
            announcement = announced(&line);
            others.extend(line);
        }
    }
}

/// Sends up to three responses that nobody asked for.
fn push(peer: &mut Peer, dice: &mut Dice, said: &mut Vec<u8>) {
    for _ in 0..dice.below(4) {
        let response = match dice.below(4) {
            0 => b"* 5 EXISTS\r\n".to_vec(),
            1 => b"* OK text {5}\r\n".to_vec(),
            2 => {
                let size = *dice.pick(SIZES);
                [b"* SEARCH ", "1 ".repeat(size).as_bytes(), b"\r\n"].concat()
            }
            _ => {
                let size = *dice.pick(SIZES);
                let head = format!("* 1 FETCH (BODY[] {{{size}}}\r\n").into_bytes();
                [head, content(dice, size), b" X {3}\r\n}\r\n)\r\n".to_vec()].concat()
            }
        };
        send(peer, dice, &response);
        said.extend(response);
    }
}

/// Sends it, in a few pieces at times.
fn send(peer: &mut Peer, dice: &mut Dice, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() && dice.one_in(2) {
        let (piece, others) = rest.split_at(dice.below(rest.len()) + 1);
        peer.send(piece);
        rest = others;
    }
    peer.send(rest);
}

/// The size of the literal that a line announces, and whether its sender waits.
fn announced(line: &[u8]) -> Option<(usize, bool)> {
    let line = str::from_utf8(line).ok()?.strip_suffix("}\r\n")?;
    let (_, inside) = line.rsplit_once('{')?;
    let sync = !inside.ends_with('+');
    Some((inside.trim_end_matches('+').parse().ok()?, sync))
}

/// Content that looks like messages.
fn content(dice: &mut Dice, size: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < size {
        let part = dice.pick(&["T1 OK\r\n", "{5}\r\n", "+ x\r\n", "* BYE x\r\n", "\0", "x", "\n"]);
        content.extend(part.bytes());
    }
    content.truncate(size);
    content
}

/// Pieces of the protocol, in no sensible order.
fn babble(mut dice: Dice) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b" ",
        b" ",
        b"\0",
        b"\xff",
        b"\"",
        b"\\",
        b"(",
        b")",
        b"{",
        b"}",
        b"+}\r\n",
        b"{5}\r\n",
        b"{5+}\r\n",
        b"~{0}\r\n",
        b"{4097}\r\n",
        b"{99999999999}\r\n",
        b"A1",
        b"A1 ",
        b"A2 ",
        b"* ",
        b"+ ",
        b"+\r\n",
        b"OK",
        b"NO",
        b"BAD",
        b"BYE",
        b"PREAUTH",
        b"[CAPABILITY ",
        b"* CAPABILITY ",
        b"] ",
        b"IMAP4rev1 ",
        b"COMPRESS=DEFLATE ",
        b"LITERAL+ ",
        b"A1 LOGIN ",
        b"A1 AUTHENTICATE PLAIN",
        b"A1 AUTHENTICATE GSSAPI ",
        b"AGEAYg==\r\n",
        b"*\r\n",
        b"A1 IDLE\r\n",
        b"DONE\r\n",
        b"A1 COMPRESS DEFLATE\r\n",
        b"A1 STARTTLS\r\n",
        b"A1 APPEND x ",
        b"A1 OK\r\n",
        b"A1 NO x\r\n",
        b"A1 BAD x\r\n",
        b"* BAD x\r\n",
        b"+ go on\r\n",
        b"* 1 FETCH (BODY[] ",
        b"* ENABLED ",
        b"* LIST () ",
        b"alice ",
        b"1:*,5 ",
        b"NIL ",
        b"4294967296 ",
    ];
    let count = dice.below(400);
    (0..count).flat_map(|_| dice.pick(PIECES).to_vec()).collect()
}

fn show(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(200)].escape_ascii().to_string()
}
