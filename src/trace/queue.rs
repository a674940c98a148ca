//! The bounded queue between whatever is seen and the one thread that writes it.
//!
//! Its lock is held to push one item or to take a few out, never while something is decoded or
//! written. Once messages do not fit, no more are taken in until the writer has caught up and
//! rested: what is shown is whole stretches, what is lost costs nobody anything, and the sessions
//! keep the processor.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{record::Record, seen::Seen};

/// Something to write.
pub(super) enum Item {
    /// A line of the daemon's own.
    Line(Box<Record>),
    /// A message that passed the proxy, or several of a kind.
    Message(Seen),
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) messages: u64,
    pub(super) lines: u64,
}

/// What the writer does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write the batch.
    Write,
    /// Say that this much was lost.
    Tell(Lost),
    /// Closed, and everything was written.
    End,
}

/// See the module.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// No message is taken in.
    overrun: AtomicBool,
    lost_messages: AtomicU64,
    max_items: usize,
    max_bytes: usize,
}

struct State {
    /// With what each weighs.
    items: VecDeque<(usize, Item)>,
    bytes: usize,
    lost_lines: u64,
    /// Items taken out since the last `Tell`.
    since_told: usize,
    writer: Writer,
    /// Since when it has had something to write.
    busy_since: Option<Instant>,
    /// After an overrun: until when only the daemon's own lines are written.
    rest_until: Option<Instant>,
    closed: bool,
    finished: bool,
}

/// What the writer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// It will look for more by itself.
    Busy,
    /// It waits for something to write.
    Asleep,
    /// It has something, and waits for more.
    Gathering,
}

/// A writer that is behind for long still tells of lines that were lost, once per so many items.
const TELL_EVERY: usize = 16 * 1024;
/// Taken out at once.
const BATCH: usize = 512;
/// How long items wait until there are enough for a batch. They rarely come alone, and to wake the
/// writer for each, and write it by itself, would cost more than to pass a message on.
const GATHER: Duration = Duration::from_millis(20);
/// After an overrun the writer rests so many times as long as it worked, at most so long.
const REST: u32 = 4;
const LONGEST_REST: Duration = Duration::from_secs(1);
/// The daemon's own lines have so many times the room of messages, which cannot crowd them out.
const ROOM_OF_LINES: usize = 2;
/// Room for so many items is kept while there are none.
const KEPT_ROOM: usize = 256;

impl Queue {
    /// A queue that holds at most so many messages, and so many bytes of them.
    pub(super) fn new(max_items: usize, max_bytes: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            lost_lines: 0,
            since_told: 0,
            writer: Writer::Busy,
            busy_since: None,
            rest_until: None,
            closed: false,
            finished: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            overrun: AtomicBool::new(false),
            lost_messages: AtomicU64::new(0),
            max_items,
            max_bytes,
        }
    }

    /// Whether a message would be lost: nothing need be made ready to show it.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun.load(Ordering::Relaxed)
    }

    /// Counts messages that are not shown. They are told once the writer has rested, or at once.
    pub(super) fn lose(&self, messages: u64) {
        self.lost_messages.fetch_add(messages, Ordering::Relaxed);
        if !self.is_overrun() {
            let state = self.lock();
            if state.writer == Writer::Asleep {
                self.wake(state);
            }
        }
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        state.writer = Writer::Busy;
        drop(state);
        self.changed.notify_all();
    }

    /// Queues the items, or drops and counts those for which there is no room, and all when it is closed.
    pub(super) fn push(&self, items: impl IntoIterator<Item = Item>) {
        let (mut queued, mut lost) = (false, 0);
        let mut state = self.lock();
        for item in items {
            let (messages, weight) = (item.messages(), item.weight());
            let room = if messages > 0 { 1 } else { ROOM_OF_LINES };
            let fits = state.items.len() < self.max_items.saturating_mul(room)
                && state.bytes.saturating_add(weight) <= self.max_bytes.saturating_mul(room)
                && (messages == 0 || !self.is_overrun());
            if fits && !state.closed {
                state.bytes += weight;
                state.items.push_back((weight, item));
                queued = true;
            } else if messages > 0 {
                self.overrun.store(!state.closed, Ordering::Relaxed);
                lost += messages;
            } else {
                state.lost_lines += 1;
            }
        }
        let wake = match state.writer {
            Writer::Busy => false,
            Writer::Asleep => queued,
            Writer::Gathering => self.is_enough(&state),
        };
        if wake {
            self.wake(state);
        } else {
            drop(state);
        }
        if lost > 0 {
            self.lose(lost);
        }
    }

    /// Waits for the next thing to do; what is to be written is put in `batch`.
    pub(super) fn next(&self, batch: &mut Vec<Item>) -> Next {
        let mut state = self.lock();
        loop {
            let written = state.items.is_empty();
            // Not at once: what is queued came before what was lost.
            let caught_up =
                written && (state.closed || (state.rest_until.is_none() && !self.is_overrun()));
            if caught_up || state.since_told >= TELL_EVERY {
                state.since_told = 0;
                let of_messages = caught_up.then(|| self.lost_messages.swap(0, Ordering::Relaxed));
                let messages = of_messages.unwrap_or_default();
                let lost = Lost { messages, lines: mem::take(&mut state.lost_lines) };
                if lost != Lost::default() {
                    return Next::Tell(lost);
                }
            }
            if !written {
                self.gather(state).take(batch);
                return Next::Write;
            }
            if state.closed {
                return Next::End;
            }
            state = self.wait(state);
        }
    }

    /// Waits until there may be something to do. Nothing is queued now.
    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let now = Instant::now();
        if self.is_overrun() && state.rest_until.is_none() {
            let worked = state.busy_since.map_or(Duration::ZERO, |since| now - since);
            state.rest_until = Some(now + (worked * REST).min(LONGEST_REST));
        }
        state.writer = Writer::Asleep;
        state.busy_since = None;
        state.items.shrink_to(KEPT_ROOM);
        if let Some(until) = state.rest_until {
            let left = until.saturating_duration_since(now);
            let (mut state, waited) =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                state.rest_until = None;
                self.overrun.store(false, Ordering::Relaxed);
            }
            return state;
        }
        let asleep = |state: &mut State| state.writer == Writer::Asleep && !state.closed;
        self.changed.wait_while(state, asleep).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is enough to be written, for a short time.
    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if self.is_enough(&state) {
            return state;
        }
        state.writer = Writer::Gathering;
        let few = |state: &mut State| state.writer == Writer::Gathering && !state.closed;
        let gathered = self.changed.wait_timeout_while(state, GATHER, few);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        state.writer = Writer::Busy;
        state
    }

    fn is_enough(&self, state: &State) -> bool {
        state.items.len() >= BATCH.min(self.max_items / 2) || state.bytes >= self.max_bytes / 2
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

impl State {
    /// Moves the next few items to `batch`.
    fn take(&mut self, batch: &mut Vec<Item>) {
        self.busy_since.get_or_insert_with(Instant::now);
        let count = self.items.len().min(BATCH);
        for (weight, item) in self.items.drain(..count) {
            self.bytes = self.bytes.saturating_sub(weight);
            batch.push(item);
        }
        self.since_told += count;
    }
}

impl Item {
    /// How many messages it stands for.
    fn messages(&self) -> u64 {
        match self {
            Self::Line(_) => 0,
            Self::Message(seen) => seen.count,
        }
    }

    /// Bytes it holds, roughly.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Line(record) => record.weight(),
            Self::Message(seen) => seen.weight(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{iter, sync::mpsc, thread};

    use tracing::Level;

    use super::{super::seen::message, *};

    fn line(text: &str) -> Item {
        Item::Line(Box::new(Record::new(Level::INFO, text.to_owned())))
    }

    fn messages(count: u64) -> Item {
        Item::Message(Seen { count, ..message() })
    }

    /// What the writer does until the queue is closed and empty, or at most `steps` times.
    fn written(queue: &Queue, steps: usize) -> Vec<String> {
        let mut batch = Vec::new();
        let next = || {
            Some(match queue.next(&mut batch) {
                Next::Write => batch
                    .drain(..)
                    .map(|item| match item {
                        Item::Line(record) => record.message,
                        Item::Message(seen) => format!("{} messages", seen.count),
                    })
                    .collect(),
                Next::Tell(lost) => vec![format!("lost {} and {}", lost.messages, lost.lines)],
                Next::End => return None,
            })
        };
        iter::from_fn(next).take(steps).flatten().collect()
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_after_what_came_before_it() {
        let queue = Queue::new(2, usize::MAX);
        for item in [messages(1), messages(10), messages(100), line("a"), line("b"), line("c")] {
            queue.push([item]);
        }
        assert!(queue.is_overrun());
        queue.lose(1000);
        queue.lock().closed = true;
        let all = ["1 messages", "10 messages", "a", "b", "lost 1100 and 1"];
        assert_eq!(written(&queue, 9), all);
    }

    #[test]
    fn what_is_known_late_to_be_lost_is_told_at_once() {
        let queue = Queue::new(2, usize::MAX);
        let (sender, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| sender.send(written(&queue, 1)).unwrap());
            while queue.lock().writer != Writer::Asleep {
                thread::yield_now();
            }
            queue.lose(5);
            let told = told.recv_timeout(Duration::from_secs(60));
            queue.close(Duration::ZERO);
            assert_eq!(told.unwrap(), ["lost 5 and 0"]);
        });
    }

    #[test]
    fn bytes_are_a_bound_too_and_are_given_back() {
        let queue = Queue::new(usize::MAX, 3 * messages(1).weight());
        (0..4).for_each(|_| queue.push([messages(1)]));
        assert!(queue.is_overrun());
        // What was lost is told once the writer has rested.
        assert_eq!(written(&queue, 2).len(), 4);
        queue.push([messages(1)]);
        assert!(!queue.is_overrun());
        queue.lock().closed = true;
        assert_eq!(written(&queue, 9), ["1 messages"]);
    }

    #[test]
    fn while_the_writer_rests_it_writes_nothing_but_the_daemons_own_lines() {
        let queue = Queue::new(1, usize::MAX);
        (0..3).for_each(|_| queue.push([messages(1)]));
        assert_eq!(written(&queue, 1), ["1 messages"]);
        queue.lock().rest_until = Some(Instant::now() + Duration::from_secs(3600));
        queue.push([messages(10)]);
        queue.push([line("a line")]);
        assert_eq!(written(&queue, 1), ["a line"]);
        queue.lock().rest_until = Some(Instant::now());
        assert_eq!(written(&queue, 1), ["lost 12 and 0"]);
        queue.push([messages(1)]);
        assert_eq!(written(&queue, 1), ["1 messages"]);
    }

    #[test]
    fn a_writer_far_behind_still_tells() {
        let queue = Queue::new(TELL_EVERY, usize::MAX);
        (0..=2 * TELL_EVERY).for_each(|_| queue.push([line("x")]));
        // What was lost of messages is told where they are missing.
        queue.push([messages(1)]);
        let all = written(&queue, TELL_EVERY / BATCH + 1);
        assert_eq!(all.len(), TELL_EVERY + 1);
        assert_eq!(all.last().unwrap(), "lost 0 and 1");
    }

    #[test]
    fn close_waits_for_the_writer_and_takes_nothing_more() {
        let queue = Queue::new(10, usize::MAX);
        queue.push([line("a")]);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let all = written(&queue, usize::MAX);
                queue.finish();
                all
            });
            assert!(queue.close(Duration::from_secs(60)));
            queue.push([line("late")]);
            assert_eq!(writer.join().unwrap(), ["a"]);
        });
        assert_eq!(queue.lock().lost_lines, 1);
    }

    #[test]
    fn close_gives_up_on_a_writer_that_is_stuck() {
        assert!(!Queue::new(1, 1).close(Duration::ZERO));
    }
}
