//! Buffers that the sessions of a thread share: whoever has nothing to read or to write has none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes of one read at most: three TLS records.
pub(super) const READ_SIZE: usize = 48 * 1024;
/// With room for the line that a read before began.
const CAPACITY: usize = READ_SIZE + 16 * 1024;
/// Buffers that wait on a thread for the next session.
const SPARE: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Makes room for one read, if nothing is in the buffer.
pub(super) fn lend(buffer: &mut BytesMut) {
    if !buffer.is_empty() {
        return;
    }
    if buffer.capacity() == 0
        && let Some(spare) = BUFFERS.with_borrow_mut(Vec::pop)
    {
        *buffer = spare;
    }
    buffer.reserve(CAPACITY);
}

/// Takes the buffer away, if nothing is in it.
pub(super) fn give_back(buffer: &mut BytesMut) {
    if !buffer.is_empty() {
        return;
    }
    let mut buffer = std::mem::take(buffer);
    // One that had to grow, for a long line, is given up.
    if buffer.try_reclaim(CAPACITY) && buffer.capacity() < 2 * CAPACITY {
        BUFFERS.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(buffer);
            }
        });
    }
}
