//! The first words of a message: all that the relay needs to know of most of them.

use super::line::content;

/// How a command begins. Read leniently, so that nothing a server may accept slips past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommandHead<'a> {
    /// The first word; a proper tag only if [`is_tag`] says so.
    pub(super) tag: &'a [u8],
    /// The second word, in any case of letters; empty if there is none.
    pub(super) verb: &'a [u8],
    /// What follows the verb, without the blanks before it.
    pub(super) arguments: &'a [u8],
}

impl<'a> CommandHead<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Self {
        let (tag, rest) = word(content(line));
        let (verb, rest) = word(rest);
        Self { tag, verb, arguments: skip_blanks(rest) }
    }

    pub(super) fn is(&self, verb: &str) -> bool {
        self.verb.eq_ignore_ascii_case(verb.as_bytes())
    }

    /// The tag, if an answer can carry it.
    pub(super) fn proper_tag(&self) -> Option<&'a [u8]> {
        is_tag(self.tag).then_some(self.tag)
    }
}

/// Whether `word` is a tag (RFC 9051 9: any ASTRING-CHAR except `+`).
fn is_tag(word: &[u8]) -> bool {
    let tag_char = |byte: &u8| {
        byte.is_ascii_graphic()
            && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b'+')
    };
    !word.is_empty() && word.iter().all(tag_char)
}

/// The result that a status response reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Ok,
    No,
    Bad,
    Bye,
    Preauth,
}

impl Condition {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::Bye => "BYE",
            Self::Preauth => "PREAUTH",
        }
    }

    fn parse(word: &[u8]) -> Option<Self> {
        [Self::Ok, Self::No, Self::Bad, Self::Bye, Self::Preauth]
            .into_iter()
            .find(|condition| word.eq_ignore_ascii_case(condition.name().as_bytes()))
    }
}

/// How a server's line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseHead<'a> {
    /// `tag OK`, `tag NO`, `tag BAD`.
    Tagged { tag: &'a [u8], condition: Condition },
    /// `* OK`, `* NO`, `* BAD`, `* BYE`, `* PREAUTH`.
    Status(Condition),
    /// `* CAPABILITY`.
    Capability,
    /// `+`.
    Continuation,
    /// Anything else, whether it makes sense or not.
    Data,
}

impl<'a> ResponseHead<'a> {
    /// Needs the first two words of the line only.
    pub(super) fn parse(line: &'a [u8]) -> Self {
        if line.first() == Some(&b'+') {
            return Self::Continuation;
        }
        let (first, rest) = word(content(line));
        let (second, _) = word(rest);
        match Condition::parse(second) {
            Some(condition) if first == b"*" => Self::Status(condition),
            Some(condition @ (Condition::Ok | Condition::No | Condition::Bad)) => {
                Self::Tagged { tag: first, condition }
            }
            None if first == b"*" && second.eq_ignore_ascii_case(b"CAPABILITY") => Self::Capability,
            _ => Self::Data,
        }
    }

    /// Whether the beginning of a line tells what it is: whether its first two words are complete.
    pub(super) fn is_told_by(beginning: &[u8]) -> bool {
        let (_, rest) = word(beginning);
        beginning.starts_with(b"+") || !word(rest).1.is_empty()
    }

    /// Whether its line ends in human-readable text, where `{n}` announces nothing.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Self::Data)
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

pub(super) fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| is_blank(**byte)).count();
    bytes.split_at(blanks).1
}

/// The first word of `bytes`, after any blanks, and what follows it.
pub(super) fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let bytes = skip_blanks(bytes);
    let end = bytes.iter().position(|byte| is_blank(*byte)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let head = CommandHead::parse(b"A1 login alice secret\r\n");
        assert_eq!((head.tag, head.arguments), (&b"A1"[..], &b"alice secret"[..]));
        assert!(head.is("LOGIN"));
        assert_eq!(head.proper_tag(), Some(&b"A1"[..]));
        assert!(CommandHead::parse(b"  A1 \t COMPRESS DEFLATE\n").is("COMPRESS"));
        for improper in [&b"+A COMPRESS\r\n"[..], b"\r\n", b"A\xff COMPRESS\r\n", b"(A) X\r\n"] {
            assert_eq!(CommandHead::parse(improper).proper_tag(), None);
        }
        assert_eq!(CommandHead::parse(b"DONE\r\n").verb, b"");
    }

    #[test]
    fn responses() {
        use Condition::{Bad, Bye, No, Ok, Preauth};
        let tagged = |tag, condition| ResponseHead::Tagged { tag, condition };
        for (line, expected) in [
            (&b"A1 OK done\r\n"[..], tagged(b"A1", Ok)),
            (b"A1 OK\r\n", tagged(b"A1", Ok)),
            (b"A1 no\n", tagged(b"A1", No)),
            (b"A1 BYE x\r\n", ResponseHead::Data),
            (b"* OK [X] y\r\n", ResponseHead::Status(Ok)),
            (b"* BAD\r\n", ResponseHead::Status(Bad)),
            (b"* bye x\r\n", ResponseHead::Status(Bye)),
            (b"* PREAUTH x\r\n", ResponseHead::Status(Preauth)),
            (b"* capability IMAP4rev1\r\n", ResponseHead::Capability),
            (b"* OKAY x\r\n", ResponseHead::Data),
            (b"* 1 FETCH (FLAGS ())\r\n", ResponseHead::Data),
            (b"+\r\n", ResponseHead::Continuation),
            (b"+ go on\r\n", ResponseHead::Continuation),
            (b"HTTP/1.1 400 Bad\r\n", ResponseHead::Data),
            (b"\r\n", ResponseHead::Data),
        ] {
            assert_eq!(ResponseHead::parse(line), expected, "{}", line.escape_ascii());
        }
    }
}
