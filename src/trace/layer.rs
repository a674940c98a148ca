//! Takes the daemon's own events to the queue.

use std::{
    fmt::{Arguments, Debug, Write},
    sync::Arc,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::{
    batch, escape,
    queue::{Item, Queue},
    record::{Key, MAX_TEXT, Record},
};

/// Room that most messages have enough with.
const USUAL_MESSAGE: usize = 128;

/// Queues every event as an owned record.
pub(super) struct Capturing(pub(super) Arc<Queue>);

impl<S: Subscriber> Layer<S> for Capturing {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut record =
            Record::new(*event.metadata().level(), String::with_capacity(USUAL_MESSAGE));
        let mut visitor = Visitor { record: &mut record, others: String::new() };
        event.record(&mut visitor);
        let others = visitor.others;
        record.message.push_str(&others);
        batch::push(&self.0, Item::Line(Box::new(record)));
    }
}

struct Visitor<'a> {
    record: &'a mut Record,
    /// Fields that the journal does not know, as ` key=value`.
    others: String,
}

impl Visitor<'_> {
    fn take(&mut self, field: &Field, value: Arguments<'_>) {
        match (field.name(), Key::of_event(field.name())) {
            ("message", _) => escape::add_bounded(&mut self.record.message, MAX_TEXT, value),
            (_, Some(key)) => self.record.fields.set(key, value),
            (name, None) => {
                // Writing to a String does not fail.
                let _ = write!(self.others, " {name}=");
                escape::add_bounded(&mut self.others, MAX_TEXT, value);
            }
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing::{info, subscriber};
    use tracing_subscriber::{layer::SubscriberExt, registry};

    use super::{super::queue::Next, *};

    #[test]
    fn events_become_records_with_the_fields_of_the_journal() {
        let queue = Arc::new(Queue::new(10, usize::MAX));
        subscriber::with_default(registry().with(Capturing(Arc::clone(&queue))), || {
            info!(imap.service = %"Test", bytes = 5, fault = "client", error = %"no", "it {}", 1);
        });
        let mut batch = Vec::new();
        assert_eq!(queue.next(&mut batch), Next::Write);
        let Some(Item::Line(record)) = batch.pop() else { panic!("no record") };
        assert_eq!(record.message, "it 1 bytes=5");
        let fields: Vec<_> = record.fields.iter().collect();
        assert_eq!(fields, [(Key::Service, "Test"), (Key::Fault, "client"), (Key::Error, "no")]);
        assert_eq!(record.level, tracing::Level::INFO);
    }
}
