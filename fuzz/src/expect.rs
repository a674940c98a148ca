//! What each side must have got, worked out anew from what was said and what was shown.
//!
//! Nothing here uses the relay's own notion of a line, a literal or a list.

use std::collections::BTreeSet;

use imap_proxy::relay::Party;

use crate::{
    drive::Record,
    lists,
    seen::{Message, Part, Seen, bytes},
};

/// The longest line of a server that may be held back, in bytes.
const HELD: usize = 64 * 1024;

/// Checks a session that was finished: [`crate::drive::Session::finish`].
pub fn check(session: &Record, seen: &Seen) {
    client_was_shown(session, seen);
    server_was_shown(session, seen);
    client_got(session, seen);
    server_got(session, seen);
}

/// What is shown of the client is what it sent, save for the rest of commands that go nowhere.
fn client_was_shown(session: &Record, seen: &Seen) {
    let said = &session.client_said[..session.client_taken];
    let mut at = 0;
    let mine = |message: &&Message| message.from == Party::Client;
    for message in seen.messages().filter(mine) {
        let shown = bytes(&message.parts);
        // The end of a line that is too long, or of the last piece before a fault.
        let there = said[at..].starts_with(&shown);
        assert!(there, "shown, but not said: {}", shown.escape_ascii());
        at += shown.len();
        if message.to == Party::Proxy {
            at = swallowed(said, at, message.parts.last());
        }
    }
    let open = bytes(seen.open(Party::Client));
    let rest = &session.client_said[at..];
    assert!(rest.starts_with(&open), "shown, but not said: {}", open.escape_ascii());
}

/// Where a command ends that goes nowhere: it was shown up to `at`.
fn swallowed(said: &[u8], mut at: usize, last: Option<&Part>) -> usize {
    let mut literal = None;
    let mut line = Vec::new();
    match last {
        Some(Part::Literal(size, content)) => literal = Some(size - content.len() as u64),
        Some(Part::Line(shown)) => line.clone_from(shown),
        None => {}
    }
    loop {
        if let Some(size) = literal {
            at += usize::try_from(size).unwrap_or(usize::MAX).min(said.len() - at);
        }
        // Also of a line that is too long: its beginning was shown.
        if !line.ends_with(b"\n") {
            let rest = first_line(&said[at..]);
            line.extend(rest);
            at += rest.len();
        }
        match announced(&line) {
            Some((size, false)) => literal = Some(size),
            _ => return at,
        }
        line.clear();
    }
}

/// What is shown of the server is what it sent; only a line that is not complete is held back.
fn server_was_shown(session: &Record, seen: &Seen) {
    let held = held_back(session, seen);
    if session.fault.is_none() {
        assert!(held.len() <= HELD && !held.contains(&b'\n'), "{} bytes held back", held.len());
    }
}

fn held_back<'a>(session: &'a Record, seen: &Seen) -> &'a [u8] {
    let mut rest: &[u8] = &session.server_said[..session.server_taken];
    let open = seen.open(Party::Server);
    let complete = seen.messages().filter(|message| message.from == Party::Server);
    for parts in complete.map(|message| message.parts.as_slice()).chain([open]) {
        let shown = bytes(parts);
        rest = rest
            .strip_prefix(shown.as_slice())
            .unwrap_or_else(|| panic!("shown, but not said: {}", shown.escape_ascii()));
    }
    rest
}

/// The client gets each message of the server as it is, the proxy's answers between them, and
/// edited lists.
fn client_got(session: &Record, seen: &Seen) {
    let mut rest = session.client_got.as_slice();
    let mut waiting = Vec::new();
    for message in seen.messages() {
        let sent = bytes(&message.parts);
        match (message.from, message.to) {
            (Party::Proxy, _) if message.waits => waiting.extend(sent),
            (Party::Proxy, _) => rest = strip(rest, &sent),
            (Party::Server, to) => {
                if to == Party::Client {
                    rest = strip_message(rest, &sent);
                } else {
                    assert!(sent.starts_with(b"+"), "consumed: {}", sent.escape_ascii());
                }
                rest = strip(rest, &std::mem::take(&mut waiting));
            }
            (Party::Client, _) => {}
        }
    }
    let open = bytes(seen.open(Party::Server));
    if rest.starts_with(&open) || !open.starts_with(b"+") {
        rest = strip(rest, &open);
    }
    if session.fault.is_none() && session.greeted {
        rest = strip(rest, held_back(session, seen));
    }
    assert!(rest.is_empty(), "the client got more: {}", rest.escape_ascii());
}

fn strip<'a>(got: &'a [u8], sent: &[u8]) -> &'a [u8] {
    got.strip_prefix(sent).unwrap_or_else(|| {
        let got = &got[..got.len().min(sent.len())];
        panic!("the client got {} for {}", got.escape_ascii(), sent.escape_ascii())
    })
}

fn strip_message<'a>(got: &'a [u8], sent: &[u8]) -> &'a [u8] {
    if lists::may_hold_one(sent) {
        let (line, rest) = got.split_at(first_line(got).len());
        lists::check(sent, line);
        return rest;
    }
    strip(got, sent)
}

/// The server gets each command as it is, save that a literal may be announced as one that waits,
/// and that a command may end where the server had to agree to a literal.
fn server_got(session: &Record, seen: &Seen) {
    let got = session.server_got.as_slice();
    let mut reached = BTreeSet::from([0]);
    let open = seen.open(Party::Client);
    let messages = seen.messages().filter(|message| message.from == Party::Client);
    let all = messages.map(|message| (message.to, message.parts.as_slice()));
    for (to, parts) in all.chain([(Party::Proxy, open)]) {
        let from = std::mem::take(&mut reached);
        for start in from {
            if to == Party::Proxy {
                reached.insert(start);
            }
            walk(got, start, parts, &mut reached);
        }
        assert!(!reached.is_empty(), "the server did not get {}", bytes(parts).escape_ascii());
    }
    // The line that the client did not complete.
    let ends = |at: usize| session.client_said[..session.client_taken].ends_with(&got[at..]);
    let complete = reached.iter().any(|at| *at == got.len() || ends(*at));
    assert!(complete, "the server got more than was said: {}", got.escape_ascii());
}

/// Where in `got` a command may end that begins at `at`.
fn walk(got: &[u8], at: usize, parts: &[Part], ends: &mut BTreeSet<usize>) {
    let Some((part, rest)) = parts.split_first() else {
        ends.insert(at);
        return;
    };
    match part {
        Part::Literal(_, content) => {
            if got[at..].starts_with(content) {
                // The next line may not be there, or break the limits.
                ends.insert(at + content.len());
                walk(got, at + content.len(), rest, ends);
            }
        }
        Part::Line(line) => {
            let waiting = announced(line).filter(|(_, sync)| !sync).map(|_| with_wait(line));
            for form in [Some(line.clone()), waiting].into_iter().flatten() {
                if got[at..].starts_with(&form) {
                    if !rest.is_empty() {
                        ends.insert(at + form.len());
                    }
                    walk(got, at + form.len(), rest, ends);
                }
            }
        }
    }
}

/// `{n+}` as `{n}`.
fn with_wait(line: &[u8]) -> Vec<u8> {
    let plus = line.iter().rposition(|byte| *byte == b'+').unwrap_or_default();
    [&line[..plus], &line[plus + 1..]].concat()
}

/// Up to the first LF, or all of it.
pub fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// The literal that a line announces, and whether its sender waits.
pub fn announced(line: &[u8]) -> Option<(u64, bool)> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    let inside = str::from_utf8(&line[open + 1..]).ok()?;
    let sync = !inside.ends_with('+');
    let digits = inside.strip_suffix('+').unwrap_or(inside);
    let number = digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| number)?, sync))
}
