//! Input that comes in a buffer of its own. Nothing is taken in for a peer that has not taken all that
//! came before: so one read is as much as waits for it, and what is all content of a literal changes
//! hands with its buffer, without being copied.

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
        if self.responses.take_content(input.len()) {
            self.tap.literal_bytes(Party::Server, input);
            mem::swap(input, &mut self.to_client);
        } else {
            self.server_sent(input)?;
            input.clear();
        }
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
        input.advance(taken);
        Ok(taken > 0)
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
