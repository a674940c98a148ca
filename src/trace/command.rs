//! Just enough of a client's command to know what is secret in it.

use std::borrow::Cow;

use smol_str::{SmolStr, format_smolstr};

use crate::relay;

/// `tag SP verb`, and what follows. No Debug: there may be a password in it.
pub(super) struct Head<'a> {
    /// As sent.
    pub(super) tag: &'a str,
    /// As sent.
    pub(super) verb: &'a str,
    /// After the verb, with the space, without the line ending.
    pub(super) arguments: &'a [u8],
}

/// Longer tags and verbs are not taken for such.
const MAX_TAG: usize = 64;
const MAX_VERB: usize = 32;

/// Reads the start of a command; `None` when it has no sane tag and verb.
pub(super) fn head(line: &[u8]) -> Option<Head<'_>> {
    let (tag, rest) = word(relay::line_content(line));
    let (verb, arguments) = word(rest.strip_prefix(b" ")?);
    let tag = str::from_utf8(tag).ok().filter(|tag| is_tag(tag))?;
    let verb = str::from_utf8(verb).ok().filter(|verb| is_verb(verb))?;
    Some(Head { tag, verb, arguments })
}

/// `tag = 1*<any ASTRING-CHAR except "+">` (RFC 9051), of a sane length.
pub(super) fn is_tag(tag: &str) -> bool {
    (1..=MAX_TAG).contains(&tag.len()) && tag.bytes().all(|b| is_astring_char(b) && b != b'+')
}

/// What could be a verb or the name of a response.
pub(super) fn is_verb(verb: &str) -> bool {
    (1..=MAX_VERB).contains(&verb.len())
        && verb.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

impl Head<'_> {
    /// Compares the verb without case.
    pub(super) fn is(&self, verb: &str) -> bool {
        self.verb.eq_ignore_ascii_case(verb)
    }

    /// Whether it is a verb of IMAP.
    pub(super) fn is_known(&self) -> bool {
        relay::is_verb(self.verb.as_bytes())
    }

    /// Whether it is a verb of IMAP that takes no arguments, and there are none.
    pub(super) fn is_bare(&self) -> bool {
        self.arguments.is_empty() && relay::is_bare_verb(self.verb.as_bytes())
    }

    /// The name to show: upper case, with the verb that follows `UID`.
    pub(super) fn name(&self) -> SmolStr {
        if self.is("UID")
            && let Some(arguments) = self.arguments.strip_prefix(b" ")
            && let Ok(next) = str::from_utf8(word(arguments).0)
            && relay::is_verb(next.as_bytes())
        {
            return format_smolstr!("UID {}", next.to_ascii_uppercase());
        }
        relay::upper_case(self.verb).into()
    }
}

/// The arguments of a well-formed LOGIN (RFC 9051 section 6.2.3).
pub(super) struct Login<'a> {
    pub(super) user: AString<'a>,
    pub(super) password: AString<'a>,
}

/// An astring: as sent, and what it means.
pub(super) struct AString<'a> {
    pub(super) sent: &'a [u8],
    pub(super) value: Cow<'a, [u8]>,
}

/// Reads LOGIN from the whole message, literals included; `None` unless it is well formed.
pub(super) fn login(message: &[u8]) -> Option<Login<'_>> {
    let (_, rest) = word(message);
    let (_, rest) = word(rest.strip_prefix(b" ")?);
    let (user, rest) = astring(rest.strip_prefix(b" ")?)?;
    let (password, rest) = astring(rest.strip_prefix(b" ")?)?;
    matches!(rest, b"\r\n" | b"\n").then_some(Login { user, password })
}

/// Up to the next space, and from there.
pub(super) fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|&b| b == b' ').unwrap_or(bytes.len()))
}

fn astring(input: &[u8]) -> Option<(AString<'_>, &[u8])> {
    let (length, value) = match input.first()? {
        b'"' => quoted(input)?,
        b'{' => literal(input)?,
        _ => {
            let end = input.iter().position(|&b| !is_astring_char(b)).unwrap_or(input.len());
            let atom = input.get(..end).filter(|atom| !atom.is_empty())?;
            (end, Cow::Borrowed(atom))
        }
    };
    let (sent, rest) = input.split_at_checked(length)?;
    Some((AString { sent, value }, rest))
}

fn quoted(input: &[u8]) -> Option<(usize, Cow<'_, [u8]>)> {
    let mut value = Vec::new();
    let mut bytes = input.iter().enumerate().skip(1);
    loop {
        match bytes.next()? {
            (at, b'"') => return Some((at + 1, Cow::Owned(value))),
            (_, b'\\') => match bytes.next()? {
                (_, b @ (b'"' | b'\\')) => value.push(*b),
                _ => return None,
            },
            (_, b'\r' | b'\n' | 0) => return None,
            (_, b) => value.push(*b),
        }
    }
}

fn literal(input: &[u8]) -> Option<(usize, Cow<'_, [u8]>)> {
    let line_end = input.iter().position(|&b| b == b'\n')?;
    let announcement = relay::line_content(input.get(..=line_end)?);
    let digits = announcement.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    let size: usize = str::from_utf8(digits).ok()?.parse().ok()?;
    let start = line_end + 1;
    let end = start.checked_add(size)?;
    Some((end, Cow::Borrowed(input.get(start..end)?)))
}

/// ASTRING-CHAR (RFC 9051).
fn is_astring_char(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(message: &str) -> Option<(String, String)> {
        let text = |s: AString<'_>| String::from_utf8(s.value.into_owned()).unwrap();
        login(message.as_bytes()).map(|login| (text(login.user), text(login.password)))
    }

    #[test]
    fn login_is_read_in_all_its_forms() {
        let bob = Some(("bob".to_owned(), "se\"c\\ret".to_owned()));
        assert_eq!(pair("A1 login bob \"se\\\"c\\\\ret\"\r\n"), bob);
        assert_eq!(pair("A1 LOGIN {3}\r\nbob {8}\r\nse\"c\\ret\r\n"), bob);
        assert_eq!(pair("A1 LOGIN {3+}\nbob {8+}\nse\"c\\ret\n"), bob);
        assert_eq!(pair("A1 LOGIN \"\" \"\"\r\n"), Some((String::new(), String::new())));
    }

    #[test]
    fn malformed_login_is_none() {
        for bad in [
            "A1 LOGIN bob\r\n",
            "A1 LOGIN bob secret more\r\n",
            "A1 LOGIN bob  secret\r\n",
            "A1 LOGIN bob secret \r\n",
            "A1 LOGIN bob \"secret\r\n",
            "A1 LOGIN bob \"a\\b\"\r\n",
            "A1 LOGIN bob se(ret\r\n",
            "A1 LOGIN bob \"a\"b\r\n",
            "A1 LOGIN {99}\r\nbob x\r\n",
            "A1 LOGIN bob {18446744073709551615}\r\nx\r\n",
            "A1 LOGIN bob secret",
            "A1 LOGIN\r\n",
            "LOGIN",
            "",
            "A1 LOGIN bob {-1}\r\n\r\n",
        ] {
            assert_eq!(pair(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn heads_are_sane_or_none() {
        let uid = head(b"A1 uid fetch 1 (FLAGS)\r\n").unwrap();
        assert_eq!((uid.tag, uid.name().as_str()), ("A1", "UID FETCH"));
        assert_eq!(head(b"A1 UID secret x\r\n").unwrap().name(), "UID");
        assert!(head(b"a NOOP\r\n").unwrap().is_bare());
        assert!(!head(b"a NOOP x\r\n").unwrap().is_bare());
        for bad in [
            &b"AGJvYgBzZWNyZXQ=\r\n"[..],
            b"A1",
            b"A1 \r\n",
            b" NOOP\r\n",
            b"\xff NOOP\r\n",
            b"A1 NO\rOP\r\n",
            b"+ NOOP\r\n",
            b"",
        ] {
            assert!(head(bad).is_none(), "{bad:?}");
        }
    }
}
