//! Where records go: the journal, or lines of text.

use std::{
    borrow::Cow,
    env, fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
};

use tracing::Level;

use super::{
    escape,
    journal::Journal,
    record::{Key, Record},
    render::render,
    seen::Seen,
    text::{Clock, add_number},
};

/// Writes what is seen. May take its time, must not fail: there is nobody left to tell.
pub(super) trait Sink: Send {
    /// A log line of the daemon's own.
    fn write(&mut self, record: &Record);
    /// A message, or several.
    fn show(&mut self, seen: &Seen);
    /// Nothing more is to come for now.
    fn flush(&mut self);
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
                let mut lines = Lines::to(io::stderr());
                lines.write(&Record::new(Level::WARN, message));
                return Box::new(lines);
            }
        }
    }
    Box::new(Lines::to(io::stderr()))
}

fn device_and_inode(journal_stream: &str) -> Option<(u64, u64)> {
    let (device, inode) = journal_stream.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// One line each.
pub(super) struct Lines<W> {
    out: W,
    /// Not yet written.
    waiting: String,
    clock: Clock,
}

/// Bytes of lines that are written at once, roughly.
const AT_ONCE: usize = 64 * 1024;

impl<W: Write> Lines<W> {
    pub(super) fn to(out: W) -> Self {
        Self { out, waiting: String::new(), clock: Clock::default() }
    }

    fn end_line(&mut self) {
        self.waiting.push('\n');
        if self.waiting.len() >= AT_ONCE {
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        // Whoever closed stderr does not want to know.
        let _ = self.out.write_all(self.waiting.as_bytes()).and_then(|()| self.out.flush());
        self.waiting.clear();
        // Of one large message not all its room.
        self.waiting.shrink_to(2 * AT_ONCE);
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn write(&mut self, record: &Record) {
        self.clock.add(&mut self.waiting, record.time);
        let message = escape::clean(&record.message);
        self.waiting.extend([" ", record.level.as_str(), " ", &message]);
        record.fields.iter().for_each(|(key, value)| append(&mut self.waiting, key, value));
        self.end_line();
    }

    fn show(&mut self, seen: &Seen) {
        let context = &*seen.context;
        self.clock.add(&mut self.waiting, seen.time);
        self.waiting.extend([" TRACE [", &escape::clean(&context.service), "] "]);
        context.session.add_to(&mut self.waiting);
        self.waiting.push_str(" #");
        add_number(&mut self.waiting, seen.seq);
        // Who it is, by certificate and by login.
        if let Some(subject) = &context.client_subject {
            append(&mut self.waiting, Key::ClientSubject, subject);
        }
        if let Some(user) = &seen.user {
            append(&mut self.waiting, Key::User, user);
        }
        self.waiting.push(' ');
        render(&mut self.waiting, seen);
        self.end_line();
    }

    fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.write_out();
        }
    }
}

fn append(line: &mut String, key: Key, value: &str) {
    let mut value = Cow::Borrowed(value);
    if value.bytes().any(|byte| matches!(byte, b'\\' | b'"')) {
        value = value.replace('\\', "\\\\").replace('"', "\\\"").into();
    }
    line.extend([" ", key.label(), "=\"", &escape::clean(&value), "\""]);
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{
        super::{SessionContext, record::Fields, seen::message},
        *,
    };

    fn lines(write: impl FnOnce(&mut Lines<Vec<u8>>)) -> String {
        let mut lines = Lines::to(Vec::new());
        write(&mut lines);
        lines.flush();
        String::from_utf8(lines.out).unwrap()
    }

    #[test]
    fn a_record_is_one_line() {
        let mut fields = Fields::default();
        fields.set(Key::Service, format_args!("Insecure to \"TLS\""));
        fields.set(Key::Session, format_args!("abc-1"));
        fields.set(Key::ClientSubject, format_args!("CN=a\\,b"));
        fields.set(Key::User, format_args!("bob\n"));
        let message = "hello\r\nERROR".to_owned();
        let record = Record { time: SystemTime::UNIX_EPOCH, level: Level::WARN, message, fields };
        assert_eq!(
            lines(|lines| lines.write(&record)),
            "1970-01-01T00:00:00.000Z WARN hello\\r\\nERROR service=\"Insecure to \\\"TLS\\\"\" \
             session=\"abc-1\" client_subject=\"CN=a\\\\,b\" user=\"bob\\n\"\n"
        );
    }

    #[test]
    fn a_message_is_one_line() {
        let seen = message();
        let context = SessionContext {
            service: "Insecure to \"TLS\"\n".into(),
            client_subject: Some("CN=a\\,b".into()),
            ..(*seen.context).clone()
        };
        let session = context.session;
        let seen = Seen { context: context.into(), user: Some("bob\n".into()), ..seen };
        assert_eq!(
            lines(|lines| lines.show(&seen)),
            format!(
                "1970-01-01T00:00:00.000Z TRACE [Insecure to \"TLS\"\\n] {session} #3 \
                 client_subject=\"CN=a\\\\,b\" user=\"bob\\n\" server→proxy * FETCH (42 bytes)\n"
            )
        );
    }

    #[test]
    fn many_lines_are_written_before_the_end() {
        let mut lines = Lines::to(Vec::new());
        (0..2000).for_each(|_| lines.show(&message()));
        assert!(lines.out.len() >= AT_ONCE && lines.waiting.len() < AT_ONCE);
        lines.flush();
        assert_eq!(String::from_utf8(lines.out).unwrap().lines().count(), 2000);
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        assert_eq!(device_and_inode("8:1234"), Some((8, 1234)));
        assert_eq!(device_and_inode("8"), None);
        assert_eq!(device_and_inode("8:x"), None);
    }
}
