//! Several responses of one name in a row, shown as one at level `summary`.

use std::time::{Duration, Instant, SystemTime};

use super::{beginning::Beginning, seen::Seen};

/// How long after its first message a run is shown at the latest: what is shown is live.
pub(super) const LONGEST: Duration = Duration::from_millis(100);

/// Responses of one name that passed since anything else did. Each costs a comparison and two
/// additions.
#[derive(Debug)]
pub(super) struct Run {
    /// All of them, shown as one.
    seen: Box<Seen>,
    beginning: Beginning,
    due: Instant,
}

impl Run {
    /// `first` must tell nothing but its name.
    pub(super) fn new(first: Seen) -> Self {
        let beginning = Beginning::of(first.shown.name.as_deref().unwrap_or_default());
        Self { seen: Box::new(first), beginning, due: Instant::now() + LONGEST }
    }

    /// Whether a message that begins with `line` is one more of them.
    #[inline]
    pub(super) fn goes_on_with(&self, line: &[u8]) -> bool {
        self.beginning.is_of(line)
    }

    /// One more, of so many bytes; it is the session's message number `seq`.
    #[inline]
    pub(super) fn add(&mut self, size: u64, seq: u64) {
        if self.seen.count == 0 {
            (self.seen.time, self.seen.seq) = (SystemTime::now(), seq);
            self.due = Instant::now() + LONGEST;
        }
        self.seen.count += 1;
        self.seen.size = self.seen.size.saturating_add(size);
    }

    /// When it has to be shown.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.seen.count > 0).then_some(self.due)
    }

    /// The next one of the same name, of which nothing is complete yet.
    pub(super) fn anew(&self) -> Self {
        let seen = Seen { count: 0, size: 0, ..(*self.seen).clone() };
        Self { seen: Box::new(seen), beginning: self.beginning.clone(), due: self.due }
    }

    /// What there is to show.
    pub(super) fn done(self) -> Option<Seen> {
        (self.seen.count > 0).then_some(*self.seen)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::super::tests::{AFTER, Bench};
    use crate::{
        config::TraceLevel,
        relay::{Kind, Party, Tap},
    };

    #[test]
    fn responses_of_one_name_are_shown_as_one() {
        let mut bench = Bench::logged_in();
        for line in ["* 1 FETCH (FLAGS ())\r\n", "* 2 fetch (FLAGS ())\r\n", "* 3 FETCH\n"] {
            bench.server(line);
        }
        bench.server("* 4 FETCHED\r\n");
        bench.server("* 5 FETCHED x\r\n");
        bench.server("* OK one\r\n");
        bench.server("* OK two\r\n");
        bench.server("+ idling\r\n");
        bench.server("+ idling\r\n");
        bench.server("* SEARCH 1\r\n");
        bench.server("A2 OK done\r\n");
        assert_eq!(
            bench.lines()[2..],
            [
                "3 user=\"bob\" server→client * FETCH, 3 messages (54 bytes)",
                "6 user=\"bob\" server→client * FETCHED, 2 messages (28 bytes)",
                "8 user=\"bob\" server→client * OK (10 bytes)",
                "9 user=\"bob\" server→client * OK (10 bytes)",
                "10 user=\"bob\" server→client + (10 bytes)",
                "11 user=\"bob\" server→client + (10 bytes)",
                "12 user=\"bob\" server→client * SEARCH (12 bytes)",
                "13 user=\"bob\" server→client A2 OK (12 bytes)",
            ]
        );
    }

    #[test]
    fn one_that_is_under_way_when_its_run_ends_is_shown_with_the_next() {
        let mut bench = Bench::logged_in();
        bench.server("* 1 FETCH (FLAGS ())\r\n");
        bench.server("* 2 FETCH (FLAGS ())\r\n");
        bench.tap.line(Party::Server, b"* 3 FETCH (BODY[] {10}\r\n");
        bench.tap.literal(Party::Server, 10);
        bench.tap.literal_bytes(Party::Server, b"* BYE");
        bench.client("A3 NOOP\r\n", AFTER);
        assert_eq!(bench.tap.due(), None);
        bench.tap.literal_bytes(Party::Server, b" now\n");
        bench.tap.line(Party::Server, b" FLAGS ())\r\n");
        bench.tap.end(Party::Server, Party::Client, Kind::Response);
        assert!(bench.tap.due().is_some());
        bench.server("* 4 FETCH (FLAGS ())\r\n");
        assert_eq!(
            bench.lines()[2..],
            [
                "3 user=\"bob\" server→client * FETCH, 2 messages (44 bytes)",
                "5 user=\"bob\" client→server A3 NOOP (9 bytes)",
                "6 user=\"bob\" server→client * FETCH, 2 messages (68 bytes)",
            ]
        );
    }

    #[test]
    fn one_that_is_cut_before_its_name_is_one_more() {
        let mut bench = Bench::logged_in();
        bench.server("* 1 FETCH (FLAGS ())\r\n");
        for piece in ["* 2 FE", "TCH (FLAGS", " ())\r\n"] {
            bench.tap.line(Party::Server, piece.as_bytes());
        }
        bench.tap.end(Party::Server, Party::Client, Kind::Response);
        assert_eq!(
            bench.lines()[2..],
            ["3 user=\"bob\" server→client * FETCH, 2 messages (44 bytes)"]
        );
    }

    #[test]
    fn one_alone_is_shown_as_ever_once_it_is_due() {
        let mut bench = Bench::logged_in();
        assert_eq!(bench.tap.due(), None);
        bench.server("* 5 EXISTS\r\n");
        assert!(bench.tap.due().is_some());
        bench.tap.show();
        assert_eq!(bench.tap.due(), None);
        bench.server("* 6 EXISTS\r\n");
        assert_eq!(
            bench.lines()[2..],
            [
                "3 user=\"bob\" server→client * EXISTS (12 bytes)",
                "4 user=\"bob\" server→client * EXISTS (12 bytes)",
            ]
        );
    }

    #[test]
    fn where_more_than_the_name_counts_every_message_is_shown() {
        let mut full = Bench::new(TraceLevel::Full, 0, false);
        full.tap.authenticated();
        let before_login = Bench::new(TraceLevel::Summary, 0, false);
        // A password that the server might repeat.
        let mut late_login = Bench::logged_in();
        late_login.client("A2 LOGIN bob hunter3\r\n", AFTER);
        for (mut bench, before) in [(full, 0), (before_login, 0), (late_login, 3)] {
            (0..3).for_each(|_| bench.server("* CAPABILITY IMAP4rev1\r\n"));
            assert_eq!(bench.lines().len(), before + 3);
        }
    }

    /// One thing that happens to a session.
    #[derive(Clone, Debug)]
    enum Step {
        /// Pieces of a line; and if there is one, a literal with the rest of a line.
        Server(Vec<&'static str>, Option<Vec<u8>>),
        Client,
        Show,
    }

    fn step() -> impl Strategy<Value = Step> {
        let lines = [
            &["* 1 FETCH (FLAGS ())\r\n"][..],
            &["* 22 FETCH (FLAGS", " ())\r\n"],
            &["* 3 FE", "TCH (FLAGS ())\r\n"],
            &["* 3 FE", "TCHED (FLAGS ())\r\n"],
            &["* 4 fetch\r\n"],
            &["* LIST () \"/\" INBOX\r\n"],
            &["*  LIST\n"],
            &["* 12LIST x\r\n"],
            &["* SEARCH\r\n"],
            &["* OK [X] y\r\n"],
            &["A2 OK done\r\n"],
            &["FETCH\r\n"],
        ];
        let line = prop::sample::select(lines.to_vec()).prop_map(<[_]>::to_vec);
        let literal = prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..20));
        prop_oneof![
            8 => (line, literal).prop_map(|(line, literal)| Step::Server(line, literal)),
            1 => Just(Step::Client),
            1 => Just(Step::Show),
        ]
    }

    fn play(bench: &mut Bench, step: &Step) {
        let tap = &mut bench.tap;
        match step {
            Step::Server(pieces, literal) => {
                for piece in pieces {
                    tap.line(Party::Server, piece.as_bytes());
                }
                if let Some(content) = literal {
                    tap.literal(Party::Server, content.len() as u64);
                    tap.literal_bytes(Party::Server, content);
                    tap.line(Party::Server, b")\r\n");
                }
                tap.end(Party::Server, Party::Client, Kind::Response);
            }
            Step::Client => bench.client("A2 UID FETCH 1:* (FLAGS)\r\n", AFTER),
            Step::Show => tap.show(),
        }
    }

    /// Of each record the numbers of its messages, what it says of them but for their count, and
    /// their bytes.
    fn records(bench: Bench) -> Vec<(Range<u64>, String, u64)> {
        let record = |line: &String| {
            let (seq, rest) = line.split_once(' ').unwrap();
            let (what, size) = rest.rsplit_once('(').unwrap();
            let (what, count) = match what.split_once(", ") {
                Some((what, count)) => (what, count.split_once(' ').unwrap().0.parse().unwrap()),
                None => (what.trim_end(), 1),
            };
            let (seq, size) = (seq.parse::<u64>().unwrap(), size.split_once(' ').unwrap().0);
            (seq..seq + count, what.to_owned(), size.parse().unwrap())
        };
        bench.lines().iter().map(record).collect()
    }

    proptest! {
        /// What is shown together adds up to what is shown one by one.
        #[test]
        fn runs_lose_nothing(steps in prop::collection::vec(step(), 0..60)) {
            let (mut together, mut one_by_one) = (Bench::logged_in(), Bench::logged_in());
            for step in &steps {
                play(&mut together, step);
                play(&mut one_by_one, step);
                one_by_one.tap.show();
            }
            let mut single = records(one_by_one).into_iter();
            for (numbers, what, size) in records(together) {
                let mut sum = 0;
                for number in numbers {
                    let (of_one, what_of_one, size_of_one) = single.next().unwrap();
                    prop_assert_eq!((of_one, &what_of_one), (number..number + 1, &what));
                    sum += size_of_one;
                }
                prop_assert_eq!(size, sum);
            }
            prop_assert_eq!(single.next(), None);
        }
    }
}
