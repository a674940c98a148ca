//! How a message looks in the journal. Runs in the writer's thread: decoding takes its time.

use std::{
    fmt::{self, Debug, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
};

use imap_codec::{CommandCodec, GreetingCodec, IdleDoneCodec, ResponseCodec, decode::Decoder};

use super::{
    escape,
    seen::{Content, Seen},
    text::add_number,
};
use crate::relay::{Kind, Party};

/// Adds what is said of a message, on one line, to `line`. Says whether the codec failed on it.
pub(super) fn render(line: &mut String, seen: &Seen) -> bool {
    line.extend([party(seen.from), "→", party(seen.to), " "]);
    Rendering { line, seen }.add_content()
}

struct Rendering<'a> {
    line: &'a mut String,
    seen: &'a Seen,
}

impl Rendering<'_> {
    /// What there is to say of the message itself, and whether the codec failed on it.
    fn add_content(&mut self) -> bool {
        match &self.seen.shown.content {
            Content::Nothing => self.add_summary(),
            Content::Instead(text) => self.line.push_str(&escape::clean(text)),
            Content::Revealed(bytes) => self.add_raw(bytes),
            Content::Cut(bytes) => {
                self.add(format_args!("cut, {} bytes in all: ", self.seen.size));
                self.add_raw(bytes);
            }
            Content::Whole { bytes, remark } => {
                if !self.add_decoded(bytes) {
                    self.line.push_str("undecoded: ");
                    self.add_raw(bytes);
                    return true;
                }
                if let Some(remark) = remark {
                    self.line.extend([" (", remark, ")"]);
                }
            }
        }
        false
    }

    /// Says whether the codec can make sense of it.
    fn add_decoded(&mut self, bytes: &[u8]) -> bool {
        let begin = self.line.len();
        let print = |message: &dyn Debug| {
            escape::add_bounded(self.line, self.seen.bound, format_args!("{message:?}"));
        };
        let is_decoded = decode(self.seen.kind, bytes, print);
        if is_decoded {
            escape::clean_from(self.line, begin);
        } else {
            // The print may have come to an end by a panic.
            self.line.truncate(begin);
        }
        is_decoded
    }

    fn add_raw(&mut self, bytes: &[u8]) {
        let text = escape::bytes(bytes);
        escape::add_bounded(self.line, self.seen.bound, format_args!("{text}"));
    }

    fn add_summary(&mut self) {
        let (seen, shown) = (self.seen, &self.seen.shown);
        match (shown.tag.as_deref(), shown.name.as_deref()) {
            (Some(tag), Some(name)) => self.line.extend([tag, " ", name]),
            (None, Some(name @ ("+" | "DONE"))) => self.line.push_str(name),
            (None, Some(name)) => self.line.extend(["* ", name]),
            (_, None) => return self.add_counted("(", seen.size, " bytes)"),
        }
        if seen.count > 1 {
            self.add_counted(", ", seen.count, " messages");
        }
        self.add_counted(" (", seen.size, " bytes)");
    }

    fn add_counted(&mut self, before: &str, count: u64, after: &str) {
        self.line.push_str(before);
        add_number(self.line, count);
        self.line.push_str(after);
    }

    fn add(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.line.write_fmt(text);
    }
}

/// Whether such messages are a client's.
pub(super) fn is_of_client(kind: Kind) -> bool {
    matches!(kind, Kind::Command { .. } | Kind::SaslResponse | Kind::IdleDone)
}

/// Gives the message to `print`; false when the codec cannot make sense of all of it.
fn decode(kind: Kind, bytes: &[u8], print: impl FnOnce(&dyn Debug)) -> bool {
    fn whole<T>(decoded: Result<(&[u8], T), impl Sized>) -> Option<T> {
        decoded.ok().filter(|(rest, _)| rest.is_empty()).map(|(_, message)| message)
    }
    let decode = || {
        match kind {
            Kind::Greeting => print(&whole(GreetingCodec::default().decode(bytes))?),
            Kind::Command { .. } => print(&whole(CommandCodec::default().decode(bytes))?),
            Kind::IdleDone => print(&whole(IdleDoneCodec::default().decode(bytes))?),
            Kind::Response => print(&whole(ResponseCodec::default().decode(bytes))?),
            // Never shown but as `Content::Instead` or `Content::Revealed`.
            Kind::SaslResponse | Kind::SaslChallenge => return None,
        }
        Some(())
    };
    // A panic of the codec must not cost more than the print of this message.
    catch_unwind(AssertUnwindSafe(decode)).is_ok_and(|decoded| decoded.is_some())
}

/// Whether the codec can make sense of all of the message, and print it.
pub(super) fn decodes(kind: Kind, bytes: &[u8]) -> bool {
    decode(kind, bytes, |message| drop(format!("{message:?}")))
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
        let mut line = String::new();
        let is_undecoded = render(&mut line, &Seen { kind, shown, ..message() });
        (line, is_undecoded)
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
        let mut line = "before ".to_owned();
        assert!(!render(&mut line, &Seen { shown, ..message() }));
        assert_eq!(line, "before server→proxy a\\u{202e}b");
    }

    #[test]
    fn what_is_left_over_is_not_decoded() {
        assert!(!decodes(Kind::IdleDone, b"DONE\r\nDONE\r\n"));
        assert!(decodes(Kind::IdleDone, b"DONE\r\n"));
        assert!(!decodes(Kind::SaslResponse, b"DONE\r\n"));
    }
}
