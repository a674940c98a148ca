//! Every password and token of the tests, so that captured output can be searched for them.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Sent bare, as an atom.
pub const ATOM: &str = "hunter2-Atom-Secret";
/// Sent in quotes.
pub const QUOTED: &str = "hunter2 Quoted Secret";
/// Sent in quotes, where it needs escapes: `hunter2 \"Escaped\\ Secret`.
pub const ESCAPED: &str = "hunter2 \"Escaped\\ Secret";
/// Sent as a literal.
pub const LITERAL: &str = "hunter2-Literal-Secret";
/// Sent by SASL PLAIN and SASL LOGIN.
pub const SASL: &str = "hunter2-Sasl-Secret";
/// Sent by XOAUTH2 and OAUTHBEARER.
pub const TOKEN: &str = "ya29.hunter2-Token-Secret";
/// Sent in commands that are mistyped, cut, over-long or sent in pieces.
pub const MISTYPED: &str = "hunter2-Mistyped-Secret";
/// The password of the mail accounts on a real server.
pub const ACCOUNT: &str = "hunter2-Account-Secret";
/// A password that a real server refuses.
pub const WRONG: &str = "hunter2-Wrong-Secret";

/// All of the above.
pub const ALL: &[&str] = &[ATOM, QUOTED, ESCAPED, LITERAL, SASL, TOKEN, MISTYPED, ACCOUNT, WRONG];

/// The account name that the tests log in with. No secret.
pub const USER: &str = "alice";

/// As a SASL message of its own.
pub fn base64(secret: &str) -> String {
    STANDARD.encode(secret)
}

/// The SASL PLAIN message (RFC 4616) of [`USER`], base64 encoded.
pub fn sasl_plain(password: &str) -> String {
    STANDARD.encode(format!("\0{USER}\0{password}"))
}

/// The XOAUTH2 message of [`USER`], base64 encoded.
pub fn xoauth2(token: &str) -> String {
    STANDARD.encode(format!("user={USER}\x01auth=Bearer {token}\x01\x01"))
}

/// The OAUTHBEARER message (RFC 7628) of [`USER`], base64 encoded.
pub fn oauthbearer(token: &str) -> String {
    STANDARD.encode(format!("n,a={USER},\x01auth=Bearer {token}\x01\x01"))
}

/// The first secret that `text` shows: as it is, escaped, or inside base64 at any alignment.
pub fn found_in(text: &str) -> Option<&'static str> {
    ALL.iter().copied().find(|secret| shows(text, secret))
}

/// Whether `text` shows this secret.
pub fn shows(text: &str, secret: &str) -> bool {
    forms(secret).iter().any(|form| text.contains(form))
}

/// The secret as it may show up in a log.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), format!("{secret:?}").trim_matches('"').to_owned()];
    // Of a `{:?}` of bytes: `[104, 117, ...`.
    forms.push(format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned());
    // In base64 the form depends on how many bytes came before; the first and the last quantum
    // also depend on what is beside, so they are left out.
    for before in 0..3 {
        let encoded = STANDARD.encode(format!("{}{secret}", "_".repeat(before)));
        let end = (before + secret.len()) / 3 * 4;
        forms.push(encoded[4..end].to_owned());
    }
    forms
}
