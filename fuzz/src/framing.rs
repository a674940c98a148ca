//! Where messages end, as imap-codec sees it.

use imap_codec::fragmentizer::{FragmentInfo, Fragmentizer};

/// Cuts bytes into messages, and says where each line of a message would announce its last literal
/// although it is text, by `is_text` of the message's first line.
pub fn messages(bytes: &[u8], is_text: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let mut fragmentizer = Fragmentizer::without_max_message_size();
    fragmentizer.enqueue_bytes(bytes);
    let mut messages = Vec::new();
    while let Some(fragment) = fragmentizer.progress() {
        let is_line = matches!(fragment, FragmentInfo::Line { .. });
        let is_first = fragment.range().start == 0;
        if is_line && is_first && is_text(fragmentizer.message_bytes()) {
            messages.push(fragmentizer.message_bytes().to_vec());
            if !fragmentizer.is_message_complete() {
                fragmentizer.skip_message();
            }
        } else if fragmentizer.is_message_complete() {
            messages.push(fragmentizer.message_bytes().to_vec());
        }
    }
    messages
}
