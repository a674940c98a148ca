//! Messages end where imap-codec's Fragmentizer ends them, wherever that is right.
//!
//! It is wrong for the text of a status line or of a `+`, where `{n}` announces nothing (RFC 9051
//! 9: `text`), and for literals from 4 GiB, which it does not know.

#![no_main]

use imap_proxy::relay::{Limits, Party, Policy, Relay};
use imap_proxy_fuzz::{
    expect::announced,
    framing,
    seen::{self, Part, Seen},
};
use libfuzzer_sys::fuzz_target;

/// Nothing is refused, and no line is too long to be judged.
const LIMITS: Limits = Limits {
    command_line: 1 << 20,
    collect_literal: 10,
    literal_before_login: u64::MAX,
    literal: None,
    unanswered_commands: usize::MAX,
    bad_commands: usize::MAX,
    login_attempts: usize::MAX,
};

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() < 60_000 {
        commands(bytes);
        responses(bytes);
    }
});

/// What follows a command that the proxy refuses, or is within one of these, has rules of its own.
const OTHERS: &[&str] = &["AUTHENTICATE", "IDLE", "COMPRESS", "STARTTLS", "LOGIN"];

/// As the words of a client, to whose literals the server always agrees.
fn commands(bytes: &[u8]) {
    let text = bytes.escape_ascii().to_string().to_ascii_uppercase();
    if OTHERS.iter().any(|other| text.contains(other)) {
        return;
    }
    let mut seen = Seen::default();
    let mut relay = Relay::new(LIMITS, Policy::default(), &mut seen);
    relay.server_sent(b"* OK hello\r\n").expect("a greeting");
    let mut rest = bytes;
    while !rest.is_empty() {
        let taken = relay.client_sent(rest).expect("nothing is too long");
        rest = &rest[taken..];
        relay.to_server().clear();
        relay.to_client().clear();
        if !relay.takes_from_client() {
            relay.server_sent(b"+ go on\r\n").expect("a continuation");
        }
    }
    compare(&seen, Party::Client, &framing::messages(bytes, |_| false));
}

/// As the words of a server.
fn responses(bytes: &[u8]) {
    let all = [b"* OK hello\r\n", bytes].concat();
    let mut seen = Seen::default();
    let mut relay = Relay::new(LIMITS, Policy::default(), &mut seen);
    relay.server_sent(&all).expect("no line is too long");
    drop(relay);
    compare(&seen, Party::Server, &framing::messages(&all, is_text));
}

fn compare(seen: &Seen, party: Party, expected: &[Vec<u8>]) {
    let is_large = |part: &Part| match part {
        Part::Line(line) => announced(line).is_some_and(|(size, _)| size > u32::MAX.into()),
        Part::Literal(..) => false,
    };
    let complete = || seen.messages().filter(|message| message.from == party);
    let mut all = complete().flat_map(|message| &message.parts).chain(seen.open(party));
    if all.any(is_large) {
        return;
    }
    let found: Vec<_> = complete().map(|message| seen::bytes(&message.parts)).collect();
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
    assert_eq!(found.len(), expected.len());
}

/// Whether a server's line ends in text.
fn is_text(line: &[u8]) -> bool {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line).to_ascii_uppercase();
    let mut words = line.split(blank).filter(|word| !word.is_empty());
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    line.starts_with(b"+")
        || matches!(second, b"OK" | b"NO" | b"BAD")
        || first == b"*" && matches!(second, b"BYE" | b"PREAUTH" | b"CAPABILITY")
}
