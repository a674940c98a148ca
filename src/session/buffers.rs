//! Buffers that the sessions of a thread share: whoever has nothing to read or to write has none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Room for one read, in bytes: four TLS records.
pub(super) const READ_SIZE: usize = 64 * 1024;
/// Buffers that wait on a thread for the next session.
const SPARE: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Makes room for one read.
pub(super) fn lend(buffer: &mut BytesMut) {
    if buffer.capacity() == 0
        && let Some(spare) = BUFFERS.with_borrow_mut(Vec::pop)
    {
        *buffer = spare;
    }
    buffer.reserve(READ_SIZE);
}

/// Takes the buffer away, if it is empty.
pub(super) fn give_back(buffer: &mut BytesMut) {
    if !buffer.is_empty() {
        return;
    }
    let mut buffer = std::mem::take(buffer);
    // One that grew is given up: it was for a peer that is slow.
    if buffer.try_reclaim(READ_SIZE) && buffer.capacity() <= 2 * READ_SIZE {
        BUFFERS.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(buffer);
            }
        });
    }
}
