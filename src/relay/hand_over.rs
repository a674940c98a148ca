//! Input that comes in a buffer of its own. Nothing is taken in for a peer that has not taken all that
//! came before: so one read is as much as waits for it, and what is data for the most part, or content of
//! a literal, changes hands with its buffer, without being copied.

use std::mem;

use bytes::{Buf, BytesMut};

use super::{Fault, Party, Relay, Tap};

impl<T: Tap> Relay<T> {
    /// Takes in all of `input` that the server sent, unless the client is to take something first.
    /// Returns whether it did.
    pub fn take_from_server(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        if input.is_empty() || !self.to_client.is_empty() {
            return Ok(false);
        }
        let passed = self.pass_data(input);
        if passed > input.len() - passed {
            mem::swap(input, &mut self.to_client);
            input.extend_from_slice(self.to_client.split_at(passed).1);
            self.to_client.truncate(passed);
            self.server_sent_after(0, input)?;
        } else {
            self.to_client.extend_from_slice(input.split_at(passed).0);
            self.server_sent_after(passed, input)?;
        }
        input.clear();
        Ok(true)
    }

    /// Takes in of `input` that the client sent as much as the state of the session allows. Returns
    /// whether that was anything.
    pub fn take_from_client(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        if input.is_empty() || !self.to_server.is_empty() || !self.takes_from_client() {
            return Ok(false);
        }
        if self.commands.take_content(input.len()) {
            self.tap.literal_bytes(Party::Client, input);
            mem::swap(input, &mut self.to_server);
            return Ok(true);
        }
        let taken = self.client_sent(input)?;
        consume(input, taken);
        Ok(taken > 0)
    }
}

/// Takes the first `count` bytes out of a buffer. One that is empty has all of its room again.
pub fn consume(buffer: &mut BytesMut, count: usize) {
    if count == buffer.len() {
        buffer.clear();
    } else {
        buffer.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Limits, Policy},
        *,
    };

    fn relay() -> Relay<()> {
        let mut relay = Relay::new(Limits::default(), Policy::default(), ());
        relay.server_sent(b"* PREAUTH [CAPABILITY IMAP4rev1 LITERAL+] hello\r\n").unwrap();
        relay.to_client().clear();
        relay
    }

    /// `bytes` in a buffer, and where that is.
    fn buffer(bytes: &[u8]) -> (BytesMut, *const u8) {
        let buffer = BytesMut::from(bytes);
        let at = buffer.as_ptr();
        (buffer, at)
    }

    #[test]
    fn content_is_not_copied() {
        let mut relay = relay();
        relay.server_sent(b"* 1 FETCH (BODY[] {10000}\r\n").unwrap();
        relay.client_sent(b"A APPEND x {10000+}\r\n").unwrap();
        relay.to_client().clear();
        relay.to_server().clear();
        let content = vec![b'x'; 9999];
        let (mut input, at) = buffer(&content);
        assert_eq!(relay.take_from_server(&mut input), Ok(true));
        assert!(input.is_empty());
        assert_eq!((relay.to_client().as_ptr(), &relay.to_client()[..]), (at, &content[..]));
        let (mut input, at) = buffer(&content);
        assert_eq!(relay.take_from_client(&mut input), Ok(true));
        assert!(input.is_empty());
        assert_eq!((relay.to_server().as_ptr(), &relay.to_server()[..]), (at, &content[..]));
        // The end of a literal, and what follows it.
        relay.to_client().clear();
        relay.to_server().clear();
        assert_eq!(relay.take_from_server(&mut BytesMut::from("x)\r\n* 2 EXISTS\r\n")), Ok(true));
        assert_eq!(relay.take_from_client(&mut BytesMut::from("x\r\nB NOOP\r\n")), Ok(true));
        assert_eq!(relay.to_client(), "x)\r\n* 2 EXISTS\r\n");
        assert_eq!(relay.to_server(), "x\r\nB NOOP\r\n");
        assert!(relay.responses.at_boundary() && relay.commands.is_idle());
    }

    #[test]
    fn data_is_neither_copied_nor_held() {
        let mut relay = relay();
        let (first, second) =
            ("* 1 FETCH (UID 7)\r\n".repeat(1000), "* 22 FETCH (UID 8)\r\n".repeat(1000));
        let all =
            format!("{first}* 1 FETCH (BODY[] {{5}}\r\n12345 UID 1)\r\n{second}A OK done\r\n");
        for cut in [first.len() - 3, first.len() + 30, all.len()] {
            let (begin, rest) = all.split_at(cut);
            let (mut input, at) = buffer(begin.as_bytes());
            assert_eq!(relay.take_from_server(&mut input), Ok(true));
            assert!(input.is_empty());
            assert_eq!(
                (relay.to_client().as_ptr(), &relay.to_client()[..]),
                (at, begin.as_bytes())
            );
            relay.to_client().clear();
            relay.server_sent(rest.as_bytes()).unwrap();
            assert_eq!(relay.to_client(), rest);
            assert!(relay.responses.at_boundary());
            relay.to_client().clear();
        }
        // What is not known to be data is held.
        assert_eq!(
            relay.take_from_server(&mut BytesMut::from("* 1 FETCH (UID 1)\r\n* ")),
            Ok(true)
        );
        assert_eq!(relay.to_client(), "* 1 FETCH (UID 1)\r\n");
        assert!(relay.responses.at_boundary());
    }

    #[test]
    fn an_answer_waits_for_the_end_of_one_message_only() {
        let mut relay = relay();
        let mut input = BytesMut::from("* 1 FETCH (BODY[] {4}\r\n1");
        assert_eq!(relay.take_from_server(&mut input), Ok(true));
        relay.client_sent(b"A COMPRESS DEFLATE\r\n").unwrap();
        relay.to_client().clear();
        let mut input = BytesMut::from("234)\r\n* 2 EXISTS\r\n* 3 EXISTS\r\n");
        assert_eq!(relay.take_from_server(&mut input), Ok(true));
        let got = String::from_utf8(relay.to_client().to_vec()).unwrap();
        let (before, after) = got.split_once("A NO [CANNOT] proxy: ").unwrap();
        assert_eq!(before, "234)\r\n");
        assert!(after.ends_with("\r\n* 2 EXISTS\r\n* 3 EXISTS\r\n"));
    }

    #[test]
    fn nothing_goes_behind_what_waits() {
        let mut relay = relay();
        relay.server_sent(b"* 1 FETCH (BODY[] {10}\r\n").unwrap();
        relay.client_sent(b"A APPEND x {9999+}\r\n").unwrap();
        let mut input = BytesMut::from("01234");
        assert_eq!(relay.take_from_server(&mut input), Ok(false));
        assert_eq!(relay.take_from_client(&mut input), Ok(false));
        assert_eq!(input, "01234");
        assert_eq!(relay.to_client(), "* 1 FETCH (BODY[] {10}\r\n");
        assert_eq!(relay.to_server(), "A APPEND x {9999+}\r\n");
    }

    #[test]
    fn what_has_to_wait_stays() {
        let mut relay = relay();
        assert_eq!(relay.take_from_client(&mut BytesMut::from("A IDLE\r\n")), Ok(true));
        let mut input = BytesMut::from("DONE\r\n");
        assert_eq!(relay.take_from_client(&mut input), Ok(false));
        assert_eq!(input, "DONE\r\n");
    }
}
