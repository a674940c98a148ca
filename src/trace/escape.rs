//! Peers choose what is in a message; they must not choose what a log looks like.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

/// `text` with everything escaped that would start a new line, move a cursor or turn the writing
/// direction round: control characters and Unicode's line, paragraph and bidi controls.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    // Most text is printable ASCII, of which no character need be decoded. Without an early end this
    // is done many bytes at a time.
    let is_plain = text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    if is_plain || !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Bytes as text that can be read back: `\r`, `\n`, `\t`, `\\`, `\xNN` for what is no UTF-8.
pub(super) fn bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || is_unsafe(c) { out.extend(c.escape_default()) } else { out.push(c) }
        }
        out.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    out
}

/// Prints until `limit` bytes are there, and then only counts: ends with `… (+N bytes)`.
pub(super) fn bounded(limit: usize, value: fmt::Arguments<'_>) -> String {
    // Enough for most, so that they are not moved as they grow.
    let mut out = Bounded { text: String::with_capacity(limit.min(256)), limit, left_out: 0 };
    // Neither a String nor a Debug print of this crate's values fails.
    let _ = out.write_fmt(value);
    if out.left_out > 0 {
        let _ = write!(out.text, "… (+{} bytes)", out.left_out);
    }
    out.text
}

struct Bounded {
    text: String,
    limit: usize,
    left_out: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        if self.left_out == 0 && s.len() <= self.limit.saturating_sub(self.text.len()) {
            self.text.push_str(s);
            return Ok(());
        }
        // Once something was left out, nothing may follow it.
        let room = if self.left_out > 0 { 0 } else { self.limit.saturating_sub(self.text.len()) };
        let cut = (0..=room.min(s.len())).rev().find(|&at| s.is_char_boundary(at)).unwrap_or(0);
        let (fits, rest) = s.split_at(cut);
        self.text.push_str(fits);
        self.left_out += rest.len();
        Ok(())
    }
}

/// Whether a log is better off without this character.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_harmless_stays() {
        assert!(matches!(clean("größe \"x\" \\ client→server"), Cow::Borrowed(_)));
    }

    #[test]
    fn nothing_starts_a_line_or_moves_a_cursor() {
        assert_eq!(clean("a\r\nERROR\t\u{1b}[2Jb"), "a\\r\\nERROR\\t\\u{1b}[2Jb");
        assert_eq!(clean("a\u{202e}b\u{2028}c\u{85}"), "a\\u{202e}b\\u{2028}c\\u{85}");
    }

    #[test]
    fn bytes_can_be_read_back() {
        assert_eq!(bytes(b"A1 \"\\\"\xff\xc3\xa9\r\n"), "A1 \"\\\\\"\\xffé\\r\\n");
        assert_eq!(bytes(b"\x00\x1b"), "\\u{0}\\u{1b}");
    }

    #[test]
    fn is_cut_between_characters_and_says_so() {
        assert_eq!(bounded(10, format_args!("{}", "0123456789")), "0123456789");
        assert_eq!(bounded(4, format_args!("{}{}", "abcé", "fgh")), "abc… (+5 bytes)");
        assert_eq!(bounded(0, format_args!("{}", "é")), "… (+2 bytes)");
    }
}
