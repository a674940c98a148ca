//! Pieces of lines that are written without the way through `core::fmt`, which costs more than they do.

use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use itoa::{Buffer, Integer};

/// Adds a number in decimal.
pub(super) fn add_number(text: &mut String, number: impl Integer) {
    text.push_str(Buffer::new().format(number));
}

/// Times in UTC (RFC 3339), to the millisecond.
#[derive(Default)]
pub(super) struct Clock {
    /// The second that was last asked for, since the epoch.
    second: u64,
    /// The same as text, empty before the first.
    text: String,
}

impl Clock {
    /// Adds a time. Most lines are of the same second as the one before.
    pub(super) fn add(&mut self, text: &mut String, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.text.is_empty() || self.second != since.as_secs() {
            self.second = since.as_secs();
            self.text.clear();
            // Fails only for a year of five digits.
            let _ = write!(self.text, "{}", humantime::format_rfc3339_seconds(time));
        }
        text.extend([self.text.trim_end_matches('Z'), "."]);
        // Of four digits the last three, with their zeros.
        let mut digits = Buffer::new();
        let millis = digits.format(1000 + since.subsec_millis());
        text.push_str(millis.get(1..).unwrap_or_default());
        text.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_humantime() {
        let mut clock = Clock::default();
        for millis in [0, 7, 999, 1000, 0, 1_700_000_000_123, 1_700_000_000_045, 1_700_000_001_999]
        {
            let time = UNIX_EPOCH + Duration::from_micros(millis * 1000 + 999);
            let mut text = String::new();
            clock.add(&mut text, time);
            assert_eq!(text, humantime::format_rfc3339_millis(time).to_string());
        }
    }
}
