//! What a server must not be heard repeating.

use std::collections::VecDeque;

use memchr::memchr2_iter;
use zeroize::Zeroizing;

/// As much of each secret as is kept, in bytes: enough to know it again, even cut short.
const KEPT: usize = 12;
/// Of the latest secrets.
const MAX: usize = 64;
/// Shorter ones turn up in innocent data by chance, in bytes.
const TELLING: usize = 4;

/// The starts of what a client sent as credentials, or in their place. Wiped when dropped.
#[derive(Default)]
pub(super) struct Secrets {
    starts: VecDeque<Zeroizing<Vec<u8>>>,
    /// There are others, which were too long to be seen whole: anything may be one.
    unseen: bool,
}

impl Secrets {
    /// Remembers a secret, and forgets the oldest when there are many.
    pub(super) fn add(&mut self, secret: &[u8]) {
        let start = secret.get(..KEPT).unwrap_or(secret);
        if start.is_empty() || self.starts.iter().any(|known| known.as_slice() == start) {
            return;
        }
        if self.starts.len() >= MAX {
            self.starts.pop_front();
        }
        self.starts.push_back(Zeroizing::new(start.to_vec()));
    }

    /// Notes that a secret was not seen whole.
    pub(super) fn add_unseen(&mut self) {
        self.unseen = true;
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty() && !self.unseen
    }

    /// Whether `data` contains one that is long enough to be no chance.
    pub(super) fn in_data(&self, data: &[u8]) -> bool {
        self.unseen
            || self.starts.iter().any(|secret| secret.len() >= TELLING && contains(data, secret))
    }

    /// Whether `text`, meant for humans, contains any at all.
    pub(super) fn in_text(&self, text: &[u8]) -> bool {
        self.unseen || self.starts.iter().any(|secret| contains(text, secret))
    }

    /// Whether `word` contains a telling one, or is one.
    pub(super) fn in_word(&self, word: &[u8]) -> bool {
        self.in_data(word) || self.starts.iter().any(|secret| word.eq_ignore_ascii_case(secret))
    }
}

/// Without case: servers like to repeat a command in capitals.
pub(super) fn contains(data: &[u8], secret: &[u8]) -> bool {
    let Some(first) = secret.first() else { return false };
    memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), data).any(|at| {
        let found = data.get(at..).and_then(|data| data.get(..secret.len()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(secret))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(all: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        for secret in all {
            secrets.add(secret.as_bytes());
        }
        secrets
    }

    #[test]
    fn long_ones_are_known_again_even_in_capitals_or_cut_short() {
        let secrets = secrets(&["correct horse battery"]);
        assert!(secrets.in_data(b"* BAD Unknown command CORRECT HORSE BATTERY"));
        assert!(secrets.in_data(b"* BAD Unknown command correct hors..."));
        assert!(!secrets.in_data(b"* BAD Unknown command correct"));
    }

    #[test]
    fn short_ones_count_in_text_only() {
        let secrets = secrets(&["abc"]);
        assert!(!secrets.in_data(b"* CAPABILITY XABC"));
        assert!(secrets.in_text(b"wrong password: abc"));
        assert!(secrets.in_word(b"ABC") && !secrets.in_word(b"abcd"));
    }

    #[test]
    fn nothing_is_no_secret_and_many_are_bounded() {
        let mut secrets = secrets(&["", "x"]);
        assert!(!secrets.in_text(b"hello"));
        for n in 0..1000 {
            secrets.add(format!("secret{n}").as_bytes());
        }
        assert_eq!(secrets.starts.len(), MAX);
        assert!(secrets.in_data(b"secret999"));
        secrets.clear();
        assert!(secrets.is_empty() && !secrets.in_text(b"secret999"));
    }
}
