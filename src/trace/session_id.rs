//! Names for sessions.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The name of one client's session: short, and unique across restarts of the daemon.
///
/// Shown as the start of the process (tenths of a second, base 36), `-`, and a running number:
/// `7t8wq2k-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    started: u64,
    number: u64,
}

impl SessionId {
    /// The next session's name.
    pub fn next() -> Self {
        static STARTED: OnceLock<u64> = OnceLock::new();
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let started = *STARTED.get_or_init(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_secs() * 10 + u64::from(since.subsec_millis() / 100)
        });
        Self { started, number: NUMBER.fetch_add(1, Ordering::Relaxed) }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.started;
        let mut digits = Vec::new();
        while digits.is_empty() || rest > 0 {
            digits.extend(u32::try_from(rest % 36).ok().and_then(|d| char::from_digit(d, 36)));
            rest /= 36;
        }
        let start: String = digits.iter().rev().collect();
        write!(f, "{start}-{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_base_36_and_a_number() {
        assert_eq!(SessionId { started: 0, number: 1 }.to_string(), "0-1");
        assert_eq!(SessionId { started: 36 * 36 + 35, number: 17 }.to_string(), "10z-17");
    }

    #[test]
    fn never_repeats() {
        let (a, b) = (SessionId::next(), SessionId::next());
        assert_ne!(a, b);
        assert_ne!(a.to_string(), b.to_string());
        assert_eq!(a.started, b.started);
    }
}
