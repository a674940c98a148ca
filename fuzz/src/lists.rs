//! Capability lists: what must be left of them.

/// Names that pass, and names that must not, whatever else the table knows.
const PASS: &[&str] = &[
    "IMAP4REV1",
    "IMAP4REV2",
    "IDLE",
    "LITERAL+",
    "LITERAL-",
    "AUTH=PLAIN",
    "AUTH=SCRAM-SHA-256",
    "SASL-IR",
    "CONDSTORE",
    "UTF8=ACCEPT",
    "LOGINDISABLED",
    "X-ALLOWED",
];
const DO_NOT: &[&str] = &[
    "STARTTLS",
    "COMPRESS=DEFLATE",
    "UNAUTHENTICATE",
    "AUTH=GSSAPI",
    "AUTH=EXTERNAL",
    "AUTH=SCRAM-SHA-256-PLUS",
    "LOGIN-REFERRALS",
    "X-UNKNOWN",
    "AUTH=",
];

/// Whether the line may hold a list: whether it names one.
pub fn may_hold_one(line: &[u8]) -> bool {
    let name = b"CAPABILITY";
    line.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name))
        && line.split_inclusive(|byte| *byte == b'\n').count() == 1
}

/// Checks what became of the line.
pub fn check(sent: &[u8], got: &[u8]) {
    let holds_one = begins_with_list(sent);
    if !holds_one && sent == got {
        return;
    }
    let what = format!("{} became {}", sent.escape_ascii(), got.escape_ascii());
    let is_code = !is_data(sent);
    let mut left = words(got, is_code).into_iter().peekable();
    let (mut list, mut over) = (false, false);
    for word in words(sent, is_code) {
        let name = word.strip_prefix(b" ").unwrap_or(&word).to_ascii_uppercase();
        let is_one_of = |names: &[&str]| names.iter().any(|one| one.as_bytes() == name);
        if left.next_if_eq(&word).is_none() {
            assert!(list && word.len() > 1 && !is_one_of(PASS), "{what}");
        } else if list && holds_one {
            assert!(!is_one_of(DO_NOT), "{what}");
        }
        match name.as_slice() {
            b"CAPABILITY" | b"[CAPABILITY" => list = !over,
            b"]" if is_code => (list, over) = (false, list || over),
            b"\r" | b"\n" if !is_code => (list, over) = (false, list || over),
            _ => {}
        }
    }
    assert!(left.next().is_none(), "{what}");
}

/// Whether a list in this line is one of its own, up to the line's end, and no code.
fn is_data(line: &[u8]) -> bool {
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let names_it = |word: &[u8]| word.to_ascii_uppercase().starts_with(b"CAPABILITY");
    line.starts_with(b"*") && words.nth(1).is_some_and(names_it)
}

/// Whether it begins as lists do, with single blanks.
fn begins_with_list(line: &[u8]) -> bool {
    let line = line.to_ascii_uppercase();
    if line.starts_with(b"* CAPABILITY ") {
        return true;
    }
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (tag, status, code, rest) = (words.next(), words.next(), words.next(), words.next());
    let status = status.is_some_and(|word| matches!(word, b"OK" | b"NO" | b"BAD"));
    let tag = tag.is_some_and(|tag| !tag.is_empty() && tag[0] != b'+' && !tag.contains(&b'\t'));
    tag && status && code == Some(b"[CAPABILITY") && rest.is_some_and(|rest| rest.contains(&b']'))
}

/// Words with the blank before them; what ends the list is a word of its own: the first `]` of a
/// code, the line ending else.
fn words(line: &[u8], is_code: bool) -> Vec<Vec<u8>> {
    let ends = |byte: u8| if is_code { byte == b']' } else { matches!(byte, b'\r' | b'\n') };
    let mut words = vec![Vec::new()];
    for byte in line {
        let after = words.last().is_some_and(|word: &Vec<u8>| word.len() == 1 && ends(word[0]));
        if *byte == b' ' || ends(*byte) || after {
            words.push(Vec::new());
        }
        words.last_mut().expect("one at least").push(*byte);
    }
    words
}
