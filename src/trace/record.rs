//! A log line of the daemon's own, and the fields that the journal knows.

use std::time::SystemTime;

use tracing::Level;

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
        let fields = self.fields.0.iter().map(|(_, value)| value.len() + 32).sum::<usize>();
        size_of::<Self>() + self.message.len() + fields
    }
}

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

/// The fields of a record, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(Key, String)>);

impl Fields {
    /// Adds a field; the first of a key counts.
    pub(super) fn set(&mut self, key: Key, value: impl Into<String>) {
        self.0.push((key, value.into()));
    }

    /// The value of a key, when it is known.
    pub(super) fn get(&self, key: Key) -> Option<&str> {
        self.iter().find_map(|(k, value)| (k == key).then_some(value))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
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
