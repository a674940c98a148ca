//! How long a client has to wait with a login, by those that failed before.

use std::time::Duration;

use tokio::time::Instant;

use super::{Client, recent::Recent};

/// Failures that are remembered of a client.
const MOST: u32 = 10;
/// The time that makes up for one failure.
const FORGIVENESS: Duration = Duration::from_secs(60);

/// The logins that failed in the last minutes, by client.
#[derive(Debug, Default)]
pub struct Logins(Recent<Client, Failures>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// Since when there are so many.
    since: Instant,
}

impl Logins {
    /// A login of this client failed.
    pub fn failed(&self, client: Client, now: Instant) {
        self.0.update(client, |failures| {
            let before = failures.map_or(Failures { count: 0, since: now }, |f| f.forgiven(now));
            let since = if before.count == 0 { now } else { before.since };
            (Failures { count: (before.count + 1).min(MOST), since }, ())
        });
    }

    /// How long this client's next login has to wait: a second after one failure, twice as long
    /// after each other, at most `longest`.
    pub fn delay(&self, client: Client, longest: Duration, now: Instant) -> Duration {
        let failures = self.0.peek(&client).map_or(0, |failures| failures.forgiven(now).count);
        match failures.checked_sub(1) {
            Some(doubled) => Duration::from_secs(1 << doubled).min(longest),
            None => Duration::ZERO,
        }
    }
}

impl Failures {
    /// Without those that time made up for. What is left of a minute counts for the next one.
    fn forgiven(self, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.since).as_secs() / FORGIVENESS.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX).min(self.count);
        Self { count: self.count - passed, since: self.since + FORGIVENESS * passed }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    const LONGEST: Duration = Duration::from_secs(15);

    fn client(number: u32) -> Client {
        IpAddr::from(number.to_be_bytes()).into()
    }

    #[test]
    fn delays_double_and_are_forgiven_minute_by_minute() {
        let (logins, start) = (Logins::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let delay = |seconds| logins.delay(client(1), LONGEST, at(seconds)).as_secs();
        assert_eq!(delay(0), 0);
        for expected in [1, 2, 4, 8, 15, 15] {
            logins.failed(client(1), at(0));
            assert_eq!(delay(0), expected);
        }
        for (seconds, expected) in [(59, 15), (60, 15), (120, 8), (180, 4), (299, 2), (360, 0)] {
            assert_eq!(delay(seconds), expected, "after {seconds} s");
        }
        assert_eq!(logins.delay(client(2), LONGEST, at(0)), Duration::ZERO);
        assert_eq!(logins.delay(client(1), Duration::ZERO, at(0)), Duration::ZERO);
        let short = Duration::from_millis(1);
        assert_eq!(logins.delay(client(1), short, at(0)), short);
    }

    #[test]
    fn patience_just_short_of_forgiveness_pays_too() {
        let (logins, start) = (Logins::default(), Instant::now());
        // One failure a minute is forgiven, one in fifty seconds is not.
        for (period, expected) in [(60, 1), (50, 4)] {
            let client = client(period);
            let times = (0..12).map(|n| start + Duration::from_secs(u64::from(n * period)));
            let last = times.inspect(|now| logins.failed(client, *now)).last().unwrap();
            assert_eq!(logins.delay(client, LONGEST, last).as_secs(), expected);
        }
    }

    #[test]
    fn a_million_failures_are_forgiven_in_ten_minutes() {
        let (logins, start) = (Logins::default(), Instant::now());
        for _ in 0..1_000_000 {
            logins.failed(client(1), start);
        }
        let longest = Duration::from_secs(3600);
        assert_eq!(logins.delay(client(1), longest, start).as_secs(), 512);
        assert_eq!(logins.delay(client(1), longest, start + FORGIVENESS * 10), Duration::ZERO);
    }

    #[test]
    fn neighbours_in_a_network_count_as_one() {
        let (logins, now) = (Logins::default(), Instant::now());
        let neighbour =
            |last| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)).into();
        logins.failed(neighbour(1), now);
        assert_eq!(logins.delay(neighbour(2), LONGEST, now), Duration::from_secs(1));
    }
}
