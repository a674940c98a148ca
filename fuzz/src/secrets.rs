//! What must never be shown, and where a session shows it all the same, as it may.

use std::time::Instant;

use imap_proxy::{
    relay::{Kind, Party, Tap},
    trace::SessionTap,
};

use crate::{
    expect::{announced, first_line},
    seen::{Message, Seen, bytes},
};

#[path = "../../tests/common/secrets.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod planted;

pub use planted::shows;

/// The secret of a session: an atom, one with blanks, or one with all that needs an escape.
pub fn choose(number: u8) -> &'static str {
    [planted::ATOM, planted::QUOTED, planted::ESCAPED][usize::from(number) % 3]
}

/// The secret in all the forms in which a client sends it.
pub fn forms(secret: &str) -> Vec<String> {
    let quoted = secret.replace('\\', "\\\\").replace('"', "\\\"");
    let size = secret.len();
    vec![
        secret.to_owned(),
        format!("\"{quoted}\""),
        format!("{{{size}}}\r\n{secret}"),
        format!("{{{size}+}}\r\n{secret}"),
        planted::base64(secret),
        planted::sasl_plain(secret),
        planted::xoauth2(secret),
        planted::oauthbearer(secret),
    ]
}

/// The real tap of a session, and whether it may show a planted secret.
pub struct Watched {
    pub tap: SessionTap,
    seen: Seen,
    /// A secret came where none is expected, or is no more one.
    pub exempt: bool,
    secret: &'static str,
    /// Its forms, and those of them that the client sent since its last login.
    forms: Vec<String>,
    sent: Vec<String>,
}

impl Watched {
    pub fn new(tap: SessionTap, secret: &'static str) -> Self {
        let (forms, sent) = (forms(secret), Vec::new());
        Self { tap, seen: Seen::default(), exempt: false, secret, forms, sent }
    }

    fn judge_the_end(&mut self, from: Party, to: Party, kind: Kind) {
        (&mut self.seen).end(from, to, kind);
        if let Some(crate::seen::Event::Message(message)) = self.seen.events.pop() {
            self.judge(&message);
        }
    }

    fn judge(&mut self, message: &Message) {
        let bytes = bytes(&message.parts);
        if !is_in(&bytes, self.secret) {
            return;
        }
        match message.kind {
            Kind::Command { authenticated } => {
                self.exempt |= !is_credential(&bytes, authenticated, self.secret);
                self.note_sent(&bytes);
            }
            Kind::SaslResponse | Kind::IdleDone => self.note_sent(&bytes),
            Kind::SaslChallenge => {}
            // A server that makes up a password is none of ours; one that echoes it is.
            Kind::Greeting | Kind::Response => {
                let made_up = is_in(&without(&bytes, &self.sent), self.secret);
                self.exempt |= message.from == Party::Server && made_up;
            }
        }
    }

    /// Notes the forms in a message, each of them as a word. What is glued to another word is another secret.
    fn note_sent(&mut self, message: &[u8]) {
        for form in &self.forms {
            let is_in = (0..message.len()).any(|at| is_word_at(message, at, form));
            if is_in && !self.sent.contains(form) {
                self.sent.push(form.clone());
            }
        }
    }
}

/// The message with a blank for each of these words.
fn without(message: &[u8], words: &[String]) -> Vec<u8> {
    let (mut rest, mut at) = (Vec::new(), 0);
    while at < message.len() {
        // The longest, for one may begin like another.
        let found =
            words.iter().filter(|word| is_word_at(message, at, word)).map(String::len).max();
        if let Some(length @ 1..) = found {
            rest.push(b' ');
            at += length;
        } else {
            rest.push(message[at]);
            at += 1;
        }
    }
    rest
}

fn is_word_at(message: &[u8], at: usize, word: &str) -> bool {
    let (before, here) = message.split_at(at);
    let before = before.strip_suffix(b"\"").unwrap_or(before);
    here.starts_with(word.as_bytes()) && matches!(before.last(), None | Some(b' ' | b'\n'))
}

/// Whether a secret in this command stands where a credential may, or could by mistake.
fn is_credential(command: &[u8], authenticated: bool, secret: &str) -> bool {
    let mut words = command.splitn(3, |byte| *byte == b' ');
    let (tag, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let arguments = words.next().unwrap_or_default();
    let verb = str::from_utf8(verb).unwrap_or_default().trim_end().to_ascii_uppercase();
    match verb.as_str() {
        // A tag is shown, as is the user of a login.
        _ if is_in(tag, secret) => false,
        "LOGIN" => !is_in(first_argument(arguments), secret),
        "AUTHENTICATE" => true,
        // ID tells the client's name and version before login, any other command anything after.
        "ID" => false,
        _ => !authenticated,
    }
}

fn first_argument(arguments: &[u8]) -> &[u8] {
    let line = first_line(arguments);
    let end = match arguments.first() {
        Some(b'"') => line.iter().enumerate().skip(1).find_map(|(at, byte)| {
            let escapes = line[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            (*byte == b'"' && escapes % 2 == 0).then_some(at + 1)
        }),
        Some(b'{') => {
            let size = announced(line).and_then(|(size, _)| usize::try_from(size).ok());
            size.map(|size| line.len().saturating_add(size))
        }
        _ => arguments.iter().position(|byte| *byte == b' '),
    };
    &arguments[..end.unwrap_or(arguments.len()).min(arguments.len())]
}

fn is_in(bytes: &[u8], secret: &str) -> bool {
    shows(&String::from_utf8_lossy(bytes), secret)
}

impl Tap for &mut Watched {
    fn line(&mut self, from: Party, bytes: &[u8]) {
        (&mut self.seen).line(from, bytes);
        self.tap.line(from, bytes);
    }

    fn literal(&mut self, from: Party, size: u64) {
        (&mut self.seen).literal(from, size);
        self.tap.literal(from, size);
    }

    fn literal_bytes(&mut self, from: Party, bytes: &[u8]) {
        (&mut self.seen).literal_bytes(from, bytes);
        self.tap.literal_bytes(from, bytes);
    }

    fn end(&mut self, from: Party, to: Party, kind: Kind) {
        self.judge_the_end(from, to, kind);
        self.tap.end(from, to, kind);
    }

    fn message(&mut self, from: Party, to: Party, kind: Kind, line: &[u8]) {
        (&mut self.seen).line(from, line);
        self.judge_the_end(from, to, kind);
        self.tap.message(from, to, kind, line);
    }

    fn authenticated(&mut self) {
        self.tap.authenticated();
        self.sent.clear();
        self.exempt |= self.tap.user().is_some_and(|user| is_in(user.as_bytes(), self.secret));
    }

    fn stripped(&mut self, name: &str) {
        // That of a server that makes up a password is told, and none of ours.
        self.exempt |= self.sent.is_empty() && is_in(name.as_bytes(), self.secret);
        self.tap.stripped(name);
    }

    fn due(&self) -> Option<Instant> {
        self.tap.due()
    }

    fn show(&mut self) {
        self.tap.show();
    }
}
