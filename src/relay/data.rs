//! Data of the server, which most of what it sends consists of: nothing in the session depends on it, and
//! the client gets it as it came.

use super::{
    Kind, Party, Relay, Tap,
    commands::take_up_to,
    line::{self, Tail},
    responses::State,
};

impl<T: Tap> Relay<T> {
    /// Takes in data, up to where anything else begins: lines that begin with a number, and literals.
    /// Returns how many bytes they were, which the client has yet to get.
    pub(super) fn pass_data(&mut self, input: &[u8]) -> usize {
        let mut passed = 0;
        // Where a message ends, an answer of the proxy's own may be due.
        while self.answers.is_empty() || !self.responses.at_boundary() {
            let rest = input.split_at(passed).1;
            if rest.is_empty() {
                break;
            }
            let taken = match self.responses.state {
                State::Literal { .. } => self.take_literal(rest),
                State::LongLine { to: Party::Client, .. } => self.take_long_line(rest),
                State::LongLine { .. } => 0,
                State::Line => match self.pass_plain_lines(rest) {
                    0 => self.pass_line(rest),
                    taken => taken,
                },
            };
            if taken == 0 {
                break;
            }
            passed += taken;
        }
        passed
    }

    /// The same for messages of one line.
    fn pass_plain_lines(&mut self, input: &[u8]) -> usize {
        let mut passed = 0;
        if !self.is_before_message() || !line::begins_data(input) {
            return passed;
        }
        let looked_at = self.tap.looks_at_data();
        let mut unseen = 0;
        for end in line::ends(input) {
            let line = input.get(passed..=end).unwrap_or_default();
            if !line::is_plain_data(line) {
                break;
            }
            if looked_at {
                self.tap.message(Party::Server, Party::Client, Kind::Response, line);
            } else {
                unseen += 1;
            }
            passed = end + 1;
        }
        if unseen > 0 {
            self.tap.unseen(unseen);
        }
        passed
    }

    /// The same for one line of any message, or what is there of it.
    fn pass_line(&mut self, input: &[u8]) -> usize {
        let begins = self.is_before_message() && line::begins_data(input);
        if !begins && !self.responses.continued {
            return 0;
        }
        let length = line::length(input);
        let (line, _) = input.split_at(length.unwrap_or(input.len()));
        if length.is_some() {
            self.tap.line(Party::Server, line);
            self.data_line_complete(line::announcement(line), Kind::Response);
        } else {
            self.begin_long_line(line, true, Kind::Response, Party::Client);
        }
        line.len()
    }

    /// Whether the next byte is the first of a message that is no greeting.
    fn is_before_message(&self) -> bool {
        self.is_greeted() && self.responses.at_boundary() && self.responses.partial.is_empty()
    }

    /// A line of data is complete, and the message too unless a literal follows.
    pub(super) fn data_line_complete(&mut self, announcement: Option<line::Literal>, kind: Kind) {
        match announcement {
            Some(literal) => {
                self.tap.literal(Party::Server, literal.size);
                self.responses.continued = true;
                self.responses.state = State::Literal { left: literal.size };
                self.take_literal(&[]);
            }
            None => self.response_complete(Party::Server, Party::Client, kind),
        }
    }

    fn take_literal(&mut self, input: &[u8]) -> usize {
        let State::Literal { left } = &mut self.responses.state else { return 0 };
        let chunk = take_up_to(input, left);
        if *left == 0 {
            self.responses.state = State::Line;
        }
        self.tap.literal_bytes(Party::Server, chunk);
        chunk.len()
    }

    /// Shows the beginning of a line that is not held until its end is there.
    pub(super) fn begin_long_line(
        &mut self,
        beginning: &[u8],
        announces: bool,
        kind: Kind,
        to: Party,
    ) {
        let mut tail = Tail::default();
        tail.push(beginning);
        self.tap.line(Party::Server, beginning);
        self.responses.state = State::LongLine { announces, tail, kind, to };
    }

    pub(super) fn take_long_line(&mut self, input: &[u8]) -> usize {
        let State::LongLine { announces, tail, kind, to } = &mut self.responses.state else {
            return 0;
        };
        let length = line::length(input);
        let (chunk, _) = input.split_at(length.unwrap_or(input.len()));
        tail.push(chunk);
        self.tap.line(Party::Server, chunk);
        if length.is_some() {
            let announcement = if *announces { tail.announcement() } else { None };
            let (kind, to) = (*kind, *to);
            self.responses.state = State::Line;
            match announcement {
                Some(_) => self.data_line_complete(announcement, kind),
                None => self.response_complete(Party::Server, to, kind),
            }
        }
        chunk.len()
    }
}
