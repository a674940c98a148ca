//! The bounded copy of one message, taken while it passes.

use std::borrow::Cow;

use memchr::{memchr2, memrchr};
use zeroize::Zeroize;

use crate::relay;

/// How much of a message is kept, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Of its lines together.
    pub(super) lines: usize,
    /// Of each literal.
    pub(super) literal: usize,
}

/// Of all literals of one message together, whatever [`Keep::literal`] says.
pub(super) const ALL_LITERALS: usize = 64 * 1024;

/// Bytes that are kept for the next message: enough for most.
const ROOM: usize = 128;

/// The head of a message: its bytes as they came, less what was too long. Wiped when dropped.
#[derive(Default)]
pub(super) struct Capture {
    bytes: Vec<u8>,
    literals: Vec<Literal>,
    size: u64,
    /// Bytes of literals in `bytes`.
    content: usize,
    /// Lines were longer than what is kept: nothing more is.
    cut: bool,
}

#[derive(Debug)]
struct Literal {
    /// Where its content begins in `bytes`.
    at: usize,
    announced: u64,
    received: u64,
    kept: usize,
}

impl Capture {
    /// Bytes of a line.
    pub(super) fn line(&mut self, bytes: &[u8], keep: Keep) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.cut {
            return;
        }
        let room = keep.lines.saturating_sub(self.bytes.len().saturating_sub(self.content));
        self.cut = bytes.len() > room;
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// A literal of `size` bytes begins.
    pub(super) fn literal(&mut self, size: u64) {
        if !self.cut {
            let at = self.bytes.len();
            self.literals.push(Literal { at, announced: size, received: 0, kept: 0 });
        }
    }

    /// Content of the literal.
    pub(super) fn literal_bytes(&mut self, bytes: &[u8], keep: Keep) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        let Some(literal) = self.literals.last_mut().filter(|_| !self.cut) else { return };
        literal.received = literal.received.saturating_add(bytes.len() as u64);
        let room = keep.literal.min(ALL_LITERALS);
        let room = room.saturating_sub(literal.kept).min(ALL_LITERALS.saturating_sub(self.content));
        let kept = bytes.get(..room).unwrap_or(bytes);
        literal.kept += kept.len();
        self.content += kept.len();
        self.bytes.extend_from_slice(kept);
    }

    /// The true size of the message in bytes, literals included.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The same, without the last line ending.
    pub(super) fn line_size(&self) -> u64 {
        let ending = self.bytes.len() - relay::line_content(&self.bytes).len();
        self.size.saturating_sub(ending as u64)
    }

    /// Whether parts of a line are missing, or a literal ended early: such a message cannot be
    /// decoded. That the content of literals is missing does not matter.
    pub(super) fn is_cut(&self) -> bool {
        self.cut || self.literals.iter().any(|literal| literal.received < literal.announced)
    }

    /// The first line, or what is kept of it.
    pub(super) fn first_line(&self) -> &[u8] {
        let end = self.literals.first().map_or(self.bytes.len(), |literal| literal.at);
        self.bytes.get(..end).unwrap_or_default()
    }

    /// All that is kept, as it came.
    pub(super) fn kept(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole message as it came, unless anything is missing.
    pub(super) fn verbatim(&self) -> Option<&[u8]> {
        let missing = self.size > self.bytes.len() as u64 || self.is_cut();
        (!missing).then_some(self.bytes.as_slice())
    }

    /// The message with at most `max_body` bytes of each literal: the rest is replaced by a
    /// marker such as `<1234 bytes>`, and announced such that the message still decodes.
    pub(super) fn elided(&self, max_body: usize) -> Cow<'_, [u8]> {
        if self.literals.is_empty() {
            return Cow::Borrowed(&self.bytes);
        }
        let mut out = Vec::with_capacity(self.bytes.len() + 24 * self.literals.len());
        let mut from = 0;
        for literal in &self.literals {
            let shown = literal.kept.min(max_body);
            let left_out = literal.announced.saturating_sub(shown as u64);
            let marker = match (shown, left_out) {
                (_, 0) => String::new(),
                (0, n) => format!("<{n} bytes>"),
                (_, n) => format!("<+{n} bytes>"),
            };
            let line = self.bytes.get(from..literal.at).unwrap_or_default();
            announce(&mut out, line, shown + marker.len());
            from = literal.at + literal.kept;
            let content = self.bytes.get(literal.at..literal.at + shown);
            out.extend_from_slice(content.unwrap_or_default());
            out.extend_from_slice(marker.as_bytes());
        }
        out.extend_from_slice(self.bytes.get(from..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// Forgets the message; little room is kept for the next.
    pub(super) fn clear(&mut self) {
        self.bytes.as_mut_slice().zeroize();
        self.bytes.clear();
        self.bytes.shrink_to(ROOM);
        self.literals = Vec::new();
        (self.size, self.content, self.cut) = (0, 0, false);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.bytes.zeroize();
        }
    }
}

/// `line`, whose announcement (`{n}`, `{n+}`, `~{n}`) then says `size`.
fn announce(out: &mut Vec<u8>, line: &[u8], size: usize) {
    let open = memrchr(b'{', line).map_or(line.len(), |at| at + 1);
    let (head, rest) = line.split_at(open);
    out.extend_from_slice(head);
    if let Some(digits) = memchr2(b'+', b'}', rest) {
        out.extend_from_slice(size.to_string().as_bytes());
        out.extend_from_slice(rest.get(digits..).unwrap_or_default());
    }
}

/// A capture of a whole message; a literal's content follows its announcement.
#[cfg(test)]
pub(super) fn captured(message: &str) -> Capture {
    let keep = Keep { lines: 8192, literal: 8192 };
    let mut capture = Capture::default();
    let mut rest = message;
    while let Some((line, after)) = rest.split_once('\n') {
        capture.line(line.as_bytes(), keep);
        capture.line(b"\n", keep);
        rest = after;
        let announced = line.trim_end().strip_suffix('}').and_then(|s| s.rsplit_once('{'));
        if let Some(size) = announced.and_then(|(_, n)| n.trim_end_matches('+').parse().ok()) {
            capture.literal(size);
            let (content, after) = rest.split_at(usize::try_from(size).unwrap().min(rest.len()));
            capture.literal_bytes(content.as_bytes(), keep);
            rest = after;
        }
    }
    capture.line(rest.as_bytes(), keep);
    capture
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep { lines: 64, literal: 4 };

    fn message(parts: &[(&str, &str)], keep: Keep) -> Capture {
        let mut capture = Capture::default();
        for (line, literal) in parts {
            capture.line(line.as_bytes(), keep);
            if line.ends_with("}\r\n") {
                capture.literal(literal.len() as u64);
                for piece in literal.as_bytes().chunks(3) {
                    capture.literal_bytes(piece, keep);
                }
            }
        }
        capture
    }

    fn elided(parts: &[(&str, &str)], max_body: usize) -> String {
        String::from_utf8(message(parts, KEEP).elided(max_body).into_owned()).unwrap()
    }

    #[test]
    fn literals_are_elided_and_announced_anew() {
        let append = [("A1 APPEND INBOX {26}\r\n", "Subject: x\r\n\r\nHello world!"), ("\r\n", "")];
        assert_eq!(elided(&append, 0), "A1 APPEND INBOX {10}\r\n<26 bytes>\r\n");
        assert_eq!(elided(&append, 4), "A1 APPEND INBOX {15}\r\nSubj<+22 bytes>\r\n");
        assert_eq!(message(&append, KEEP).size(), 50);
        assert!(message(&append, KEEP).verbatim().is_none());
    }

    #[test]
    fn all_kinds_of_literals_keep_their_kind() {
        let parts =
            [("A {5+}\r\n", "abcde"), (" ~{3}\r\n", "abc"), (" ~{0+}\r\n", ""), ("\r\n", "")];
        assert_eq!(elided(&parts, 0), "A {9+}\r\n<5 bytes> ~{9}\r\n<3 bytes> ~{0+}\r\n\r\n");
        assert_eq!(elided(&parts, 3), "A {13+}\r\nabc<+2 bytes> ~{3}\r\nabc ~{0+}\r\n\r\n");
    }

    #[test]
    fn small_literals_stay_verbatim() {
        let parts = [("A1 LOGIN {3}\r\n", "bob"), (" {3}\r\n", "pwd"), ("\r\n", "")];
        let capture = message(&parts, KEEP);
        assert_eq!(capture.verbatim(), Some(&b"A1 LOGIN {3}\r\nbob {3}\r\npwd\r\n"[..]));
        assert_eq!(capture.first_line(), b"A1 LOGIN {3}\r\n");
    }

    #[test]
    fn long_lines_are_cut_and_counted() {
        let long = "x".repeat(100);
        let capture = message(&[(&long, ""), ("{5}\r\n", "abcde"), ("\r\n", "")], KEEP);
        assert!(capture.is_cut());
        assert_eq!((capture.kept().len(), capture.size()), (64, 112));
        assert_eq!(capture.elided(0).len(), 64);
    }

    #[test]
    fn a_literal_that_never_came_cuts_the_message() {
        let mut capture = Capture::default();
        capture.line(b"A1 APPEND x {5}\r\n", KEEP);
        capture.literal(5);
        assert!(capture.is_cut() && capture.verbatim().is_none());
    }

    #[test]
    fn literals_together_are_bounded() {
        let keep = Keep { lines: 1 << 20, literal: usize::MAX };
        let mut capture = Capture::default();
        for _ in 0..3 {
            capture.line(b"{40000}\r\n", keep);
            capture.literal(40_000);
            capture.literal_bytes(&vec![b'x'; 40_000], keep);
        }
        assert_eq!(capture.content, ALL_LITERALS);
        assert_eq!(capture.size(), 3 * 40_009);
    }
}
