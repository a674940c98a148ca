//! A server that agrees to literals or does not, asks and answers, and says more than it is asked.

use arbitrary::{Result, Unstructured};

use super::{SIZES, content};
use crate::expect::{announced, first_line};

/// A server.
#[derive(Debug)]
pub struct Server {
    /// The commands, with every literal announced as one that waits.
    pub heard: Vec<Vec<u8>>,
    pub out: Vec<u8>,
    inbox: Vec<u8>,
    /// Of LITERAL- and LITERAL+: how large a literal may be that does not wait.
    allowed: Option<u64>,
    command: Vec<u8>,
    literal: usize,
    /// How many more lines it asks for, within AUTHENTICATE or IDLE.
    lines: Option<usize>,
}

impl Server {
    /// A server that greets.
    pub fn new(u: &mut Unstructured<'_>) -> Result<Self> {
        let offers = [("", None), (" LITERAL-", Some(4096)), (" LITERAL+", Some(u64::MAX))];
        let (offer, allowed) = *u.choose(&offers)?;
        Ok(Self {
            heard: Vec::new(),
            out: format!("* OK [CAPABILITY IMAP4rev1{offer}] hello\r\n").into_bytes(),
            inbox: Vec::new(),
            allowed,
            command: Vec::new(),
            literal: 0,
            lines: None,
        })
    }

    /// Says what nobody asked for.
    pub fn pushes(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.out.extend(match u.int_in_range(0..=3)? {
            0 => b"* 5 EXISTS\r\n".to_vec(),
            1 => b"* OK T0 OK text {5}\r\n".to_vec(),
            2 => [b"* SEARCH", b" 1".repeat(*u.choose(SIZES)?).as_slice(), b"\r\n"].concat(),
            _ => {
                let size = *u.choose(SIZES)?;
                let head = format!("* 1 FETCH (BODY[] {{{size}}}\r\n").into_bytes();
                [head, content(size), b" X {3}\r\n+ \r)\r\n".to_vec()].concat()
            }
        });
        Ok(())
    }

    /// Hears the proxy.
    pub fn hears(&mut self, bytes: &[u8], u: &mut Unstructured<'_>) {
        self.inbox.extend(bytes);
        loop {
            let taken = self.literal.min(self.inbox.len());
            self.command.extend(self.inbox.drain(..taken));
            self.literal -= taken;
            let length = first_line(&self.inbox).len();
            if self.literal > 0 || !self.inbox[..length].ends_with(b"\n") {
                return;
            }
            let line: Vec<u8> = self.inbox.drain(..length).collect();
            self.line(&line, u);
        }
    }

    fn line(&mut self, line: &[u8], u: &mut Unstructured<'_>) {
        if let Some(left) = self.lines.take() {
            assert!(matches!(line, b"AGEAYg==\r\n" | b"DONE\r\n"), "{}", line.escape_ascii());
            return self.challenge(left, u);
        }
        self.command.extend(line);
        if let Some((size, sync)) = announced(line) {
            let allowed = sync || self.allowed.is_some_and(|allowed| size <= allowed);
            assert!(allowed, "{} does not wait", line.escape_ascii());
            if !sync {
                let end = self.command.len() - "+}\r\n".len();
                self.command.splice(end.., *b"}\r\n");
            } else if u.ratio(4, 5).unwrap_or(true) {
                self.out.extend(b"+ go on\r\n");
            } else {
                return self.answers(b" NO no thanks\r\n");
            }
            self.literal = usize::try_from(size).expect("small");
            return;
        }
        let waits = line.ends_with(b" AUTHENTICATE PLAIN\r\n") || line.ends_with(b" IDLE\r\n");
        if waits && self.command.len() == line.len() {
            let lines = if line.ends_with(b" IDLE\r\n") { 1 } else { 3 };
            let lines = u.int_in_range(0..=lines).unwrap_or_default();
            return self.challenge(lines, u);
        }
        self.answers(b" OK done {3}\r\n");
    }

    /// Asks for another line, or answers.
    fn challenge(&mut self, lines: usize, u: &mut Unstructured<'_>) {
        if lines > 0 {
            self.out.extend(b"+ eyJ9\r\n");
            self.lines = Some(lines - 1);
        } else {
            let good = u.arbitrary().unwrap_or_default();
            self.answers(if good { b" OK\r\n" } else { b" NO\r\n" });
        }
    }

    fn answers(&mut self, text: &[u8]) {
        let command = std::mem::take(&mut self.command);
        let tag = command.split(|byte| *byte == b' ').next().unwrap_or_default();
        self.out.extend([tag, text].concat());
        self.heard.push(command);
    }
}
