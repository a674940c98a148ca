//! Any split of any conversation gives the same output: property tests, with what the fuzz targets
//! check it by.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "the fuzz targets' own code; a test that panics is a test that fails"
)]

#[path = "../fuzz/src/chunks.rs"]
mod chunks;
#[path = "../fuzz/src/seen.rs"]
mod seen;

use chunks::{SMALL, Turn};
use imap_proxy::relay::{Limits, Party};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, FileFailurePersistence},
};

const COMMANDS: &[&str] = &[
    "NOOP",
    "LOGIN alice secret",
    "AUTHENTICATE PLAIN",
    "AUTHENTICATE GSSAPI",
    "IDLE",
    "COMPRESS DEFLATE",
    "LOGOUT",
    "APPEND x",
    "SEARCH",
    "FROBNICATE",
];
const RESPONSES: &[&str] = &[
    "* 5 EXISTS\r\n",
    "* OK text that ends in {5}\r\n",
    "* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE LITERAL+\r\n",
    "* BAD what\r\n",
    "* BYE bye\r\n",
    "+\r\n",
    "+ go on\r\n",
    "A1 OK [CAPABILITY IMAP4rev1 STARTTLS] done {3}\r\n",
    "A1 NO no\r\n",
    "A2 OK\r\n",
    "A2 BAD\n",
    "HTTP/1.1 400 Bad Request\r\n",
];
const LINES: &[&str] = &["AGEAYg==\r\n", "*\r\n", "DONE\r\n", "\r\n", "nonsense\r\n", "A1", "\n"];
/// Around the bounds of what is collected, of what streams, and of what is held of a line.
const SIZES: &[usize] = &[0, 1, 9, 10, 11, 90, 999, 1001, 4096, 4097, 8190, 8192, 8200, 66_000];

fn text(of: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    select(of).prop_map(|text| text.as_bytes().to_vec())
}

/// A literal, or a word that is not one.
fn literal() -> impl Strategy<Value = Vec<u8>> {
    let announcement = select(&["{", "~{", "("][..]);
    let end = select(&["}\r\n", "+}\r\n", "}\n", "+}"][..]);
    (announcement, select(SIZES), end).prop_map(|(announcement, size, end)| {
        [format!(" {announcement}{size}{end}").into_bytes(), content(size)].concat()
    })
}

/// Content that looks like messages.
fn content(size: usize) -> Vec<u8> {
    b"A1 OK\r\n{5}\r\n+ x\r\n* BYE x\r\nA1 NOOP\r\n\0".iter().copied().cycle().take(size).collect()
}

/// A whole message: its first words, literals or what looks like them, and an end.
fn message(heads: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let padding = select(SIZES).prop_map(|size| vec![b'x'; size]);
    let parts = vec(prop_oneof![3 => literal(), 1 => padding], 0..3);
    let end = select(&[" end\r\n", "\r\n", "\n", ""][..]);
    (heads, parts, end)
        .prop_map(|(head, parts, end)| [head, parts.concat(), end.as_bytes().to_vec()].concat())
}

fn commands() -> impl Strategy<Value = Vec<u8>> {
    let tag = select(&["A1 ", "A2 ", "A3 ", "( "][..]);
    let head = (tag, select(COMMANDS)).prop_map(|(tag, body)| format!("{tag}{body}").into_bytes());
    let bytes = vec(any::<u8>(), 0..20);
    vec(prop_oneof![8 => message(head), 2 => text(LINES), 1 => bytes], 0..4)
        .prop_map(|said| said.concat())
}

fn responses() -> impl Strategy<Value = Vec<u8>> {
    let words = select(&["* 1 FETCH (BODY[]", "* SEARCH", "* OK ", "A1 OK", "* LIST ()"][..]);
    // A status by its second word, wherever that is.
    let tag = select(SIZES).prop_map(|size| [vec![b'A'; size], b" OK".to_vec()].concat());
    let head = prop_oneof![8 => words.prop_map(|words| words.as_bytes().to_vec()), 1 => tag];
    let bytes = vec(any::<u8>(), 0..20);
    vec(prop_oneof![6 => text(RESPONSES), 4 => message(head), 1 => bytes], 0..4)
        .prop_map(|said| said.concat())
}

fn conversation() -> impl Strategy<Value = Vec<Turn>> {
    let greeting = select(&["* OK [CAPABILITY LITERAL+ X-A] hi\r\n", "* PREAUTH hi\r\n", ""][..]);
    (greeting, vec((commands(), responses()), 1..5)).prop_map(|(greeting, turns)| {
        let turns = turns.into_iter().flat_map(|(commands, responses)| {
            [(Party::Client, commands), (Party::Server, responses)]
        });
        [(Party::Server, greeting.as_bytes().to_vec())].into_iter().chain(turns).collect()
    })
}

fn config(cases: u32) -> Config {
    let kept = FileFailurePersistence::Direct("tests/chunking.regressions");
    Config { cases, failure_persistence: Some(Box::new(kept)), ..Config::default() }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn any_split_of_any_conversation_gives_the_same_output(
        turns in conversation(),
        sizes in vec(1..300_usize, 1..20),
        small in any::<bool>(),
    ) {
        let limits = if small { SMALL } else { Limits::default() };
        chunks::check(&limits, &turns, &sizes);
    }
}

proptest! {
    #![proptest_config(config(20))]

    /// As a slow line would bring it.
    #[test]
    fn byte_by_byte(turns in conversation()) {
        chunks::check(&SMALL, &turns, &[1]);
    }
}
