//! The bounded queue between whatever is seen and the one thread that writes it.
//!
//! Its lock is held to push or pop one item, never while something is decoded or written.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{record::Record, seen::Seen};

/// Something to write.
pub(super) enum Item {
    /// A line of the daemon's own.
    Line(Box<Record>),
    /// A message that passed the proxy.
    Message(Box<Seen>),
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) messages: u64,
    pub(super) lines: u64,
}

/// What the writer does next.
pub(super) enum Next {
    Write(Item),
    /// Say that this much was lost.
    Tell(Lost),
    /// Closed, and everything was written.
    End,
}

/// See the module.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    max_items: usize,
    max_bytes: usize,
}

struct State {
    items: VecDeque<Item>,
    bytes: usize,
    lost: Lost,
    /// Items written since the last `Tell`.
    since_told: usize,
    closed: bool,
    finished: bool,
}

/// A writer that is behind for long still tells of losses, once per so many items.
const TELL_EVERY: usize = 1024;

impl Queue {
    /// A queue that holds at most so many items, and so many bytes of them.
    pub(super) fn new(max_items: usize, max_bytes: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            lost: Lost::default(),
            since_told: 0,
            closed: false,
            finished: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), max_items, max_bytes }
    }

    /// Queues the item, or drops and counts it when the queue is full or closed.
    pub(super) fn push(&self, item: Item) {
        let weight = item.weight();
        let mut state = self.lock();
        let fits = state.items.len() < self.max_items
            && state.bytes.saturating_add(weight) <= self.max_bytes;
        if fits && !state.closed {
            state.bytes += weight;
            state.items.push_back(item);
            drop(state);
            self.changed.notify_all();
        } else {
            match item {
                Item::Line(_) => state.lost.lines += 1,
                Item::Message(_) => state.lost.messages += 1,
            }
        }
    }

    /// Waits for the next thing to do.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            // Not at once: a writer that is just too slow would tell of a loss after each item.
            let relaxed = state.items.len() <= self.max_items / 2
                && state.bytes <= self.max_bytes / 2
                || state.since_told >= TELL_EVERY;
            if state.lost != Lost::default() && relaxed {
                state.since_told = 0;
                return Next::Tell(std::mem::take(&mut state.lost));
            }
            if let Some(item) = state.items.pop_front() {
                state.bytes = state.bytes.saturating_sub(item.weight());
                state.since_told += 1;
                return Next::Write(item);
            }
            if state.closed {
                return Next::End;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing in any more, and waits until the writer is done, at most for `patience`.
    /// Says whether it was.
    pub(super) fn close(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        while !state.finished {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The writer is done.
    pub(super) fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    fn weight(&self) -> usize {
        match self {
            Self::Line(record) => record.weight(),
            Self::Message(seen) => seen.weight(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn line(text: &str) -> Item {
        Item::Line(Box::new(Record::daemon(Level::INFO, text.to_owned())))
    }

    fn text(next: Next) -> String {
        match next {
            Next::Write(Item::Line(record)) => record.message,
            Next::Write(Item::Message(_)) => "message".to_owned(),
            Next::Tell(lost) => format!("lost {}", lost.lines),
            Next::End => "end".to_owned(),
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_once() {
        let queue = Queue::new(2, usize::MAX);
        for name in ["a", "b", "c", "d"] {
            queue.push(line(name));
        }
        queue.lock().closed = true;
        let told: Vec<_> = (0..4).map(|_| text(queue.next())).collect();
        assert_eq!(told, ["a", "lost 2", "b", "end"]);
    }

    #[test]
    fn bytes_are_a_bound_too_and_are_given_back() {
        let queue = Queue::new(usize::MAX, 3 * line(&"x".repeat(100)).weight());
        for _ in 0..4 {
            queue.push(line(&"x".repeat(100)));
        }
        assert_eq!(queue.lock().lost.lines, 1);
        for _ in 0..3 {
            assert!(matches!(queue.next(), Next::Write(_) | Next::Tell(_)));
        }
        queue.push(line(&"x".repeat(100)));
        assert_eq!(queue.lock().lost.lines, 0);
    }

    #[test]
    fn a_writer_far_behind_still_tells() {
        let queue = Queue::new(4 * TELL_EVERY, usize::MAX);
        for _ in 0..=4 * TELL_EVERY {
            queue.push(line("x"));
        }
        let all = 0..4 * TELL_EVERY;
        let before = all.take_while(|_| matches!(queue.next(), Next::Write(_))).count();
        assert_eq!(before, TELL_EVERY);
    }

    #[test]
    fn close_waits_for_the_writer_and_takes_nothing_more() {
        let queue = Queue::new(10, usize::MAX);
        queue.push(line("a"));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut written = 0;
                while let Next::Write(_) | Next::Tell(_) = queue.next() {
                    written += 1;
                }
                queue.finish();
                written
            });
            assert!(queue.close(Duration::from_secs(60)));
            queue.push(line("late"));
            assert_eq!(writer.join().unwrap(), 1);
        });
        assert_eq!(queue.lock().lost.lines, 1);
    }

    #[test]
    fn close_gives_up_on_a_writer_that_is_stuck() {
        assert!(!Queue::new(1, 1).close(Duration::ZERO));
    }
}
