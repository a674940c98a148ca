//! How the responses of one name begin.

use smol_str::{SmolStr, format_smolstr};
use wide::u8x16;

use super::response;

/// How the responses of one name begin: `* 12 FETCH ` or `* LIST `.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    /// With a blank before and after it.
    name: SmolStr,
    /// The same as one number, unless it is too long.
    word: Option<Word>,
}

/// Up to eight bytes, to be compared at once.
#[derive(Clone, Copy, Debug)]
struct Word {
    value: u64,
    /// The bits that count.
    mask: u64,
}

impl Beginning {
    pub(super) fn of(name: &str) -> Self {
        let name = format_smolstr!(" {name} ");
        Self { word: Word::new(name.as_bytes()), name }
    }

    /// Whether `line` begins like that. Nearly all lines that are asked about do, and have a number.
    #[inline]
    pub(super) fn is_of(&self, line: &[u8]) -> bool {
        self.is_plainly_of(line) || response::is_data_of(line, self.name.as_bytes())
    }

    /// Whether it does byte by byte, by a look at a line that is long enough.
    #[inline]
    fn is_plainly_of(&self, line: &[u8]) -> bool {
        let (Some(word), [b'*', b' ', rest @ ..]) = (self.word, line) else { return false };
        let Some(&first) = rest.first_chunk() else { return false };
        let value = u8x16::new(first) - u8x16::splat(b'0');
        let is_digit = value.min(u8x16::splat(9)).simd_eq(value);
        let digits = is_digit.to_bitmask().trailing_ones() as usize;
        digits > 0 && rest.get(digits..).is_some_and(|rest| word.begins(rest))
    }
}

impl Word {
    fn new(text: &[u8]) -> Option<Self> {
        let (mut value, mut mask) = ([0; 8], [0; 8]);
        value.get_mut(..text.len())?.copy_from_slice(text);
        mask.get_mut(..text.len())?.fill(u8::MAX);
        Some(Self { value: u64::from_le_bytes(value), mask: u64::from_le_bytes(mask) })
    }

    #[inline]
    fn begins(self, text: &[u8]) -> bool {
        text.first_chunk().is_some_and(|&bytes| u64::from_le_bytes(bytes) & self.mask == self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared() {
        for (name, line, expected) in [
            ("FETCH", "* 1 FETCH (FLAGS ())\r\n", true),
            ("FETCH", "* 4294967295 FETCH (FLAGS ())\r\n", true),
            ("FETCH", "* 12345678901234567890 FETCH (FLAGS ())\r\n", true),
            ("FETCH", "* 1 fetch (FLAGS ())\r\n", true),
            ("FETCH", "* 3 FETCH\r\n", true),
            ("FETCH", "* 3 FETCH\n", true),
            ("FETCH", "* FETCH (FLAGS (\\Seen))\r\n", true),
            ("FETCH", "* 1 FETCHED (FLAGS ())\r\n", false),
            ("FETCH", "* 1FETCH (FLAGS (\\Seen))\r\n", false),
            ("FETCH", "A 1 FETCH (FLAGS (\\Seen))\r\n", false),
            ("FETCH", "* 1 FETCH", false),
            ("FETCH", "* 1 EXISTS\r\n", false),
            ("FETCH", "* 12345678901234567890", false),
            ("FETCH", "", false),
            ("EXPUNGE", "* 1000000000000000 EXPUNGE\r\n", true),
            ("EXPUNGE", "* 1000000000000000 EXPUNGED\r\n", false),
            ("LIST", "* LIST () \"/\" INBOX\r\n", true),
            ("LIST", "* LISTEN () \"/\" INBOX\r\n", false),
            ("", "* 1  FETCH (FLAGS ())\r\n", true),
        ] {
            assert_eq!(Beginning::of(name).is_of(line.as_bytes()), expected, "{name} {line:?}");
        }
    }

    #[test]
    fn a_plain_line_needs_one_look() {
        let beginning = Beginning::of("FETCH");
        assert!(beginning.is_plainly_of(b"* 23 FETCH (FLAGS ())\r\n"));
        assert!(!Beginning::of("EXPUNGE").is_plainly_of(b"* 23 EXPUNGE ()       \r\n"));
        assert!(!beginning.is_plainly_of(b"* 23 FETCH\r\n"));
    }
}
