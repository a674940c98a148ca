//! What a server says to a client's commands, as lines that can be compared.

use std::net::SocketAddr;

use super::{
    bench::Encryption,
    peer::{Peer, client, starttls_client, tls_client},
    secrets::{ACCOUNT, USER},
};

/// A blocking IMAP client that notes every message of the server, byte for byte.
pub struct Transcript {
    peer: Peer,
    commands: usize,
    messages: Vec<String>,
}

impl Transcript {
    /// Connects, and takes the greeting.
    pub fn connect(address: SocketAddr, encryption: Encryption) -> Self {
        let peer = match encryption {
            Encryption::Insecure => client(address),
            Encryption::StartTls => starttls_client(address),
            Encryption::Tls => tls_client(address),
        };
        let mut transcript = Self { peer, commands: 0, messages: Vec::new() };
        if encryption == Encryption::StartTls {
            // Its greeting came before STARTTLS.
            transcript.messages.push("* OK [CAPABILITY STARTTLS]".to_owned());
        } else {
            transcript.wait_for("");
        }
        transcript
    }

    /// As [`Transcript::connect`], and logs in to the account of a [`super::dovecot::Dovecot`].
    pub fn login(address: SocketAddr, encryption: Encryption) -> Self {
        let mut transcript = Self::connect(address, encryption);
        let answer = transcript.command(format!("LOGIN {USER} {ACCOUNT}"));
        assert!(answer.contains(" OK "), "not logged in: {answer}");
        transcript
    }

    /// Sends a command (its tag is put before, CRLF behind it), and reads up to its tagged
    /// answer. Returns that answer.
    pub fn command(&mut self, command: impl AsRef<str>) -> String {
        self.parts(&[command.as_ref()])
    }

    /// As [`Transcript::command`], for one that the server must let go on: each part but the
    /// last ends in a synchronising literal's announcement, or in whatever else gets a `+`. When
    /// the server answers one instead of letting it go on, the rest is not sent.
    pub fn parts(&mut self, parts: &[&str]) -> String {
        self.commands += 1;
        let tag = format!("A{}", self.commands);
        self.peer.send(format!("{tag} "));
        let tagged = format!("{tag} ");
        for (index, part) in parts.iter().enumerate() {
            self.line(part);
            let last = index + 1 == parts.len();
            let answer = self
                .until(|message| message.starts_with(&tagged) || !last && message.starts_with('+'));
            if answer.starts_with(&tagged) {
                return answer;
            }
        }
        unreachable!("the last part ends with the tagged answer");
    }

    /// APPENDs a message by a synchronising literal; `arguments` are what goes before it.
    pub fn append(&mut self, arguments: &str, message: &str) -> String {
        let announcement = format!("APPEND {arguments} {{{}}}", message.len());
        self.parts(&[&announcement, message])
    }

    /// Sends a line as it is, CRLF behind it, and reads nothing.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.peer.send(format!("{}\r\n", line.as_ref()));
    }

    /// Reads up to a message that contains `needle`. Returns it.
    pub fn wait_for(&mut self, needle: &str) -> String {
        self.until(|message| message.contains(needle))
    }

    /// Reads one message, and notes it nowhere.
    pub fn raw(&mut self) -> Vec<u8> {
        read_message(&mut self.peer)
    }

    /// Reads up to the end of the stream.
    pub fn end(&mut self) {
        self.peer.eof();
    }

    /// All messages so far, each with bytes beyond printable ASCII escaped.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let message = read_message(&mut self.peer).escape_ascii().to_string();
            let found = wanted(&message);
            self.messages.push(message.clone());
            if found {
                return message;
            }
        }
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.messages.len().saturating_sub(5);
            eprintln!("--- last from the server ---\n{}", self.messages[last..].join("\n"));
        }
    }
}

/// Reads one message of a server: a line, and the literals and lines that belong to it.
fn read_message(peer: &mut Peer) -> Vec<u8> {
    let mut message = peer.line();
    while let Some(size) = literal_size(&message) {
        message.extend(peer.exactly(size));
        message.extend(peer.line());
    }
    message
}

/// The size of the literal that a message of a server so far announces at its end.
fn literal_size(message: &[u8]) -> Option<usize> {
    // The text of a status or a continuation request may end like an announcement.
    if !message.starts_with(b"* ")
        || [&b"* OK "[..], b"* NO ", b"* BAD ", b"* BYE "].iter().any(|s| message.starts_with(s))
    {
        return None;
    }
    let announcement = message.strip_suffix(b"}\r\n")?;
    let digits = announcement.rsplit(|byte| *byte == b'{').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
