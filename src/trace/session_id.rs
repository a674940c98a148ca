//! Names for sessions.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use super::text::add_number;

/// The name of one client's session: short, and unique across restarts of the daemon.
///
/// Shown as the start of the process (tenths of a second, base 36), `-`, and a running number:
/// `7t8wq2k-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    started: &'static str,
    number: u64,
}

impl SessionId {
    /// The next session's name.
    pub fn next() -> Self {
        static STARTED: OnceLock<String> = OnceLock::new();
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let started = STARTED.get_or_init(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            base_36(since.as_secs() * 10 + u64::from(since.subsec_millis() / 100))
        });
        Self { started, number: NUMBER.fetch_add(1, Ordering::Relaxed) }
    }

    /// Adds what Display shows.
    pub(super) fn add_to(self, text: &mut String) {
        text.extend([self.started, "-"]);
        add_number(text, self.number);
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.started, self.number)
    }
}

fn base_36(mut rest: u64) -> String {
    let mut digits = Vec::new();
    while digits.is_empty() || rest > 0 {
        digits.extend(u32::try_from(rest % 36).ok().and_then(|d| char::from_digit(d, 36)));
        rest /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_base_36_and_a_number() {
        assert_eq!((base_36(0).as_str(), base_36(36 * 36 + 35).as_str()), ("0", "10z"));
        let id = SessionId { started: "10z", number: 17 };
        let mut added = String::new();
        id.add_to(&mut added);
        assert_eq!((id.to_string().as_str(), added.as_str()), ("10z-17", "10z-17"));
    }

    #[test]
    fn never_repeats() {
        let (a, b) = (SessionId::next(), SessionId::next());
        assert_ne!(a, b);
        assert_ne!(a.to_string(), b.to_string());
        assert_eq!(a.started, b.started);
    }
}
