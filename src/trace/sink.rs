//! Where records go: the journal, or lines of text.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
};

use tracing::{Dispatch, Level, dispatcher, level_filters::LevelFilter};
use tracing_subscriber::{
    Registry,
    filter::filter_fn,
    layer::{Layer, SubscriberExt},
    registry,
};

use super::{
    escape,
    record::{Fields, Key, Of, Record},
};

/// Writes records. May take its time, must not fail: there is nobody left to tell.
pub(super) trait Sink: Send {
    fn write(&mut self, record: &Record);
}

/// The journal when stderr is connected to it, else stderr.
pub(super) fn of_the_process() -> Box<dyn Sink> {
    let stream = env::var("JOURNAL_STREAM").ok();
    // `2` there is a link to whatever stderr is; systemd.exec(5) says to compare device and inode.
    let stderr = fs::metadata("/proc/self/fd/2").ok().map(|meta| (meta.dev(), meta.ino()));
    if stderr.is_some() && stderr == stream.as_deref().and_then(device_and_inode) {
        match Journal::connect() {
            Ok(journal) => return Box::new(journal),
            Err(error) => {
                let message = format!("writing to stderr: the journal's socket fails: {error}");
                let mut lines = Lines(io::stderr());
                lines.write(&Record::daemon(Level::WARN, message));
                return Box::new(lines);
            }
        }
    }
    Box::new(Lines(io::stderr()))
}

fn device_and_inode(journal_stream: &str) -> Option<(u64, u64)> {
    let (device, inode) = journal_stream.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// One line per record.
pub(super) struct Lines<W>(pub(super) W);

impl<W: Write + Send> Sink for Lines<W> {
    fn write(&mut self, record: &Record) {
        // One write per line; whoever closed stderr does not want to know.
        let _ = self.0.write_all(line(record).as_bytes()).and_then(|()| self.0.flush());
    }
}

fn line(record: &Record) -> String {
    let time = humantime::format_rfc3339_millis(record.time);
    let message = escape::clean(&record.message);
    let mut line = match record.of {
        Of::Daemon(level) => format!("{time} {level} {message}"),
        Of::Message => {
            let get = |key| escape::clean(record.fields.get(key).unwrap_or("-"));
            let (service, session) = (get(Key::Service), get(Key::Session));
            // Who it is, by certificate and by login.
            let mut who = String::new();
            for key in [Key::ClientSubject, Key::User] {
                if let Some(value) = record.fields.get(key) {
                    append(&mut who, key, value);
                }
            }
            format!("{time} TRACE [{service}] {session} #{}{who} {message}", get(Key::Seq))
        }
    };
    if record.of != Of::Message {
        record.fields.iter().for_each(|(key, value)| append(&mut line, key, value));
    }
    line.push('\n');
    line
}

fn append(line: &mut String, key: Key, value: &str) {
    // Writing to a String does not fail.
    let _ = write!(line, " {}={}", key.label(), quoted(value));
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", escape::clean(&value.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// The journal, with a field for each key: `imap.service` becomes `IMAP_SERVICE`.
pub(super) struct Journal(Dispatch);

/// Only [`Journal`] uses it: the layer there hears nothing else.
const TARGET: &str = "imap_proxy";

impl Journal {
    fn connect() -> io::Result<Self> {
        let layer = tracing_journald::layer()?
            .with_field_prefix(None)
            .with_syslog_identifier("imap-proxy".to_owned());
        Ok(Self::through(layer))
    }

    fn through(layer: impl Layer<Registry> + Send + Sync) -> Self {
        // Or else this dispatcher would switch on every trace of every crate.
        let ours =
            filter_fn(|meta| meta.target() == TARGET).with_max_level_hint(LevelFilter::DEBUG);
        Self(Dispatch::new(registry().with(layer).with(ours)))
    }
}

impl Sink for Journal {
    fn write(&mut self, record: &Record) {
        let message = escape::clean(&record.message);
        dispatcher::with_default(&self.0, || match record.of {
            Of::Daemon(Level::ERROR) => emit_error(&message, &record.fields),
            Of::Daemon(Level::WARN) => emit_warn(&message, &record.fields),
            Of::Daemon(Level::INFO) => emit_info(&message, &record.fields),
            Of::Daemon(_) | Of::Message => emit_debug(&message, &record.fields),
        });
    }
}

/// Level and names of an event's fields are fixed where it is written: one function per level.
macro_rules! emit {
    ($($name:ident: $level:ident,)*) => { $(
        fn $name(message: &str, fields: &Fields) {
            tracing::event!(
                target: TARGET,
                Level::$level,
                message = message,
                imap.service = fields.get(Key::Service),
                imap.session = fields.get(Key::Session),
                imap.seq = fields.get(Key::Seq),
                imap.client = fields.get(Key::Client),
                imap.client_subject = fields.get(Key::ClientSubject),
                imap.server = fields.get(Key::Server),
                imap.user = fields.get(Key::User),
                imap.direction = fields.get(Key::Direction),
                imap.tag = fields.get(Key::Tag),
                imap.command = fields.get(Key::Command),
                imap.response = fields.get(Key::Response),
                imap.size = fields.get(Key::Size),
                imap.count = fields.get(Key::Count),
                imap.undecoded = fields.get(Key::Undecoded),
                imap.fault = fields.get(Key::Fault),
                imap.error = fields.get(Key::Error),
            );
        }
    )* };
}

emit! {
    emit_error: ERROR,
    emit_warn: WARN,
    emit_info: INFO,
    emit_debug: DEBUG,
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::SystemTime,
    };

    use tracing::{
        Event, Subscriber,
        field::{Field, Visit},
    };
    use tracing_subscriber::layer::Context;

    use super::*;

    fn record(of: Of) -> Record {
        let mut fields = Fields::default();
        fields.set(Key::Service, "Insecure to \"TLS\"");
        fields.set(Key::Session, "abc-1");
        fields.set(Key::Seq, "7");
        fields.set(Key::ClientSubject, "CN=a\\,b");
        fields.set(Key::User, "bob\n");
        Record { time: SystemTime::UNIX_EPOCH, of, message: "hello\r\nERROR".to_owned(), fields }
    }

    #[test]
    fn a_record_is_one_line() {
        assert_eq!(
            line(&record(Of::Daemon(Level::WARN))),
            "1970-01-01T00:00:00.000Z WARN hello\\r\\nERROR service=\"Insecure to \\\"TLS\\\"\" \
             session=\"abc-1\" seq=\"7\" client_subject=\"CN=a\\\\,b\" user=\"bob\\n\"\n"
        );
        assert_eq!(
            line(&record(Of::Message)),
            "1970-01-01T00:00:00.000Z TRACE [Insecure to \"TLS\"] abc-1 #7 \
             client_subject=\"CN=a\\\\,b\" user=\"bob\\n\" hello\\r\\nERROR\n"
        );
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        assert_eq!(device_and_inode("8:1234"), Some((8, 1234)));
        assert_eq!(device_and_inode("8"), None);
        assert_eq!(device_and_inode("8:x"), None);
    }

    /// Stands in for the journal's layer.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(format!("level={}", event.metadata().level()));
            event.record(&mut self.clone());
        }
    }

    impl Visit for Heard {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.lock().unwrap().push(format!("{}={value:?}", field.name()));
        }
    }

    #[test]
    fn the_journal_gets_fields_by_name_and_only_those_that_are_known() {
        let heard = Heard::default();
        let mut journal = Journal::through(heard.clone());
        journal.write(&record(Of::Message));
        journal.write(&Record::daemon(Level::ERROR, "oh".to_owned()));
        assert_eq!(
            *heard.0.lock().unwrap(),
            [
                "level=DEBUG",
                "message=\"hello\\\\r\\\\nERROR\"",
                "imap.service=\"Insecure to \\\"TLS\\\"\"",
                "imap.session=\"abc-1\"",
                "imap.seq=\"7\"",
                "imap.client_subject=\"CN=a\\\\,b\"",
                "imap.user=\"bob\\n\"",
                "level=ERROR",
                "message=\"oh\"",
            ]
        );
    }
}
