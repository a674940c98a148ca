//! The thread that writes everything that is seen.

use tracing::Level;

use super::{
    queue::{Item, Lost, Next, Queue},
    record::Record,
    sink::Sink,
};

/// Writes until the queue is closed and empty.
pub(super) fn run(queue: &Queue, sink: &mut dyn Sink) {
    let mut batch = Vec::new();
    loop {
        match queue.next(&mut batch) {
            Next::Write => {
                for item in &batch {
                    match item {
                        Item::Line(record) => sink.write(record),
                        Item::Message(seen) => sink.show(seen),
                    }
                }
                batch.clear();
            }
            Next::Tell(lost) => sink.write(&loss(lost)),
            Next::End => break,
        }
        sink.flush();
    }
    queue.finish();
}

fn loss(lost: Lost) -> Record {
    let message = format!(
        "{} messages and {} log lines were not shown: the journal (or stderr) did not keep up",
        lost.messages, lost.lines
    );
    Record::new(Level::WARN, message)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        thread,
        time::Duration,
    };

    use super::{super::seen::Seen, *};

    /// Stalls at each record until it is told to go on.
    struct Stalled {
        go_on: Receiver<()>,
        written: Sender<String>,
    }

    impl Sink for Stalled {
        fn write(&mut self, record: &Record) {
            self.written.send(record.message.clone()).unwrap();
            self.go_on.recv().unwrap();
        }

        fn show(&mut self, _: &Seen) {}

        fn flush(&mut self) {}
    }

    #[test]
    fn a_stalled_sink_holds_up_nobody_and_tells_what_was_lost() {
        let queue = Queue::new(2, usize::MAX);
        let (go_on, told_to) = channel();
        let (written, seen) = channel();
        let push = |n: u32| {
            let record = Record::new(Level::INFO, n.to_string());
            queue.push([Item::Line(Box::new(record))]);
        };
        let mut sink = Stalled { go_on: told_to, written };
        thread::scope(|scope| {
            scope.spawn(|| run(&queue, &mut sink));
            push(0);
            assert_eq!(seen.recv().unwrap(), "0");
            (1..8).for_each(push);
            (0..6).for_each(|_| go_on.send(()).unwrap());
            let rest: Vec<_> = seen.iter().take(5).collect();
            let lost = "0 messages and 3 log lines were not shown: the journal (or stderr) did not keep up";
            assert_eq!(rest, ["1", "2", "3", "4", lost]);
            assert!(queue.close(Duration::from_secs(60)));
        });
    }
}
