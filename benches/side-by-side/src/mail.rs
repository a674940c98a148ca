//! What is transferred: the same bytes through each proxy.

use std::{fmt::Write as _, sync::LazyLock};

use bytes::Bytes;

/// The bytes of each message body.
pub const BODY: usize = 1024 * 1024;
const BODIES: usize = 8;
const FLAGS: usize = 10_000;
const ENVELOPES: usize = 1000;

/// A command that asks for much, and all that comes before its tagged answer.
pub struct Bulk {
    pub command: String,
    pub untagged: Bytes,
}

/// Some message bodies of [`BODY`] bytes.
pub static FETCH_BODIES: LazyLock<Bulk> = LazyLock::new(|| {
    let body = str::from_utf8(&MESSAGE).unwrap_or_default();
    Bulk {
        command: format!("FETCH 1:{BODIES} (UID BODY[])"),
        untagged: answers(BODIES, |n| {
            format!("* {n} FETCH (UID {n} BODY[] {{{BODY}}}\r\n{body})\r\n")
        }),
    }
});

/// Many short lines.
pub static FETCH_FLAGS: LazyLock<Bulk> = LazyLock::new(|| Bulk {
    command: format!("FETCH 1:{FLAGS} (UID FLAGS)"),
    untagged: answers(FLAGS, |n| {
        format!("* {n} FETCH (UID {} FLAGS ({}))\r\n", n + 70_000, flags(n))
    }),
});

/// Lines of about a kibibyte, one in eight with a literal.
pub static FETCH_ENVELOPES: LazyLock<Bulk> = LazyLock::new(|| Bulk {
    command: format!("FETCH 1:{ENVELOPES} (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE)"),
    untagged: answers(ENVELOPES, envelope),
});

/// One mail: a few headers, and an attachment in base64.
pub static MESSAGE: LazyLock<Bytes> = LazyLock::new(|| {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut mail = b"From: Alice <alice@example.org>\r\nTo: Bob <bob@example.org>\r\n\
        Subject: Minutes\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n"
        .to_vec();
    // Not random, but without a period that a compressor or a cache could find.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    while mail.len() < BODY {
        for _ in 0..76 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            mail.push(BASE64[(state % 64) as usize]);
        }
        mail.extend(b"\r\n");
    }
    mail.truncate(BODY);
    mail.into()
});

/// So many answers, one behind the other.
fn answers(count: usize, answer: impl Fn(usize) -> String) -> Bytes {
    (1..=count).map(answer).collect::<Vec<_>>().concat().into()
}

fn flags(n: usize) -> &'static str {
    ["\\Seen", "\\Seen \\Answered", "", "\\Seen \\Flagged $Forwarded", "\\Recent"][n % 5]
}

fn envelope(n: usize) -> String {
    let subject = format!("Re: [project-{}] Notes on the meeting of week {}", n % 17, n % 52);
    let subject = if n.is_multiple_of(8) {
        // As servers write what has bytes that a quoted string cannot hold.
        let subject = format!("Grüße: {subject}");
        format!("{{{}}}\r\n{subject}", subject.len())
    } else {
        format!("\"{subject}\"")
    };
    let address = |name: &str, user: &str| format!("((\"{name}\" NIL \"{user}\" \"example.org\"))");
    let (alice, bob) = (address("Alice Example", "alice"), address("Bob Example", "bob"));
    let mut line = format!(
        "* {n} FETCH (UID {} RFC822.SIZE {} ENVELOPE (\"Tue, 03 Mar 2026 09:{:02}:07 +0100\" \
         {subject} {alice} {alice} {alice} {bob} ((\"Team\" NIL \"team-{}\" \"lists.example.org\")\
         (NIL NIL \"carol\" \"example.net\")) NIL \"<{n:08x}.4711@mail.example.org>\" \
         \"<{:08x}.4712@mail.example.org>\") BODYSTRUCTURE (",
        n + 70_000,
        n * 37 + 2000,
        n % 60,
        n % 9,
        n + 1,
    );
    let part = |subtype: &str, lines: usize| {
        format!(
            "(\"text\" \"{subtype}\" (\"charset\" \"utf-8\" \"format\" \"flowed\") NIL NIL \
             \"quoted-printable\" {} {lines} NIL NIL NIL NIL)",
            lines * 61
        )
    };
    // Writing to a String does not fail.
    let _ = write!(
        line,
        "({}{} \"alternative\" (\"boundary\" \"=_alt_{n:08x}\") NIL NIL NIL)\
         (\"application\" \"pdf\" (\"name\" \"minutes-{n}.pdf\") NIL NIL \"base64\" {} NIL \
         (\"attachment\" (\"filename\" \"minutes-{n}.pdf\")) NIL NIL) \
         \"mixed\" (\"boundary\" \"=_mix_{n:08x}\") NIL (\"en\") NIL))\r\n",
        part("plain", 20 + n % 80),
        part("html", 60 + n % 90),
        40_000 + n * 13,
    );
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_as_large_as_the_readme_says() {
        let each = |bulk: &Bulk, count| bulk.untagged.len() / count;
        assert_eq!(MESSAGE.len(), BODY);
        assert!((BODY..BODY + 100).contains(&each(&FETCH_BODIES, BODIES)));
        assert!((40..50).contains(&each(&FETCH_FLAGS, FLAGS)), "{}", each(&FETCH_FLAGS, FLAGS));
        let envelope = each(&FETCH_ENVELOPES, ENVELOPES);
        assert!((900..1000).contains(&envelope), "{envelope}");
    }
}
