//! What of one session is not shown, because there is no room for it.

use std::time::Instant;

use super::{queue::Queue, run::LONGEST};

/// So many are counted before the queue is told: to tell it of each would cost more than to pass the
/// message on, for all sessions would write to one place.
const AT_ONCE: u64 = 256;

/// Messages that are lost, and that the queue does not know of.
#[derive(Debug, Default)]
pub(super) struct Losses {
    count: u64,
    due: Option<Instant>,
}

impl Losses {
    /// So many more.
    #[inline]
    pub(super) fn add(&mut self, messages: u64, queue: &Queue) {
        self.count += messages;
        if self.count >= AT_ONCE {
            self.tell(queue);
        } else {
            self.due.get_or_insert_with(|| Instant::now() + LONGEST);
        }
    }

    /// When the queue has to be told: like a run, soon after the first of them.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells the queue.
    pub(super) fn tell(&mut self, queue: &Queue) {
        self.due = None;
        let count = std::mem::take(&mut self.count);
        if count > 0 {
            queue.lose(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::queue::{Lost, Next},
        *,
    };

    #[test]
    fn none_is_forgotten() {
        let queue = Queue::new(1, 1);
        let told = || match queue.next(&mut Vec::new()) {
            Next::Tell(Lost { messages, lines: 0 }) => messages,
            other => panic!("{other:?}"),
        };
        let mut losses = Losses::default();
        assert_eq!(losses.due(), None);
        (0..AT_ONCE).for_each(|_| losses.add(1, &queue));
        assert_eq!(told(), AT_ONCE);
        assert_eq!(losses.due(), None);
        losses.add(AT_ONCE - 1, &queue);
        assert!(losses.due().is_some_and(|due| due <= Instant::now() + LONGEST));
        losses.tell(&queue);
        losses.tell(&queue);
        assert_eq!(told(), AT_ONCE - 1);
        assert_eq!(losses.due(), None);
    }
}
