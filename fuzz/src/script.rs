//! Scripts: what a fuzzer's bytes mean.
//!
//! The text of both peers, as it is, with a few control bytes in it: a corpus is readable, a
//! dictionary of IMAP helps, and a mutation changes little.
//!
//! | bytes | meaning |
//! | --- | --- |
//! | `0x01`, `0x02` | what follows says the client, the server; again: in another piece |
//! | `0x03` n, `0x04` n | the client, the server takes n * 257 bytes of what waits for it |
//! | `0x05` c n | n * 257 bytes of c; of numbers that never repeat, if c is `#` |
//! | `0x06` c | c, whatever it is |
//! | `0x07` n | planted secret number n, in `trace` |
//!
//! The first byte chooses the limits. `\r` goes before each `\n`, unless that came by `0x06`.

use imap_proxy::relay::{Limits, Party};

use crate::{
    chunks::SMALL,
    drive::{PIECE, Step},
};

/// Bytes that one script may say: a few times what is held of anything.
pub const MOST: usize = 192 * 1024;

/// Reads a script, of which `most` bytes are said. `secrets` stand for what `0x07` plants.
pub fn parse(bytes: &[u8], most: usize, secrets: &[String]) -> (Limits, Vec<Step>) {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let limits = if first.is_multiple_of(2) { SMALL } else { Limits::default() };
    let mut script = Script { left: most, ..Script::default() };
    let mut bytes = rest.iter().copied();
    while let Some(byte) = bytes.next() {
        let mut next = || bytes.next().unwrap_or_default();
        match byte {
            1 => script.speaks(Party::Client),
            2 => script.speaks(Party::Server),
            3 => script.takes(Party::Client, next()),
            4 => script.takes(Party::Server, next()),
            5 => {
                let byte = next();
                script.fill(byte, usize::from(next()) * 257);
            }
            6 => script.says(&[next()]),
            7 if !secrets.is_empty() => {
                let number = usize::from(next()) % secrets.len();
                script.says(secrets[number].as_bytes());
            }
            b'\n' => script.says(b"\r\n"),
            _ => script.says(&[byte]),
        }
    }
    script.speaks(Party::Client);
    (limits, script.steps)
}

#[derive(Default)]
struct Script {
    steps: Vec<Step>,
    speaker: Option<Party>,
    piece: Vec<u8>,
    left: usize,
    number: u64,
}

impl Script {
    fn speaks(&mut self, party: Party) {
        if !self.piece.is_empty() {
            let speaker = self.speaker.unwrap_or(Party::Server);
            self.steps.push(Step::Says(speaker, std::mem::take(&mut self.piece)));
        }
        self.speaker = Some(party);
    }

    fn takes(&mut self, party: Party, count: u8) {
        let speaker = self.speaker.unwrap_or(Party::Server);
        self.speaks(speaker);
        self.steps.push(Step::Takes(party, usize::from(count) * 257));
    }

    fn says(&mut self, bytes: &[u8]) {
        if bytes.len() <= self.left {
            self.left -= bytes.len();
            self.piece.extend(bytes);
        }
        if self.piece.len() >= PIECE {
            let speaker = self.speaker.unwrap_or(Party::Server);
            self.speaks(speaker);
        }
    }

    fn fill(&mut self, byte: u8, count: usize) {
        if byte != b'#' {
            return self.says(&vec![byte; count]);
        }
        let mut numbers = String::new();
        while numbers.len() < count {
            self.number += 1;
            numbers.extend([self.number.to_string().as_str(), " "]);
        }
        self.says(numbers.as_bytes());
    }
}
