//! How often the log tells what a client does wrong: a flood must not flood the journal.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use super::{Client, recent::Recent};

/// The time that one line stands for.
const PERIOD: Duration = Duration::from_secs(60);

/// The lines that clients caused in the last minute.
#[derive(Debug, Default)]
pub struct Notices(Recent<(Client, &'static str), Entry>);

#[derive(Debug)]
struct Entry {
    said: Instant,
    suppressed: u64,
}

/// The lines that were left out since the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suppressed(u64);

impl Notices {
    /// Whether a line of this kind may be written about this client now, and how many were left
    /// out since the last one; else it is counted as one of these.
    pub fn permit(&self, client: Client, kind: &'static str, now: Instant) -> Option<Suppressed> {
        self.0.update((client, kind), |entry| match entry {
            Some(Entry { said, suppressed }) if now.saturating_duration_since(said) < PERIOD => {
                (Entry { said, suppressed: suppressed.saturating_add(1) }, None)
            }
            entry => {
                let suppressed = entry.map_or(0, |entry| entry.suppressed);
                (Entry { said: now, suppressed: 0 }, Some(Suppressed(suppressed)))
            }
        })
    }
}

/// What the line ends with.
impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            left_out => write!(f, " (left out since the last such line: {left_out})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(number: u32) -> Client {
        IpAddr::from(number.to_be_bytes()).into()
    }

    #[test]
    fn one_line_a_minute_for_each_client_and_kind() {
        let (notices, start) = (Notices::default(), Instant::now());
        let line = |number, kind, seconds| {
            let now = start + Duration::from_secs(seconds);
            notices.permit(client(number), kind, now).map(|suppressed| suppressed.to_string())
        };
        assert_eq!(line(1, "a", 0).as_deref(), Some(""));
        assert_eq!(line(1, "b", 0).as_deref(), Some(""));
        assert_eq!(line(2, "a", 0).as_deref(), Some(""));
        for seconds in [0, 30, 59] {
            assert_eq!(line(1, "a", seconds), None);
        }
        let next = line(1, "a", 60);
        assert_eq!(next.as_deref(), Some(" (left out since the last such line: 3)"));
        assert_eq!(line(1, "a", 119), None);
        assert_eq!(line(1, "b", 119).as_deref(), Some(""));
    }
}
