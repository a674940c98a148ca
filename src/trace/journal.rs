//! The journal. The daemon's own lines go there by `tracing-journald`; messages, which may be many,
//! straight in its native protocol.

use std::{fmt::Display, io, os::unix::net::UnixDatagram, path::PathBuf};

use smol_str::format_smolstr;
use tracing::{Dispatch, Level, dispatcher, level_filters::LevelFilter};
use tracing_subscriber::{
    Registry,
    filter::filter_fn,
    layer::{Layer, SubscriberExt},
    registry,
};

use super::{
    escape,
    record::{Fields, Key, Record},
    render::{self, render},
    seen::Seen,
    sink::Sink,
    tap::TEXT,
};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
const IDENTIFIER: &str = "imap-proxy";
/// Only [`Journal`] uses it: the layer there hears nothing else.
const TARGET: &str = "imap_proxy";

/// The journal. `imap.service` of a log line becomes `IMAP_SERVICE`.
pub(super) struct Journal {
    lines: Dispatch,
    messages: Messages,
}

impl Journal {
    pub(super) fn connect() -> io::Result<Self> {
        let layer = tracing_journald::layer()?
            .with_field_prefix(None)
            .with_syslog_identifier(IDENTIFIER.to_owned());
        Ok(Self { lines: through(layer), messages: Messages::to(SOCKET.into())? })
    }
}

fn through(layer: impl Layer<Registry> + Send + Sync) -> Dispatch {
    // Or else this dispatcher would switch on every trace of every crate.
    let ours = filter_fn(|meta| meta.target() == TARGET).with_max_level_hint(LevelFilter::DEBUG);
    Dispatch::new(registry().with(layer).with(ours))
}

impl Sink for Journal {
    fn write(&mut self, record: &Record) {
        write(&self.lines, record);
    }

    fn show(&mut self, seen: &Seen) {
        self.messages.send(seen);
    }

    fn flush(&mut self) {}
}

fn write(lines: &Dispatch, record: &Record) {
    let message = escape::clean(&record.message);
    dispatcher::with_default(lines, || match record.level {
        Level::ERROR => emit_error(&message, &record.fields),
        Level::WARN => emit_warn(&message, &record.fields),
        Level::INFO => emit_info(&message, &record.fields),
        _ => emit_debug(&message, &record.fields),
    });
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
                imap.client = fields.get(Key::Client),
                imap.client_subject = fields.get(Key::ClientSubject),
                imap.server = fields.get(Key::Server),
                imap.user = fields.get(Key::User),
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

/// Sends messages as datagrams (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>). None is ever too large for one:
/// what is shown of a message is bounded.
struct Messages {
    socket: UnixDatagram,
    to: PathBuf,
    /// Of the last one: for their room.
    datagram: Vec<u8>,
    text: String,
}

impl Messages {
    fn to(to: PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        Ok(Self { socket, to, datagram: Vec::new(), text: String::new() })
    }

    fn send(&mut self, seen: &Seen) {
        self.text.clear();
        // Of one large message not all its room.
        self.text.shrink_to(2 * TEXT);
        let is_undecoded = render(&mut self.text, seen);
        let (context, shown) = (&*seen.context, &seen.shown);
        let (from, to) = (render::party(seen.from), render::party(seen.to));
        let name_of_name =
            if render::is_of_client(seen.kind) { "IMAP_COMMAND" } else { "IMAP_RESPONSE" };

        let mut entry = Entry::begin(&mut self.datagram);
        entry.set("MESSAGE", &self.text);
        entry.set("IMAP_SERVICE", &context.service);
        entry.print("IMAP_SESSION", context.session);
        entry.count("IMAP_SEQ", seen.seq);
        entry.print("IMAP_CLIENT", context.client);
        entry.set_some("IMAP_CLIENT_SUBJECT", context.client_subject.as_deref());
        entry.set("IMAP_SERVER", &context.server);
        entry.set_some("IMAP_USER", seen.user.as_deref());
        entry.set_all("IMAP_DIRECTION", &[from, "-to-", to]);
        entry.set_some("IMAP_TAG", shown.tag.as_deref());
        entry.set_some(name_of_name, shown.name.as_deref());
        entry.count("IMAP_SIZE", seen.size);
        if seen.count > 1 {
            entry.count("IMAP_COUNT", seen.count);
        }
        entry.set_some("IMAP_UNDECODED", is_undecoded.then_some("1"));
        // A socket that is connected spares the way through the file system, but does not outlive
        // the one it is connected to. As with the log lines there is nobody to tell of an error.
        let _ = self.socket.send(&self.datagram).or_else(|_| {
            self.socket.connect(&self.to)?;
            self.socket.send(&self.datagram)
        });
    }
}

/// An entry of the journal at the level of debugging, as `tracing-journald` has it.
struct Entry<'a>(&'a mut Vec<u8>);

impl<'a> Entry<'a> {
    fn begin(datagram: &'a mut Vec<u8>) -> Self {
        datagram.clear();
        let begin = ["PRIORITY=6\nSYSLOG_IDENTIFIER=", IDENTIFIER, "\nTARGET=", TARGET, "\n"];
        for part in begin {
            datagram.extend_from_slice(part.as_bytes());
        }
        Self(datagram)
    }

    /// In the form for values of any kind: name, LF, length, value, LF.
    fn set(&mut self, name: &str, value: &str) {
        self.set_all(name, &[value]);
    }

    /// A value in parts.
    fn set_all(&mut self, name: &str, value: &[&str]) {
        let length: usize = value.iter().map(|part| part.len()).sum();
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0.extend_from_slice(&(length as u64).to_le_bytes());
        for part in value {
            self.0.extend_from_slice(part.as_bytes());
        }
        self.0.push(b'\n');
    }

    fn set_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// A number.
    fn count(&mut self, name: &str, value: u64) {
        self.set(name, itoa::Buffer::new().format(value));
    }

    /// What is to be made a text of first.
    fn print(&mut self, name: &str, value: impl Display) {
        self.set(name, &format_smolstr!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use tracing::{
        Event, Subscriber,
        field::{Field, Visit},
    };
    use tracing_subscriber::layer::Context;

    use super::{
        super::{
            capture::ALL_LITERALS,
            seen::{Content, Shown, message},
        },
        *,
    };
    use crate::relay::Kind;

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
        let journal = through(heard.clone());
        let mut record = Record::new(Level::DEBUG, "hello\r\nERROR".to_owned());
        record.fields.set(Key::Service, format_args!("Insecure to \"TLS\""));
        record.fields.set(Key::Session, format_args!("abc-1"));
        record.fields.set(Key::ClientSubject, format_args!("CN=a\\,b"));
        record.fields.set(Key::User, format_args!("bob\n"));
        write(&journal, &record);
        write(&journal, &Record::new(Level::ERROR, "oh".to_owned()));
        assert_eq!(
            *heard.0.lock().unwrap(),
            [
                "level=DEBUG",
                "message=\"hello\\\\r\\\\nERROR\"",
                "imap.service=\"Insecure to \\\"TLS\\\"\"",
                "imap.session=\"abc-1\"",
                "imap.client_subject=\"CN=a\\\\,b\"",
                "imap.user=\"bob\\n\"",
                "level=ERROR",
                "message=\"oh\"",
            ]
        );
    }

    /// The fields of what arrives at a journal's socket when messages are sent.
    fn arriving(messages: &[Seen]) -> Vec<BTreeMap<String, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut sender = Messages::to(path).unwrap();
        let mut entries = Vec::new();
        for message in messages {
            sender.send(message);
            let mut buffer = vec![0; 1 << 20];
            let length = journal.recv(&mut buffer).unwrap();
            entries.push(fields(&buffer[..length]));
        }
        entries
    }

    /// Reads an entry as journald does.
    fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut fields = BTreeMap::new();
        while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = entry.split_at(end);
            let (name, value) = if let Some(at) = line.iter().position(|byte| *byte == b'=') {
                entry = &rest[1..];
                (&line[..at], &line[at + 1..])
            } else {
                let (length, rest) = rest[1..].split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap());
                let (value, rest) = rest.split_at(usize::try_from(length).unwrap());
                entry = rest.strip_prefix(b"\n").unwrap();
                (line, value)
            };
            assert!(fields.insert(text(name), text(value)).is_none(), "a field twice");
        }
        assert!(entry.is_empty());
        fields
    }

    #[test]
    fn every_field_of_a_message_has_its_value() {
        let content = Content::Whole { bytes: b"A1 OK\r\n".to_vec(), remark: None };
        let shown = Shown { tag: Some("A1".into()), name: Some("OK".into()), content };
        let response = Seen { shown, user: Some("b\no=b".into()), ..message() };
        let mut command = message();
        command.kind = Kind::Command { authenticated: true };
        command.shown.name = Some("NOOP".into());
        let run = Seen { count: 3, user: None, ..message() };
        let entries = arriving(&[response.clone(), command, run]);

        let session = response.context.session.to_string();
        let expected = [
            ("IMAP_CLIENT", "192.0.2.1:4711"),
            ("IMAP_CLIENT_SUBJECT", "CN=laptop"),
            ("IMAP_DIRECTION", "server-to-proxy"),
            ("IMAP_RESPONSE", "OK"),
            ("IMAP_SEQ", "3"),
            ("IMAP_SERVER", "imap.example.org:993"),
            ("IMAP_SERVICE", "Test"),
            ("IMAP_SESSION", &session),
            ("IMAP_SIZE", "42"),
            ("IMAP_TAG", "A1"),
            ("IMAP_UNDECODED", "1"),
            ("IMAP_USER", "b\no=b"),
            ("MESSAGE", "server→proxy undecoded: A1 OK\\r\\n"),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "imap-proxy"),
            ("TARGET", "imap_proxy"),
        ];
        let got: Vec<_> = entries[0].iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(got, expected);
        assert_eq!(entries[1]["IMAP_COMMAND"], "NOOP");
        assert!(!entries[1].contains_key("IMAP_RESPONSE"));
        assert_eq!(entries[2]["IMAP_COUNT"], "3");
        assert_eq!(entries[2]["MESSAGE"], "server→proxy * FETCH, 3 messages (42 bytes)");
        for absent in ["IMAP_USER", "IMAP_TAG", "IMAP_UNDECODED"] {
            assert!(!entries[2].contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn a_journal_that_listens_anew_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut sender = Messages::to(path.clone()).unwrap();
        for _ in 0..2 {
            let journal = UnixDatagram::bind(&path).unwrap();
            sender.send(&message());
            assert!(journal.recv(&mut [0; 4096]).unwrap() > 0);
            std::fs::remove_file(&path).unwrap();
        }
        // Lost, without harm.
        sender.send(&message());
    }

    #[test]
    fn the_largest_message_fits_into_a_datagram() {
        // Three bytes each, which are escaped as eight.
        let text = "\u{202e}".repeat(ALL_LITERALS / 3);
        let bytes = format!("* 1 FETCH (BODY[] {{{}}}\r\n{text})\r\n", text.len());
        let content = Content::Whole { bytes: bytes.into_bytes(), remark: None };
        let shown = Shown { tag: None, name: Some("FETCH".into()), content };
        let entries = arriving(&[Seen { bound: TEXT + ALL_LITERALS, shown, ..message() }]);
        assert!(
            entries[0]["MESSAGE"].len() > ALL_LITERALS
                && !entries[0].contains_key("IMAP_UNDECODED")
        );
    }
}
