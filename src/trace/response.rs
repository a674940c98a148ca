//! What may be shown of a server's message, or of an answer of the proxy's own.
//!
//! All of it, unless it repeats what the client sent as a secret, or in the place of one.

use smol_str::SmolStr;

use super::{
    capture::Capture,
    command, sasl,
    secrets::Secrets,
    seen::{Content, Shown},
};
use crate::relay;

/// Any line of a server, or an answer of the proxy's own.
pub(super) fn response(
    capture: &Capture,
    authenticated: bool,
    secrets: &Secrets,
    max_body: Option<usize>,
) -> Shown {
    let head = Head::read(capture.first_line());
    let kept = capture.kept();
    // Of a secret, too, only a part may be left out.
    let is_partial = max_body.is_some() && capture.verbatim().is_none();
    let echo = !secrets.is_empty()
        && if head.is_status {
            secrets.in_data(kept)
                || secrets.in_text(head.text)
                || sasl::encoded_in(kept).any(|decoded| secrets.in_data(&decoded))
                || capture.is_cut()
                || is_partial
        } else {
            !authenticated && (is_partial || secrets.in_data(kept))
        };
    if !echo && !head.tag.is_some_and(|tag| secrets.in_word(tag.as_bytes())) {
        return head.shown(Content::of(capture, max_body));
    }
    // Even its first words may be an echo.
    let clean = |word: &&str| !secrets.in_word(word.as_bytes());
    let (tag, name) = (head.tag.filter(clean), head.name.filter(clean));
    let size = capture.line_size();
    let (Some(name), true) = (name, tag.is_some() || head.tag.is_none()) else {
        return Shown::instead(None, None, format!("<{size} bytes withheld>"));
    };
    let shown = match tag {
        _ if name == "+" => name.to_owned(),
        Some(tag) => format!("{tag} {name}"),
        None => format!("* {name}"),
    };
    let size = size.saturating_sub(shown.len() as u64 + 1);
    let text = format!("{shown} <{size} bytes withheld>");
    Shown::instead(tag.map(SmolStr::new), Some(relay::upper_case(name).into()), text)
}

/// A server's `+ ...` within AUTHENTICATE.
pub(super) fn challenge(capture: &Capture) -> Shown {
    let withheld = capture.line_size().saturating_sub(2);
    let text = format!("+ SASL challenge <{withheld} bytes withheld>");
    Shown::instead(None, Some("+".into()), text)
}

/// The same, with the secrets in it.
pub(super) fn reveal(capture: &Capture, is_sasl: bool, max_body: Option<usize>) -> Shown {
    Head::read(capture.first_line()).shown(if is_sasl {
        Content::Revealed(capture.kept().to_vec())
    } else {
        Content::of(capture, max_body)
    })
}

/// Whether `line` begins data of a name, which has a blank before and after it here. A space or the
/// line's end is to follow it.
#[inline]
pub(super) fn is_data_of(line: &[u8], name: &[u8]) -> bool {
    let Some(mut rest) = line.strip_prefix(b"*") else { return false };
    if let [b' ', number @ ..] = rest
        && let digits @ 1.. = number.iter().take_while(|byte| byte.is_ascii_digit()).count()
    {
        rest = number.split_at(digits).1;
    }
    // As servers write it.
    if rest.starts_with(name) {
        return true;
    }
    let name = name.trim_ascii_end();
    rest.split_at_checked(name.len()).is_some_and(|(word, rest)| {
        word.eq_ignore_ascii_case(name) && matches!(rest, [b' ', ..] | b"\r\n" | b"\n")
    })
}

/// Whether such a response has text for humans.
pub(super) fn is_status(name: &[u8]) -> bool {
    let is = |status: &&str| name.eq_ignore_ascii_case(status.as_bytes());
    ["OK", "NO", "BAD", "BYE", "PREAUTH"].iter().any(is)
}

/// The start of a server's line.
struct Head<'a> {
    /// Of a tagged status.
    tag: Option<&'a str>,
    name: Option<&'a str>,
    is_status: bool,
    /// What follows the name.
    text: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(line: &'a [u8]) -> Self {
        let (first, rest) = command::word(relay::line_content(line));
        let (mut name, mut text) = command::word(rest.strip_prefix(b" ").unwrap_or_default());
        if first == b"+" {
            return Self { tag: None, name: Some("+"), is_status: true, text: rest };
        }
        if first == b"*" && name.iter().all(u8::is_ascii_digit) {
            (name, text) = command::word(text.strip_prefix(b" ").unwrap_or_default());
        }
        let is_status = is_status(name);
        let tag = str::from_utf8(first).ok().filter(|tag| is_status && command::is_tag(tag));
        let name = str::from_utf8(name).ok().filter(|name| command::is_verb(name));
        // Neither untagged nor a tagged status: no response at all.
        let name = name.filter(|_| first == b"*" || tag.is_some());
        let (is_status, text) = if name.is_some() { (is_status, text) } else { (true, line) };
        Self { tag, name, is_status, text }
    }

    fn shown(&self, content: Content) -> Shown {
        let name = self.name.map(|name| relay::upper_case(name).into());
        Shown { tag: self.tag.map(SmolStr::new), name, content }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            capture::{Keep, captured},
            redact,
            seen::text,
        },
        *,
    };

    /// What a server's line looks like after a client's.
    fn after(client: &str, server: &str) -> String {
        let mut secrets = Secrets::default();
        let (_, learnt) = redact::command(&captured(client), false, Some(0));
        learnt.secrets.iter().for_each(|secret| secrets.add(secret));
        text(&response(&captured(server), false, &secrets, Some(0)))
    }

    #[test]
    fn a_server_is_not_heard_repeating_secrets() {
        let login = "A1 LOGIN bob hunter2\r\n";
        for (client, server, expected) in [
            (login, "A1 NO bob, HUNTER2 is wrong\r\n", "A1 NO <21 bytes withheld>"),
            (login, "* NO wrong: hunter2\r\n", "* NO <14 bytes withheld>"),
            (
                login,
                "A1 NO [AUTHENTICATIONFAILED] no, bob\r\n",
                "A1 NO [AUTHENTICATIONFAILED] no, bob",
            ),
            (login, "* CAPABILITY hunter2\r\n", "* CAPABILITY <7 bytes withheld>"),
            (login, "* hunter2\r\n", "<9 bytes withheld>"),
            (login, "hunter2\r\n", "<7 bytes withheld>"),
            (login, "+ hunter2\r\n", "+ <7 bytes withheld>"),
            ("A1 LOGIN bob abc\r\n", "A1 NO not abc\r\n", "A1 NO <7 bytes withheld>"),
            ("A1 LOGIN bob abc\r\n", "* CAPABILITY ABC\r\n", "* CAPABILITY ABC"),
            ("A1 LOGIN bob \"a\\\"b\"\r\n", "A1 NO a\"b\r\n", "A1 NO <3 bytes withheld>"),
            ("A1 LOGIN bob \"a\\\"b\"\r\n", "A1 NO a\\\"b\r\n", "A1 NO <4 bytes withheld>"),
            ("hunter2 x\r\n", "hunter2 BAD what?\r\n", "<17 bytes withheld>"),
            (
                "LOGIN bob hunter2\r\n",
                "LOGIN BAD bob hunter2?\r\n",
                "LOGIN BAD <12 bytes withheld>",
            ),
            ("A1 LOGIN \"hunter2\r\n", "A1 BAD \"hunter2\r\n", "A1 BAD <8 bytes withheld>"),
            (
                "A1 AUTHENTICATE PLAIN AGJvYgBodW50ZXIy\r\n",
                "A1 NO hunter2\r\n",
                "A1 NO <7 bytes withheld>",
            ),
            (
                "A1 AUTHENTICATE PLAIN AGJvYgBodW50ZXIy\r\n",
                "A1 BAD AGJvYgBodW50ZXIy\r\n",
                "A1 BAD <16 bytes withheld>",
            ),
            ("A1 LOGIN bob hunter2\r\n", "A1 NO AGJvYgBodW50ZXIy\r\n", "A1 NO <16 bytes withheld>"),
            ("A1 AUTH AGJvYgBodW50ZXIy\r\n", "A1 NO hunter2\r\n", "A1 NO <7 bytes withheld>"),
            ("A1 AUTHENTICATE hunter2\r\n", "A1 NO hunter2?\r\n", "A1 NO <8 bytes withheld>"),
        ] {
            assert_eq!(after(client, server), expected, "{client:?} {server:?}");
        }
    }

    #[test]
    fn a_secret_of_which_a_part_is_left_out_is_still_one() {
        let mut secrets = Secrets::default();
        secrets.add(b"AGJvYgBodW50ZXIy");
        let keep = Keep { lines: 100, literal: 0 };
        let capture = |line: &[u8]| {
            let mut capture = Capture::default();
            capture.line(line, keep);
            capture.literal(5);
            capture.literal_bytes(b"AGJvY", keep);
            capture.line(b"gBodW50ZXIy\r\n", keep);
            capture
        };
        let (data, nonsense) = (capture(b"* X {5}\r\n"), capture(b"A1 X {5}\r\n"));
        let shown = |capture, authenticated, secrets: &Secrets| {
            text(&response(capture, authenticated, secrets, Some(0)))
        };
        assert_eq!(shown(&data, false, &secrets), "* X <21 bytes withheld>");
        assert_eq!(shown(&nonsense, false, &secrets), "<26 bytes withheld>");
        for plain in [shown(&data, true, &secrets), shown(&nonsense, false, &Secrets::default())] {
            assert!(plain.contains("<5 bytes>gBodW50ZXIy"), "{plain}");
        }
    }

    #[test]
    fn responses_are_named() {
        let none = Secrets::default();
        for (line, tag, name) in [
            ("A1 OK done\r\n", Some("A1"), Some("OK")),
            ("* ok hello\r\n", None, Some("OK")),
            ("* 12 FETCH (FLAGS ())\r\n", None, Some("FETCH")),
            ("* 3 EXISTS\r\n", None, Some("EXISTS")),
            ("+ go on\r\n", None, Some("+")),
            ("+\r\n", None, Some("+")),
            ("A1 FETCH\r\n", None, None),
            ("HTTP/1.1 400 Bad\r\n", None, None),
            ("*\r\n", None, None),
        ] {
            let shown = response(&captured(line), true, &none, Some(0));
            assert_eq!((shown.tag.as_deref(), shown.name.as_deref()), (tag, name), "{line:?}");
        }
    }

    #[test]
    fn challenges_are_withheld() {
        let shown = |line| text(&challenge(&captured(line)));
        assert_eq!(shown("+ c2VjcmV0\r\n"), "+ SASL challenge <8 bytes withheld>");
        assert_eq!(shown("+\r\n"), "+ SASL challenge <0 bytes withheld>");
    }
}
