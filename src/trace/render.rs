//! How a message looks in the journal. Runs in the writer's thread: decoding takes its time.

use std::{fmt::Debug, panic::catch_unwind};

use imap_codec::{CommandCodec, GreetingCodec, IdleDoneCodec, ResponseCodec, decode::Decoder};

use super::{
    escape,
    record::{Fields, Key, Of, Record},
    seen::{Content, Seen},
};
use crate::relay::{Kind, Party};

/// Makes a record of a message.
pub(super) fn record(seen: Seen) -> Record {
    let (text, undecoded) = text(&seen);
    let (from, to) = (party(seen.from), party(seen.to));
    let mut fields = Fields::default();
    fields.set(Key::Service, &*seen.context.service);
    fields.set(Key::Session, seen.context.session.to_string());
    fields.set(Key::Seq, seen.seq.to_string());
    fields.set(Key::Client, seen.context.client.to_string());
    if let Some(subject) = &seen.context.client_subject {
        fields.set(Key::ClientSubject, &**subject);
    }
    fields.set(Key::Server, seen.context.server.as_str());
    fields.set(Key::Direction, format!("{from}-to-{to}"));
    fields.set(Key::Size, seen.size.to_string());
    if seen.count > 1 {
        fields.set(Key::Count, seen.count.to_string());
    }
    if let Some(user) = &seen.user {
        fields.set(Key::User, &**user);
    }
    if let Some(tag) = seen.shown.tag {
        fields.set(Key::Tag, tag);
    }
    if let Some(name) = seen.shown.name {
        fields.set(if is_of_client(seen.kind) { Key::Command } else { Key::Response }, name);
    }
    if undecoded {
        fields.set(Key::Undecoded, "1");
    }
    Record { time: seen.time, of: Of::Message, message: format!("{from}→{to} {text}"), fields }
}

/// Whether such messages are a client's.
fn is_of_client(kind: Kind) -> bool {
    matches!(kind, Kind::Command { .. } | Kind::SaslResponse | Kind::IdleDone)
}

/// The text, and whether the codec failed on it.
fn text(seen: &Seen) -> (String, bool) {
    let raw = |bytes: &[u8]| escape::bounded(seen.bound, format_args!("{}", escape::bytes(bytes)));
    match &seen.shown.content {
        Content::Instead(text) => (text.clone(), false),
        Content::Nothing => (summary(seen), false),
        Content::Revealed(bytes) => (raw(bytes), false),
        Content::Cut(bytes) => (format!("cut, {} bytes in all: {}", seen.size, raw(bytes)), false),
        Content::Whole { bytes, remark } => match decoded(seen.kind, bytes, seen.bound) {
            Some(text) => match remark {
                Some(remark) => (format!("{text} ({remark})"), false),
                None => (text, false),
            },
            None => (format!("undecoded: {}", raw(bytes)), true),
        },
    }
}

fn summary(seen: &Seen) -> String {
    let name = seen.shown.name.as_deref();
    let shown = match (&seen.shown.tag, name) {
        (Some(tag), Some(name)) => format!("{tag} {name} "),
        (None, Some("+" | "DONE")) | (Some(_), None) => format!("{} ", name.unwrap_or_default()),
        (None, Some(name)) => format!("* {name} "),
        (None, None) => String::new(),
    };
    match seen.count {
        1 => format!("{shown}({} bytes)", seen.size),
        count => format!("{}, {count} messages ({} bytes)", shown.trim_end(), seen.size),
    }
}

/// The Debug print of the message; `None` when the codec cannot make sense of all of it.
pub(super) fn decoded(kind: Kind, bytes: &[u8], bound: usize) -> Option<String> {
    // A panic of the codec must not cost more than the print of this message.
    catch_unwind(|| match kind {
        Kind::Greeting => print(GreetingCodec::default().decode(bytes).ok()?, bound),
        Kind::Command { .. } => print(CommandCodec::default().decode(bytes).ok()?, bound),
        Kind::IdleDone => print(IdleDoneCodec::default().decode(bytes).ok()?, bound),
        Kind::Response => print(ResponseCodec::default().decode(bytes).ok()?, bound),
        // Never shown but as `Content::Instead` or `Content::Revealed`.
        Kind::SaslResponse | Kind::SaslChallenge => None,
    })
    .ok()
    .flatten()
}

fn print((rest, message): (&[u8], impl Debug), bound: usize) -> Option<String> {
    rest.is_empty().then(|| escape::bounded(bound, format_args!("{message:?}")))
}

fn party(party: Party) -> &'static str {
    match party {
        Party::Client => "client",
        Party::Server => "server",
        Party::Proxy => "proxy",
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::seen::{Shown, message},
        *,
    };

    fn seen(kind: Kind, name: &str, bytes: &[u8]) -> Record {
        record(Seen {
            kind,
            shown: Shown {
                tag: Some("A1".to_owned()),
                name: Some(name.to_owned()),
                content: Content::Whole { bytes: bytes.to_vec(), remark: None },
            },
            ..message()
        })
    }

    #[test]
    fn every_field_has_its_value() {
        let record = seen(Kind::Response, "OK", b"A1 OK\r\n");
        let fields = [
            (Key::Service, "Test"),
            (Key::Seq, "3"),
            (Key::Client, "192.0.2.1:4711"),
            (Key::Server, "imap.example.org:993"),
            (Key::Direction, "server-to-proxy"),
            (Key::Size, "42"),
            (Key::User, "bob"),
            (Key::Tag, "A1"),
            (Key::Response, "OK"),
            (Key::Undecoded, "1"),
        ];
        for (key, value) in fields {
            assert_eq!(record.fields.get(key), Some(value), "{key:?}");
        }
        assert_eq!(record.fields.get(Key::Command), None);
        assert_eq!(record.message, "server→proxy undecoded: A1 OK\\r\\n");
    }

    #[test]
    fn what_decodes_is_printed_and_cut() {
        let record = seen(Kind::Command { authenticated: true }, "NOOP", b"A1 NOOP\r\n");
        assert_eq!(record.fields.get(Key::Command), Some("NOOP"));
        assert_eq!(record.fields.get(Key::Undecoded), None);
        assert_eq!(record.message, "server→proxy Command { tag: Tag(\"… (+18 bytes)");
    }

    #[test]
    fn what_is_left_over_is_not_decoded() {
        assert_eq!(decoded(Kind::IdleDone, b"DONE\r\nDONE\r\n", 99), None);
        assert_eq!(decoded(Kind::IdleDone, b"DONE\r\n", 99).as_deref(), Some("IdleDone"));
        assert_eq!(decoded(Kind::SaslResponse, b"DONE\r\n", 99), None);
    }
}
