//! The commands that the server has not answered yet.

use std::collections::VecDeque;

/// What an answer means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// LOGIN or AUTHENTICATE: OK means that the client is logged in.
    Login,
    /// Anything else.
    Other,
}

/// The tags that wait for an answer, oldest first. A tag may be in it twice.
#[derive(Debug)]
pub(super) struct Outstanding {
    queue: VecDeque<(Box<[u8]>, Purpose)>,
    bytes: usize,
    logins: usize,
    /// Lines without a proper tag, which no tagged answer can name.
    untagged: usize,
    limit: usize,
}

impl Outstanding {
    /// A few very long tags fill it like many short ones.
    const MAX_BYTES: usize = 64 * 1024;

    pub(super) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, logins: 0, untagged: 0, limit }
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.limit || self.bytes >= Self::MAX_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn is_single(&self) -> bool {
        self.queue.len() == 1
    }

    /// Whether a login is among them.
    pub(super) fn has_login(&self) -> bool {
        self.logins > 0
    }

    pub(super) fn push(&mut self, tag: Option<&[u8]>, purpose: Purpose) {
        let Some(tag) = tag else {
            self.untagged = self.untagged.saturating_add(1);
            return;
        };
        self.bytes += tag.len();
        self.logins += usize::from(purpose == Purpose::Login);
        self.queue.push_back((tag.into(), purpose));
    }

    /// Whether the latest of them has this tag: the one that is under way, if one is.
    pub(super) fn is_latest(&self, tag: &[u8]) -> bool {
        self.queue.back().is_some_and(|(waiting, _)| **waiting == *tag)
    }

    /// Takes out the oldest command with this tag.
    pub(super) fn settle(&mut self, tag: &[u8]) -> Option<Purpose> {
        let position = self.queue.iter().position(|(waiting, _)| **waiting == *tag)?;
        let (tag, purpose) = self.queue.remove(position)?;
        self.removed(&tag, purpose);
        Some(purpose)
    }

    /// Takes out a line without a proper tag or, if there is none, the oldest command: an untagged
    /// BAD may be all the answer it gets (RFC 9051 7.1.3). Returns whether it was such a line.
    pub(super) fn settle_by_untagged_bad(&mut self) -> bool {
        let was_untagged = self.untagged > 0;
        if was_untagged {
            self.untagged -= 1;
        } else if let Some((tag, purpose)) = self.queue.pop_front() {
            self.removed(&tag, purpose);
        }
        was_untagged
    }

    fn removed(&mut self, tag: &[u8], purpose: Purpose) {
        self.bytes -= tag.len();
        self.logins -= usize::from(purpose == Purpose::Login);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_and_go() {
        let mut outstanding = Outstanding::new(3);
        outstanding.push(Some(b"A"), Purpose::Login);
        outstanding.push(Some(b"B"), Purpose::Other);
        assert!(!outstanding.is_full() && outstanding.has_login());
        outstanding.push(Some(b"A"), Purpose::Other);
        assert!(outstanding.is_full());
        assert_eq!(outstanding.settle(b"C"), None);
        assert_eq!(outstanding.settle(b"A"), Some(Purpose::Login));
        assert!(!outstanding.has_login());
        assert_eq!(outstanding.settle(b"A"), Some(Purpose::Other));
        outstanding.push(Some(b"D"), Purpose::Login);
        outstanding.push(None, Purpose::Other);
        assert!(outstanding.settle_by_untagged_bad());
        assert!(!outstanding.settle_by_untagged_bad());
        assert_eq!(outstanding.settle(b"B"), None);
        assert_eq!(outstanding.settle(b"D"), Some(Purpose::Login));
        assert!(!outstanding.settle_by_untagged_bad());
        assert_eq!(outstanding.bytes, 0);
    }

    #[test]
    fn long_tags_count_by_their_bytes() {
        let mut outstanding = Outstanding::new(1000);
        outstanding.push(Some(&vec![b'A'; Outstanding::MAX_BYTES]), Purpose::Other);
        assert!(outstanding.is_full());
    }
}
