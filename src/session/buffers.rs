//! Buffers that the sessions of a thread share: whoever has nothing to read or to write has none.

use std::{cell::RefCell, mem};

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

/// Lets `read` fill the buffer, which has room only as long as something is in it.
pub(super) fn read<T>(buffer: &mut BytesMut, read: impl FnOnce(&mut BytesMut) -> T) -> T {
    lend(buffer);
    let result = read(buffer);
    give_back(buffer);
    result
}

/// Makes room for what one read may bring, if nothing is in the buffer.
pub(super) fn lend(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() < CAPACITY {
        let spare = BUFFERS.with_borrow_mut(Vec::pop);
        *buffer = spare.unwrap_or_else(|| BytesMut::with_capacity(CAPACITY));
    }
}

/// Takes the buffer away, if nothing is in it.
#[inline]
pub(super) fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > 0 {
        keep(mem::take(buffer));
    }
}

fn keep(mut buffer: BytesMut) {
    let has_room = buffer.capacity() >= CAPACITY || buffer.try_reclaim(CAPACITY);
    // One that had to grow, for a long line, is given up.
    if has_room && buffer.capacity() < 2 * CAPACITY {
        BUFFERS.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(buffer);
            }
        });
    }
}
