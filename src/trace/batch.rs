//! What a thread of sessions saw since it slept, queued together before it sleeps again: the queue's lock,
//! for which all threads compete, would cost more for each message than most messages do.

use std::{cell::RefCell, sync::Arc};

use super::queue::{Item, Queue};

/// Queued at once: so many, or so many bytes of them.
const ITEMS: usize = 64;
const BYTES: usize = 64 * 1024;
/// Turns of sessions that it waits for the thread to sleep: one that is busy with transfers does not.
const TURNS: u32 = 16;

thread_local! {
    /// `None` on a thread that queues each by itself.
    static BATCH: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    bytes: usize,
    turns: u32,
    /// Where they go.
    queue: Option<Arc<Queue>>,
}

/// From now on what this thread has to show waits for [`hand_over`], which is to be called soon.
pub fn gather() {
    BATCH.set(Some(Batch::default()));
}

/// Queues what waits on this thread.
pub fn hand_over() {
    BATCH.with_borrow_mut(|batch| batch.iter_mut().for_each(Batch::hand_over));
}

/// A session on this thread has its turn: queues what waited for many of them.
pub fn note_turn() {
    BATCH.with_borrow_mut(|batch| batch.iter_mut().for_each(Batch::note_turn));
}

/// Queues the item, now or soon.
pub(super) fn push(queue: &Arc<Queue>, item: Item) {
    BATCH.with_borrow_mut(|batch| match batch {
        Some(batch) => batch.push(queue, item),
        None => queue.push([item]),
    });
}

impl Batch {
    fn push(&mut self, queue: &Arc<Queue>, item: Item) {
        if !self.queue.as_ref().is_some_and(|other| Arc::ptr_eq(other, queue)) {
            self.hand_over();
            self.queue = Some(Arc::clone(queue));
        }
        self.bytes = self.bytes.saturating_add(item.weight());
        self.items.push(item);
        if self.items.len() >= ITEMS || self.bytes >= BYTES {
            self.hand_over();
        }
    }

    fn note_turn(&mut self) {
        if !self.items.is_empty() {
            self.turns += 1;
            if self.turns >= TURNS {
                self.hand_over();
            }
        }
    }

    fn hand_over(&mut self) {
        if let Some(queue) = self.queue.as_ref().filter(|_| !self.items.is_empty()) {
            queue.push(self.items.drain(..));
            (self.bytes, self.turns) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{
        super::{
            queue::Next,
            seen::{Seen, message},
        },
        *,
    };

    fn number(seq: u64) -> Item {
        Item::Message(Seen { seq, ..message() })
    }

    /// The numbers of what is queued.
    fn queued(queue: &Queue) -> Vec<u64> {
        // Ends a wait for more, too.
        queue.push([number(0)]);
        let mut batch = Vec::new();
        assert_eq!(queue.next(&mut batch), Next::Write);
        let number = |item: &Item| match item {
            Item::Message(seen) => seen.seq,
            Item::Line(_) => unreachable!("no line was pushed"),
        };
        batch.iter().map(number).filter(|seq| *seq > 0).collect()
    }

    #[test]
    fn a_thread_that_gathers_hands_over_in_order() {
        let queue = || Arc::new(Queue::new(1000, usize::MAX));
        let (one, other) = (queue(), queue());
        let (a, b) = (Arc::clone(&one), Arc::clone(&other));
        push(&one, number(1));
        assert_eq!(queued(&one), [1]);
        thread::spawn(move || {
            gather();
            (1..=3).for_each(|seq| push(&a, number(seq)));
            assert!(queued(&a).is_empty());
            hand_over();
            assert_eq!(queued(&a), [1, 2, 3]);
            hand_over();
            // Those of another queue go first.
            push(&a, number(4));
            push(&b, number(5));
            assert_eq!((queued(&a), queued(&b)), (vec![4], vec![]));
            // Many do not wait.
            (6..5 + ITEMS as u64).for_each(|seq| push(&b, number(seq)));
            assert_eq!(queued(&b).len(), ITEMS);
            // Nor does one for many turns.
            (0..TURNS).for_each(|_| note_turn());
            push(&b, number(1));
            (1..TURNS).for_each(|_| note_turn());
            assert!(queued(&b).is_empty());
            note_turn();
            assert_eq!(queued(&b), [1]);
        })
        .join()
        .unwrap();
    }
}
