//! A client that sends commands with literals, and waits where it has to.

use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};

use super::{SIZES, Server, content};
use crate::expect::{announced, first_line};

/// Verbs of which the proxy answers the last four itself.
const VERBS: &[&str] = &[
    "NOOP",
    "APPEND",
    "SELECT",
    "FROBNICATE",
    "LOGIN alice",
    "AUTHENTICATE PLAIN",
    "IDLE",
    "LOGOUT",
    "COMPRESS",
    "STARTTLS",
    "UNAUTHENTICATE",
    "AUTHENTICATE GSSAPI",
];
const ANSWERED_BY_PROXY: usize = 4;

/// What a command is, and what became of it.
#[derive(Debug, Default)]
pub struct Command {
    /// As sent so far, with every literal announced as one that waits.
    said: Vec<u8>,
    /// Its tagged answer.
    answer: Option<Vec<u8>>,
}

/// What the client waits for before it goes on.
#[derive(Debug, Default, PartialEq, Eq)]
enum Wait {
    #[default]
    Nothing,
    Literal,
    Challenge,
    Idling,
}

/// A client.
#[derive(Debug, Default)]
pub struct Client {
    pub commands: Vec<Command>,
    /// On its way to the proxy.
    pub out: Vec<u8>,
    inbox: Vec<u8>,
    wait: Wait,
    /// The rest of the command that waits.
    parts: VecDeque<Part>,
}

#[derive(Debug)]
enum Part {
    Line(Vec<u8>),
    /// Its size, and whether it waits.
    Literal(usize, bool),
}

impl Client {
    /// Sends a command, unless one waits.
    pub fn command(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.wait != Wait::Nothing {
            return Ok(());
        }
        let verb = *u.choose(VERBS)?;
        let mut line = format!("T{} {verb}", self.commands.len()).into_bytes();
        self.wait = match verb {
            "AUTHENTICATE PLAIN" => Wait::Challenge,
            "IDLE" => Wait::Idling,
            _ => Wait::Nothing,
        };
        if self.wait == Wait::Nothing {
            for _ in 0..u.int_in_range(0..=3)? {
                line.extend(vec![b' '; if u.ratio(15, 16)? { 1 } else { 101 }]);
                let (size, sync) = (*u.choose(SIZES)?, u.arbitrary()?);
                let literal8 = if u.ratio(3, 4)? { "" } else { "~" };
                line.extend(format!("{literal8}{{{size}").bytes());
                self.parts.push_back(Part::Line(std::mem::take(&mut line)));
                self.parts.push_back(Part::Literal(size, sync));
            }
        }
        self.parts.push_back(Part::Line(line));
        self.commands.push(Command::default());
        self.go_on();
        Ok(())
    }

    fn go_on(&mut self) {
        while let Some(part) = self.parts.pop_front() {
            let command = self.commands.last_mut().expect("one is under way");
            match part {
                Part::Line(mut line) => {
                    let mut said = line.clone();
                    if let Some(Part::Literal(_, sync)) = self.parts.front() {
                        line.extend(if *sync { &b"}"[..] } else { b"+}" });
                        said.push(b'}');
                        if *sync {
                            self.wait = Wait::Literal;
                        }
                    }
                    self.out.extend([&line[..], b"\r\n"].concat());
                    command.said.extend([&said[..], b"\r\n"].concat());
                    if self.wait == Wait::Literal {
                        return;
                    }
                }
                Part::Literal(size, _) => {
                    let content = content(size);
                    self.out.extend(&content);
                    command.said.extend(content);
                }
            }
        }
    }

    /// Hears the proxy.
    pub fn hears(&mut self, bytes: &[u8]) {
        self.inbox.extend(bytes);
        while let Some(message) = next_message(&mut self.inbox) {
            if message.starts_with(b"+") {
                match std::mem::take(&mut self.wait) {
                    Wait::Literal => self.go_on(),
                    Wait::Challenge => {
                        self.wait = Wait::Challenge;
                        self.out.extend(b"AGEAYg==\r\n");
                    }
                    Wait::Idling => self.out.extend(b"DONE\r\n"),
                    Wait::Nothing => panic!("nobody asked for {}", message.escape_ascii()),
                }
            } else if !message.starts_with(b"* ") {
                self.answered(message);
            }
        }
    }

    fn answered(&mut self, message: Vec<u8>) {
        let number = message[1..].split(|byte| *byte == b' ').next().unwrap_or_default();
        let number: usize = str::from_utf8(number).expect("a tag").parse().expect("a tag");
        let answer = &mut self.commands[number].answer;
        assert_eq!(*answer, None, "a second answer: {}", message.escape_ascii());
        *answer = Some(message);
        if number + 1 == self.commands.len() {
            self.wait = Wait::Nothing;
            self.parts.clear();
        }
    }

    /// Checks that each command was answered, and that the server heard what it shall.
    pub fn check(&self, server: &Server) {
        let mut heard = server.heard.iter();
        for command in &self.commands {
            let said = command.said.escape_ascii();
            let answer = command.answer.as_ref().unwrap_or_else(|| panic!("no answer to {said}"));
            let by_proxy = answer.windows(8).any(|window| window == b" proxy: ");
            let refused = VERBS.iter().rev().take(ANSWERED_BY_PROXY).any(|verb| {
                let said = command.said.split(|byte| *byte == b' ').skip(1).collect::<Vec<_>>();
                said.join(&b' ').starts_with(verb.as_bytes())
            });
            assert!(by_proxy || !refused, "{said} came to the server");
            if by_proxy {
                continue;
            }
            let heard = heard.next().unwrap_or_else(|| panic!("the server did not hear {said}"));
            let as_said = if answer.windows(9).any(|window| window == b"no thanks") {
                command.said.starts_with(heard)
            } else {
                command.said == *heard
            };
            assert!(as_said, "{said} became {}", heard.escape_ascii());
        }
        assert_eq!(heard.next(), None, "the server heard what nobody said");
    }
}

/// Takes the first message out of the bytes, if it is complete.
fn next_message(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let is_data = bytes.starts_with(b"* ") && !bytes.starts_with(b"* OK ");
    let mut end = 0;
    loop {
        let line = first_line(&bytes[end..]);
        end += line.len();
        if !line.ends_with(b"\n") {
            return None;
        }
        match announced(line).filter(|_| is_data) {
            Some((size, _)) => end += usize::try_from(size).ok()?,
            None => return Some(bytes.drain(..end).collect()),
        }
        if end > bytes.len() {
            return None;
        }
    }
}
