//! Capability lists, edited token by token: what is kept keeps its order and its spelling.

use super::policy::Policy;

/// How large a literal may be that a client sends without waiting (RFC 7888).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NonSync {
    /// The server offers neither LITERAL+ nor LITERAL-.
    #[default]
    Never,
    /// LITERAL-, which `IMAP4rev2` includes.
    UpTo4096,
    /// LITERAL+
    Any,
}

impl NonSync {
    pub(super) fn allows(self, size: u64) -> bool {
        match self {
            Self::Never => false,
            Self::UpTo4096 => size <= 4096,
            Self::Any => true,
        }
    }
}

const NAME: &[u8] = b"CAPABILITY";

/// A line that held a capability list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filtered<'a> {
    /// The line as the client shall get it.
    pub(super) line: Vec<u8>,
    /// The names that were taken out.
    pub(super) stripped: Vec<&'a [u8]>,
    /// What the list says about literals.
    pub(super) non_sync: NonSync,
}

/// Edits the list of a `* CAPABILITY` line, or in the `[CAPABILITY ...]` code that begins the text of
/// a status or continuation line. `None` when there is no list.
pub(super) fn filter<'a>(line: &'a [u8], policy: &Policy) -> Option<Filtered<'a>> {
    let (start, end) = list_bounds(line)?;
    let (head, rest) = line.split_at(start);
    let (list, tail) = rest.split_at(end - start);
    let mut filtered = Filtered {
        line: Vec::with_capacity(line.len()),
        stripped: Vec::new(),
        non_sync: NonSync::Never,
    };
    filtered.line.extend(head);
    for (index, token) in list.split(|byte| *byte == b' ').enumerate() {
        if !token.is_empty() && !policy.keeps(token) {
            filtered.stripped.push(token);
            continue;
        }
        if index > 0 {
            filtered.line.push(b' ');
        }
        filtered.line.extend(token);
        let is = |name: &[u8]| token.eq_ignore_ascii_case(name);
        if is(b"LITERAL+") {
            filtered.non_sync = NonSync::Any;
        } else if filtered.non_sync == NonSync::Never && (is(b"LITERAL-") || is(b"IMAP4REV2")) {
            filtered.non_sync = NonSync::UpTo4096;
        }
    }
    filtered.line.extend(tail);
    debug_assert!(!filtered.stripped.is_empty() || filtered.line == line);
    Some(filtered)
}

/// The list of a line, as it stands there.
pub(super) fn list(line: &[u8]) -> Option<&[u8]> {
    let (start, end) = list_bounds(line)?;
    line.get(start..end)
}

/// Whether the line, of which the beginning is there, holds a list.
pub(super) fn is_list(beginning: &[u8]) -> bool {
    find_name(beginning, NAME).is_some()
}

/// Where the list is, from the blank before its first name to its end.
fn list_bounds(line: &[u8]) -> Option<(usize, usize)> {
    let at = find_name(line, NAME)?;
    let start = at + NAME.len();
    let rest = line.get(start..)?;
    if line.get(at.checked_sub(1)?) == Some(&b'[') {
        Some((start, start + rest.iter().position(|byte| *byte == b']')?))
    } else {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
        Some((start, start + end))
    }
}

/// Where the name stands, if it stands where a list begins: as the second word of an untagged
/// response, or as the code that follows the condition or the `+`.
fn find_name(line: &[u8], name: &[u8]) -> Option<usize> {
    let (mut position, mut words) = (0, 0);
    // Servers may put more blanks between words than they should.
    for word in line.split(|byte| matches!(byte, b' ' | b'\t')) {
        let bare = word.strip_prefix(b"[").unwrap_or(word);
        let is_name = bare.split_at_checked(name.len()).is_some_and(|(beginning, rest)| {
            beginning.eq_ignore_ascii_case(name)
                && matches!(rest, [] | b"\r" | [b'\r', b'\n', ..] | [b'\n' | b']', ..])
        });
        if words > 0 && is_name {
            let is_code = bare.len() < word.len();
            let untagged_data = words == 1 && line.starts_with(b"*");
            return (is_code || untagged_data).then_some(position + word.len() - bare.len());
        }
        words += usize::from(!word.is_empty());
        if words > 2 {
            return None;
        }
        position += word.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(line: &str) -> Option<String> {
        let policy = Policy::default();
        filter(line.as_bytes(), &policy).map(|filtered| String::from_utf8(filtered.line).unwrap())
    }

    #[test]
    fn lists_everywhere() {
        for (line, expected) in [
            ("* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE\r\n", "* CAPABILITY IMAP4rev1 IDLE\r\n"),
            ("* capability X-FOO Idle\n", "* capability Idle\n"),
            ("* CAPABILITY X-FOO\r\n", "* CAPABILITY\r\n"),
            ("*  CAPABILITY IDLE X-FOO\r\n", "*  CAPABILITY IDLE\r\n"),
            ("*\tCAPABILITY\tX-FOO IDLE\r\n", "*\tCAPABILITY IDLE\r\n"),
            ("* OK  [CAPABILITY X-FOO IDLE] hi\r\n", "* OK  [CAPABILITY IDLE] hi\r\n"),
            ("* CAPABILITY IDLE \r\n", "* CAPABILITY IDLE \r\n"),
            (
                "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] hi [x]\r\n",
                "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi [x]\r\n",
            ),
            ("* PREAUTH [capability STARTTLS]\r\n", "* PREAUTH [capability]\r\n"),
            (
                "A1 OK [CAPABILITY COMPRESS=DEFLATE] Logged in\r\n",
                "A1 OK [CAPABILITY] Logged in\r\n",
            ),
            (
                "A1 NO [CAPABILITY AUTH=NTLM AUTH=PLAIN] no\r\n",
                "A1 NO [CAPABILITY AUTH=PLAIN] no\r\n",
            ),
            ("+ [CAPABILITY IDLE X] go on\r\n", "+ [CAPABILITY IDLE] go on\r\n"),
        ] {
            assert_eq!(edited(line).as_deref(), Some(expected));
        }
    }

    #[test]
    fn no_lists() {
        for line in [
            "* OK hello [CAPABILITY X]\r\n",
            "A1 OK CAPABILITY X completed\r\n",
            "* OK CAPABILITY X\r\n",
            "* OK [CAPABILITY X\r\n",
            "* OK [CAPABILITY\rX] a CR alone is no blank\r\n",
            "* 1 FETCH (X CAPABILITY)\r\n",
            "CAPABILITY X\r\n",
            "+\r\n",
            "\r\n",
        ] {
            assert_eq!(edited(line), None, "{line}");
        }
    }

    #[test]
    fn what_the_list_says_of_literals() {
        let policy = Policy::default();
        let non_sync =
            |line: &str| filter(line.as_bytes(), &policy).map(|filtered| filtered.non_sync);
        assert_eq!(non_sync("* CAPABILITY IMAP4rev1\r\n"), Some(NonSync::Never));
        assert_eq!(non_sync("* CAPABILITY LITERAL-\r\n"), Some(NonSync::UpTo4096));
        assert_eq!(non_sync("* CAPABILITY literal+ IMAP4rev2\r\n"), Some(NonSync::Any));
        assert_eq!(non_sync("* CAPABILITY IMAP4rev2 LITERAL+\r\n"), Some(NonSync::Any));
    }
}
