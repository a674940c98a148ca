//! How a message looks in the journal. Runs in the writer's thread: decoding takes its time.

use std::{
    fmt::{self, Debug, Write as _},
    panic::catch_unwind,
};

use imap_codec::{CommandCodec, GreetingCodec, IdleDoneCodec, ResponseCodec, decode::Decoder};

use super::{
    escape,
    seen::{Content, Seen},
};
use crate::relay::{Kind, Party};

/// A message as it is shown.
pub(super) struct Rendered<'a> {
    /// What is said of it, on one line.
    pub(super) text: &'a str,
    /// The codec failed on it.
    pub(super) is_undecoded: bool,
}

/// Renders messages, one after the other, in one place.
#[derive(Default)]
pub(super) struct Renderer(String);

impl Renderer {
    pub(super) fn render(&mut self, seen: &Seen) -> Rendered<'_> {
        self.0.clear();
        let (from, to) = (party(seen.from), party(seen.to));
        self.add(format_args!("{from}→{to} "));
        let is_undecoded = self.add_content(seen);
        Rendered { text: &self.0, is_undecoded }
    }

    /// What there is to say of the message itself, and whether the codec failed on it.
    fn add_content(&mut self, seen: &Seen) -> bool {
        match &seen.shown.content {
            Content::Nothing => self.add_summary(seen),
            Content::Instead(text) => self.0.push_str(&escape::clean(text)),
            Content::Revealed(bytes) => self.add_raw(seen, bytes),
            Content::Cut(bytes) => {
                self.add(format_args!("cut, {} bytes in all: ", seen.size));
                self.add_raw(seen, bytes);
            }
            Content::Whole { bytes, remark } => {
                let Some(text) = decoded(seen.kind, bytes, seen.bound) else {
                    self.0.push_str("undecoded: ");
                    self.add_raw(seen, bytes);
                    return true;
                };
                self.0.push_str(&escape::clean(&text));
                if let Some(remark) = remark {
                    self.add(format_args!(" ({remark})"));
                }
            }
        }
        false
    }

    fn add_raw(&mut self, seen: &Seen, bytes: &[u8]) {
        let text = escape::bounded(seen.bound, format_args!("{}", escape::bytes(bytes)));
        self.0.push_str(&text);
    }

    fn add_summary(&mut self, seen: &Seen) {
        match (&seen.shown.tag, seen.shown.name.as_deref()) {
            (Some(tag), Some(name)) => self.add(format_args!("{tag} {name}")),
            (None, Some(name @ ("+" | "DONE"))) => self.0.push_str(name),
            (None, Some(name)) => self.add(format_args!("* {name}")),
            (_, None) => return self.add(format_args!("({} bytes)", seen.size)),
        }
        if seen.count > 1 {
            self.add(format_args!(", {} messages", seen.count));
        }
        self.add(format_args!(" ({} bytes)", seen.size));
    }

    fn add(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.0.write_fmt(text);
    }
}

/// Whether such messages are a client's.
pub(super) fn is_of_client(kind: Kind) -> bool {
    matches!(kind, Kind::Command { .. } | Kind::SaslResponse | Kind::IdleDone)
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

pub(super) fn party(party: Party) -> &'static str {
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

    fn rendered(kind: Kind, bytes: &[u8]) -> (String, bool) {
        let content = Content::Whole { bytes: bytes.to_vec(), remark: None };
        let shown = Shown { tag: None, name: None, content };
        let mut renderer = Renderer::default();
        // What was rendered before leaves nothing behind.
        renderer.render(&message());
        let seen = renderer.render(&Seen { kind, shown, ..message() });
        (seen.text.to_owned(), seen.is_undecoded)
    }

    #[test]
    fn what_does_not_decode_is_shown_as_it_is() {
        let (text, is_undecoded) = rendered(Kind::Response, b"A1 OK\r\n");
        assert_eq!(text, "server→proxy undecoded: A1 OK\\r\\n");
        assert!(is_undecoded);
    }

    #[test]
    fn what_decodes_is_printed_and_cut() {
        let (text, is_undecoded) = rendered(Kind::Command { authenticated: true }, b"A1 NOOP\r\n");
        assert_eq!(text, "server→proxy Command { tag: Tag(\"… (+18 bytes)");
        assert!(!is_undecoded);
    }

    #[test]
    fn no_message_turns_the_writing_direction_round() {
        let greeting = "* OK \u{202e}x\r\n";
        let (text, _) = rendered(Kind::Greeting, greeting.as_bytes());
        assert!(!text.contains('\u{202e}'), "{text}");
        let shown = Shown::instead(None, None, "a\u{202e}b".to_owned());
        let text = Renderer::default().render(&Seen { shown, ..message() }).text.to_owned();
        assert_eq!(text, "server→proxy a\\u{202e}b");
    }

    #[test]
    fn what_is_left_over_is_not_decoded() {
        assert_eq!(decoded(Kind::IdleDone, b"DONE\r\nDONE\r\n", 99), None);
        assert_eq!(decoded(Kind::IdleDone, b"DONE\r\n", 99).as_deref(), Some("IdleDone"));
        assert_eq!(decoded(Kind::SaslResponse, b"DONE\r\n", 99), None);
    }
}
