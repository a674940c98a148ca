//! Before a session's messages pass: what a client says before TLS goes nowhere, and of what the
//! server says nothing is lost.

#![no_main]

use imap_proxy::relay::{BeforeTls, Opening, Policy, Relay, Step};
use imap_proxy_fuzz::chunks::SMALL;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let [choice, size, said @ ..] = bytes {
        let size = 1 + usize::from(*size);
        client(said, size);
        server(said, size, choice & 1 == 1, choice & 2 == 2);
    }
});

/// A client that has to upgrade, in pieces of this size.
fn client(said: &[u8], size: usize) {
    let mut relay = Relay::new(SMALL, Policy::default(), ());
    relay.require_tls();
    for piece in said.chunks(size) {
        if relay.client_sent(piece).is_err() || relay.before_tls() != BeforeTls::Listen {
            break;
        }
    }
    assert!(relay.to_server().is_empty());
    for line in relay.to_client().split_inclusive(|byte| *byte == b'\n') {
        let by_proxy = line.windows(8).any(|window| window == b" proxy: ");
        assert!(by_proxy || line.starts_with(b"* CAPABILITY "), "{}", line.escape_ascii());
    }
}

/// A server, asked for STARTTLS and ID or not.
fn server(said: &[u8], size: usize, start_tls: bool, with_id: bool) {
    let mut opening = Opening::new(start_tls, with_id.then(|| b"NIL".to_vec()));
    let mut pieces = said.chunks(size);
    let mut taken = 0;
    while let Some(piece) = pieces.next() {
        taken += piece.len();
        match opening.server_sent(piece, &mut ()) {
            Ok(Step::Continue) => {}
            Ok(Step::Upgrade) => {
                assert!(start_tls);
                opening.upgraded(&mut ());
            }
            Ok(Step::Done(bytes)) => {
                // Without commands of the proxy's own it hands on all that came.
                assert!(start_tls || with_id || bytes == said[..taken]);
                assert!(bytes.len() <= taken + 200 && bytes.contains(&b'\n'));
                let mut relay = Relay::new(SMALL, Policy::default(), ());
                if relay.server_sent(&bytes).is_ok() {
                    let _ = relay.server_sent(&pieces.collect::<Vec<_>>().concat());
                }
                return;
            }
            Err(_) => return,
        }
    }
    assert!(taken <= 64 * 1024);
}
