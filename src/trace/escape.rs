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

/// The same of what `text` has from `begin` on.
pub(super) fn clean_from(text: &mut String, begin: usize) {
    if let Some(Cow::Owned(clean)) = text.get(begin..).map(clean) {
        text.truncate(begin);
        text.push_str(&clean);
    }
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

/// The first `limit` bytes of a print, and how many more there are: ends with `… (+N bytes)`.
pub(super) fn bounded(limit: usize, value: fmt::Arguments<'_>) -> String {
    // Enough for most, so that they are not moved as they grow.
    let mut text = String::with_capacity(limit.min(256));
    add_bounded(&mut text, limit, value);
    text
}

/// The same at the end of `text`. A print is hundreds of short pieces: it is cheaper to cut it once it
/// is there than to ask of each whether it still fits.
pub(super) fn add_bounded(text: &mut String, limit: usize, value: fmt::Arguments<'_>) {
    let end = text.len().saturating_add(limit);
    // Neither a String nor a Debug print of this crate's values fails.
    let _ = text.write_fmt(value);
    if text.len() > end {
        let cut = (0..=end).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let left_out = text.len() - cut;
        text.truncate(cut);
        let _ = write!(text, "… (+{left_out} bytes)");
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
    fn what_was_there_before_is_let_be() {
        let mut text = "\na\nb".to_owned();
        clean_from(&mut text, 2);
        assert_eq!(text, "\na\\nb");
        add_bounded(&mut text, 3, format_args!("12345"));
        assert_eq!(text, "\na\\nb123… (+2 bytes)");
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
