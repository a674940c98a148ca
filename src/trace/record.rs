//! A log line of the daemon's own, and the fields that the journal knows.

use std::{fmt, time::SystemTime};

use tracing::Level;

use super::escape;

/// Of a field, or of the line, in bytes: enough for any that is well meant.
pub(super) const MAX_TEXT: usize = 8 * 1024;

/// A log line of the daemon's own.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) time: SystemTime,
    pub(super) level: Level,
    pub(super) message: String,
    pub(super) fields: Fields,
}

impl Record {
    pub(super) fn new(level: Level, message: String) -> Self {
        Self { time: SystemTime::now(), level, message, fields: Fields::default() }
    }

    /// Bytes it holds on the heap, roughly.
    pub(super) fn weight(&self) -> usize {
        let fields = &self.fields;
        let ends = fields.ends.len() * size_of::<(Key, usize)>();
        size_of::<Self>() + self.message.len() + fields.values.len() + ends
    }
}

/// Room that most records need for the values of their fields, and how many these are.
const USUAL_VALUES: usize = 192;
const USUAL_FIELDS: usize = 8;

/// The fields of log lines that the journal knows. `IMAP_SERVICE` there is `imap.service` in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Service,
    Session,
    Client,
    ClientSubject,
    Server,
    User,
    Fault,
    Error,
}

impl Key {
    /// The key that a field of a `tracing` event stands for: `imap.NAME`, `fault` or `error`.
    pub(super) fn of_event(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("imap.").unwrap_or(name) {
            "fault" => Self::Fault,
            "error" => Self::Error,
            _ if !name.starts_with("imap.") => return None,
            "service" => Self::Service,
            "session" => Self::Session,
            "client" => Self::Client,
            "client_subject" => Self::ClientSubject,
            "server" => Self::Server,
            "user" => Self::User,
            _ => return None,
        })
    }

    /// The name in a line on stderr.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Session => "session",
            Self::Client => "client",
            Self::ClientSubject => "client_subject",
            Self::Server => "server",
            Self::User => "user",
            Self::Fault => "fault",
            Self::Error => "error",
        }
    }
}

/// The fields of a record, in the order they came. Two pieces of memory for all of them: another thread
/// gives back what a session took.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// All values, one after another.
    values: String,
    /// Where each ends.
    ends: Vec<(Key, usize)>,
}

impl Fields {
    /// Adds a field, cut where it is too long; the first of a key counts.
    pub(super) fn set(&mut self, key: Key, value: fmt::Arguments<'_>) {
        if self.ends.is_empty() {
            self.values.reserve(USUAL_VALUES);
            self.ends.reserve(USUAL_FIELDS);
        }
        escape::add_bounded(&mut self.values, MAX_TEXT, value);
        self.ends.push((key, self.values.len()));
    }

    /// The value of a key, when it is known.
    pub(super) fn get(&self, key: Key) -> Option<&str> {
        self.iter().find_map(|(k, value)| (k == key).then_some(value))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &str)> {
        let mut begin = 0;
        self.ends.iter().map(move |&(key, end)| {
            let value = self.values.get(begin..end).unwrap_or_default();
            begin = end;
            (key, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_lines_use_the_same_names() {
        for key in
            [Key::Service, Key::Session, Key::Client, Key::ClientSubject, Key::User, Key::Fault]
        {
            assert_eq!(Key::of_event(&format!("imap.{}", key.label())), Some(key));
        }
        assert_eq!(Key::of_event("fault"), Some(Key::Fault));
        assert_eq!(Key::of_event("error"), Some(Key::Error));
        assert_eq!(Key::of_event("service"), None);
        assert_eq!(Key::of_event("imap.colour"), None);
    }
}
