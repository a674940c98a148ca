//! A command with literals on its way to the server, which has to agree to each of them.

use super::{
    capability::NonSync,
    head::CommandHead,
    line::{Literal, synchronising},
    verbs::is_verb,
};

/// The part of a command that the proxy has taken in, line by line and literal by literal.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// As it came.
    pub(super) bytes: Vec<u8>,
    /// The literals that it announces, each with the end of the line that does.
    pub(super) literals: Vec<(usize, Literal)>,
    /// Where the line under way begins.
    pub(super) line_start: usize,
    /// Bytes of literals in `bytes`.
    pub(super) literal_bytes: usize,
    /// How much of `bytes` was shown to [`super::flow::Flow`].
    pub(super) shown: usize,
    /// The beginning of the command went upstream: what follows does too.
    pub(super) begun: bool,
    /// The tag, once the first line is complete and if it is a proper one.
    pub(super) tag: Option<Box<[u8]>>,
    /// Whether a literal without wait is understood by every server (see `verbs`).
    pub(super) known: bool,
}

impl Command {
    /// Nothing of a command has been taken in.
    pub(super) fn is_untouched(&self) -> bool {
        self.bytes.is_empty() && !self.begun
    }

    pub(super) fn current_line(&self) -> &[u8] {
        self.bytes.get(self.line_start..).unwrap_or_default()
    }

    /// Notes what the first line says.
    pub(super) fn identify(&mut self, head: &CommandHead<'_>) {
        self.tag = head.proper_tag().map(Into::into);
        self.known = is_verb(head.verb);
    }
}

/// The pieces of a command that go upstream one after the other, each when the server agreed to the
/// literal that the one before it announced.
#[derive(Debug)]
pub(super) struct Sending {
    pieces: std::vec::IntoIter<Vec<u8>>,
    /// The literal that follows the last piece and is still to come from the client.
    streams: Option<Literal>,
    /// Whether the server has to agree to the last piece, too.
    last_waits: bool,
}

impl Sending {
    /// Cuts what was collected of a command. With `streams`, the content of its last literal is
    /// still to come.
    pub(super) fn new(command: &Command, non_sync: NonSync, streams: Option<Literal>) -> Self {
        let (mut pieces, mut piece, mut last_waits) = (Vec::new(), Vec::new(), false);
        let mut rest = command.bytes.as_slice();
        let mut position = 0;
        for (end, literal) in &command.literals {
            let (taken, remaining) = rest.split_at_checked(end - position).unwrap_or((rest, &[]));
            (rest, position) = (remaining, *end);
            last_waits = literal.sync || !command.known || !non_sync.allows(literal.size);
            if last_waits && !literal.sync {
                piece.extend(synchronising(taken));
            } else {
                piece.extend_from_slice(taken);
            }
            if last_waits {
                pieces.push(std::mem::take(&mut piece));
            }
        }
        if streams.is_none() || !last_waits {
            piece.extend_from_slice(rest);
            pieces.push(piece);
            last_waits = false;
        }
        Self { pieces: pieces.into_iter(), streams, last_waits }
    }

    pub(super) fn next_piece(&mut self) -> Option<Vec<u8>> {
        self.pieces.next()
    }

    /// Whether the server has to agree before anything else goes upstream.
    pub(super) fn waits(&self) -> bool {
        self.last_waits || self.pieces.len() > 0
    }

    /// Whether the server's `+` is the one that the client waits for.
    pub(super) fn client_waits(&self) -> bool {
        self.pieces.len() == 0 && self.streams.is_some_and(|literal| literal.sync)
    }

    /// The literal that is still to come from the client.
    pub(super) fn streams(&self) -> Option<Literal> {
        self.streams
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::line::announcement;

    fn command(lines: &[&str], known: bool) -> Command {
        let mut command = Command { known, ..Command::default() };
        for line in lines {
            command.bytes.extend(line.as_bytes());
            if let Some(literal) = announcement(line.as_bytes()) {
                command.literals.push((command.bytes.len(), literal));
            }
        }
        command
    }

    /// Each piece, with whether the server has to agree to it and whether the client hears of it.
    fn pieces(
        command: &Command,
        non_sync: NonSync,
        streams: Option<Literal>,
    ) -> Vec<(String, bool, bool)> {
        let mut sending = Sending::new(command, non_sync, streams);
        let mut pieces = Vec::new();
        while let Some(piece) = sending.next_piece() {
            pieces.push((
                String::from_utf8(piece).unwrap(),
                sending.waits(),
                sending.client_waits(),
            ));
        }
        pieces
    }

    #[test]
    fn collected() {
        let login = command(&["A LOGIN {1}\r\n", "u {2+}\r\n", "pw\r\n"], true);
        let first = ("A LOGIN {1}\r\n".to_owned(), true, false);
        assert_eq!(
            pieces(&login, NonSync::Any, None),
            [first.clone(), ("u {2+}\r\npw\r\n".to_owned(), false, false)]
        );
        assert_eq!(
            pieces(&login, NonSync::Never, None),
            [first, ("u {2}\r\n".to_owned(), true, false), ("pw\r\n".to_owned(), false, false)]
        );
        let unknown = command(&["A X {2+}\r\n", "ab\r\n"], false);
        assert_eq!(
            pieces(&unknown, NonSync::Any, None),
            [("A X {2}\r\n".to_owned(), true, false), ("ab\r\n".to_owned(), false, false)]
        );
    }

    #[test]
    fn streaming() {
        let sync = command(&["A APPEND x {9000}\r\n"], true);
        let non_sync = command(&["A APPEND x {9000+}\r\n"], true);
        for (command, support, line, waits, client_waits) in [
            (&sync, NonSync::Any, "A APPEND x {9000}\r\n", true, true),
            (&non_sync, NonSync::Any, "A APPEND x {9000+}\r\n", false, false),
            (&non_sync, NonSync::UpTo4096, "A APPEND x {9000}\r\n", true, false),
        ] {
            let streams = command.literals.last().map(|(_, literal)| *literal);
            assert_eq!(pieces(command, support, streams), [(line.to_owned(), waits, client_waits)]);
        }
    }
}
