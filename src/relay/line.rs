//! Lines and literals: the framing of IMAP, which needs no decoding (RFC 9051 2.2, 4.3).

use std::{iter, num::NonZero};

use memchr::{memchr, memchr_iter};
use wide::u8x16;

/// A literal that a line announces at its end: `{n}`, `{n+}`, `~{n}` or `~{n+}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// Bytes that follow the line.
    pub(super) size: u64,
    /// Whether its sender waits for a `+` first (RFC 7888: without the plus sign).
    pub(super) sync: bool,
}

/// The length of the first line of `bytes`, its LF (bare or not) included.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes).map(|position| position + 1)
}

/// Where the LFs in `bytes` are. Made for many short lines: for each of them `memchr` would begin anew.
pub(super) fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let (chunks, rest) = bytes.as_chunks::<64>();
    let begins_of_rest = bytes.len() - rest.len();
    let in_rest = memchr_iter(b'\n', rest).map(move |at| begins_of_rest + at);
    let in_chunks = chunks.iter().zip(0..).flat_map(|(chunk, number)| {
        let mut ends = ends_in(chunk);
        iter::from_fn(move || {
            let at = NonZero::new(ends)?.trailing_zeros();
            ends &= ends - 1;
            Some(number * 64 + at as usize)
        })
    });
    in_chunks.chain(in_rest)
}

/// A bit for each LF, the first byte's the lowest.
fn ends_in(chunk: &[u8; 64]) -> u64 {
    let lf = u8x16::splat(b'\n');
    let quarters = chunk.as_chunks::<16>().0.iter().rev();
    quarters.fold(0, |ends, &quarter| {
        ends << 16 | u64::from(u8x16::new(quarter).simd_eq(lf).to_bitmask())
    })
}

/// The line without its CRLF or LF.
pub fn content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The literal that a complete line announces. A size beyond 64 bits announces nothing.
pub(super) fn announcement(line: &[u8]) -> Option<Literal> {
    let inner = content(line).strip_suffix(b"}")?;
    let (inner, sync) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = inner.split_at(inner.len() - digits);
    before.strip_suffix(b"{")?;
    let size = str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Literal { size, sync })
}

/// Whether a line is an untagged response that begins with a number, such as `* 1 FETCH` (RFC 9051
/// 7.4, 7.5). Its first three bytes tell.
pub(super) fn begins_data(line: &[u8]) -> bool {
    matches!(line, [b'*', b' ', b'0'..=b'9', ..])
}

/// Whether a complete line is one, and announces no literal.
pub(super) fn is_plain_data(line: &[u8]) -> bool {
    begins_data(line) && !content(line).ends_with(b"}")
}

/// Whether a literal of which `left` bytes are due goes on after the next `count` bytes; if so,
/// these are taken.
pub(super) fn take_content(left: &mut u64, count: usize) -> bool {
    match left.checked_sub(count as u64) {
        Some(after @ 1..) => {
            *left = after;
            true
        }
        _ => false,
    }
}

/// `line`, which announces a literal without waiting for it, as one that waits.
pub(super) fn synchronising(line: &[u8]) -> Vec<u8> {
    let content = content(line);
    let ending = line.len() - content.len();
    let mut changed = content.strip_suffix(b"+}").unwrap_or(content).to_vec();
    changed.push(b'}');
    changed.extend(line.iter().skip(line.len() - ending));
    changed
}

/// Sees the end of a line that is not kept.
///
/// Holds the last bytes only: enough for `~{18446744073709551615+}` CRLF.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    const LENGTH: usize = 32;

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().skip(bytes.len().saturating_sub(Self::LENGTH)));
        let surplus = self.0.len().saturating_sub(Self::LENGTH);
        self.0.drain(..surplus);
    }

    pub(super) fn announcement(&self) -> Option<Literal> {
        announcement(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn announcements() {
        let sync = |size| Some(Literal { size, sync: true });
        let non_sync = |size| Some(Literal { size, sync: false });
        for (line, expected) in [
            (&b"A1 LOGIN {5}\r\n"[..], sync(5)),
            (b"A1 LOGIN {5}\n", sync(5)),
            (b"A1 APPEND x {0+}\r\n", non_sync(0)),
            (b"A1 APPEND x ~{12}\r\n", sync(12)),
            (b"A1 APPEND x ~{12+}\r\n", non_sync(12)),
            (b"* 1 FETCH (BODY[] {4294967296}\r\n", sync(4_294_967_296)),
            (b"{007}\r\n", sync(7)),
            (b"A1 NOOP\r\n", None),
            (b"A1 X {}\r\n", None),
            (b"A1 X {+}\r\n", None),
            (b"A1 X {5-}\r\n", None),
            (b"A1 X {5}x\r\n", None),
            (b"A1 X {5} \r\n", None),
            (b"A1 X 5}\r\n", None),
            (b"A1 X {18446744073709551616}\r\n", None),
            (b"}\r\n", None),
            (b"\n", None),
            (b"", None),
        ] {
            assert_eq!(announcement(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn plain_data() {
        for (line, expected) in [
            (&b"* 1 FETCH (FLAGS ())\r\n"[..], true),
            (b"* 23 EXISTS\n", true),
            (b"* 1 FETCH (BODY[] {5}\r\n", false),
            (b"* 1 FETCH (BODY[] ~{5}\n", false),
            (b"* OK 1\r\n", false),
            (b"A1 1 x\r\n", false),
            (b"+ 1 x\r\n", false),
            (b"*  1 EXISTS\r\n", false),
            (b"* \r\n", false),
            (b"\n", false),
        ] {
            assert_eq!(is_plain_data(line), expected, "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn ends_are_where_the_lfs_are(lines in vec("[a\r\n]{0,99}", 0..9)) {
            let bytes = lines.concat().into_bytes();
            let expected = (0..bytes.len()).filter(|&at| bytes[at] == b'\n').collect::<Vec<_>>();
            prop_assert_eq!(ends(&bytes).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn content_is_taken_up_to_the_last_byte_but_one() {
        for (mut left, count, taken, after) in [
            (10, 9, true, 1),
            (10, 10, false, 10),
            (10, 11, false, 10),
            (1, 0, true, 1),
            (0, 0, false, 0),
        ] {
            assert_eq!((take_content(&mut left, count), left), (taken, after));
        }
    }

    #[test]
    fn a_literal_is_made_to_wait() {
        assert_eq!(synchronising(b"A1 X {5+}\r\n"), b"A1 X {5}\r\n");
        assert_eq!(synchronising(b"A1 X ~{5+}\n"), b"A1 X ~{5}\n");
    }

    #[test]
    fn a_tail_sees_what_the_whole_line_would() {
        let line = b"A1 SOMETHING very long that nobody keeps ~{18446744073709551615+}\r\n";
        for size in 1..line.len() {
            let mut tail = Tail::default();
            for chunk in line.chunks(size) {
                tail.push(chunk);
            }
            assert_eq!(tail.announcement(), announcement(line));
        }
    }
}
