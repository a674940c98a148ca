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
    /// One more.
    #[inline]
    pub(super) fn add(&mut self, queue: &Queue) {
        self.count += 1;
        if self.count == 1 {
            self.due = Some(Instant::now() + LONGEST);
        } else if self.count == AT_ONCE {
            self.tell(queue);
        }
    }

    /// When the queue has to be told: like a run, soon after the first of them.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells the queue.
    pub(super) fn tell(&mut self, queue: &Queue) {
        if self.due.take().is_some() {
            queue.lose(std::mem::take(&mut self.count));
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
        (0..AT_ONCE).for_each(|_| losses.add(&queue));
        assert_eq!(told(), AT_ONCE);
        assert_eq!(losses.due(), None);
        (0..=AT_ONCE).for_each(|_| losses.add(&queue));
        assert!(losses.due().is_some_and(|due| due <= Instant::now() + LONGEST));
        losses.tell(&queue);
        losses.tell(&queue);
        assert_eq!(told(), AT_ONCE + 1);
        assert_eq!(losses.due(), None);
    }
}
