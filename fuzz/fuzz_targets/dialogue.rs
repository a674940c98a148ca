//! A client and a server that keep to the rules, at any pace: every command gets one tagged answer,
//! the server hears each as it was said, and nothing stays under way.

#![no_main]

use arbitrary::Unstructured;
use bytes::{Buf, BytesMut};
use imap_proxy::relay::{Fault, Policy, Relay};
use imap_proxy_fuzz::{
    chunks::SMALL,
    peers::{Client, Server},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(server) = Server::new(&mut u) else { return };
    let relay = Relay::new(SMALL, Policy::default(), ());
    let mut dialogue = Dialogue { client: Client::default(), server, relay };
    if dialogue.run(&mut u).is_ok() {
        dialogue.client.check(&dialogue.server);
        assert!(dialogue.relay.is_idle());
    }
});

struct Dialogue {
    client: Client,
    server: Server,
    relay: Relay<()>,
}

impl Dialogue {
    fn run(&mut self, u: &mut Unstructured<'_>) -> Result<(), Fault> {
        while let Ok(action) = u.int_in_range(0..=5)
            && !u.is_empty()
        {
            let most = usize::from(u.arbitrary::<u8>().unwrap_or_default());
            match action {
                // They say nothing more when there are no decisions left.
                0 => drop(self.client.command(u)),
                1 => drop(self.server.pushes(u)),
                _ => drop(self.moves(action, most, u)?),
            }
        }
        let mut moved = true;
        while moved {
            moved = false;
            for action in 2..=5 {
                moved |= self.moves(action, usize::MAX, u)?;
            }
        }
        Ok(())
    }

    /// Moves at most so many bytes on one of the four ways. Returns whether there were any.
    fn moves(&mut self, way: u8, most: usize, u: &mut Unstructured<'_>) -> Result<bool, Fault> {
        let part = |bytes: &[u8]| bytes[..bytes.len().min(most)].to_vec();
        let bytes = match way {
            2 => {
                let bytes = part(&self.client.out);
                let mut input = BytesMut::from(&bytes[..]);
                let moved = self.relay.take_from_client(&mut input)?;
                self.client.out.drain(..bytes.len() - input.len());
                return Ok(moved);
            }
            3 => {
                let bytes = part(&self.server.out);
                let moved = self.relay.take_from_server(&mut BytesMut::from(&bytes[..]))?;
                if moved {
                    self.server.out.drain(..bytes.len());
                }
                return Ok(moved);
            }
            4 => {
                let bytes = part(self.relay.to_client());
                self.relay.to_client().advance(bytes.len());
                self.client.hears(&bytes);
                bytes
            }
            _ => {
                let bytes = part(self.relay.to_server());
                self.relay.to_server().advance(bytes.len());
                self.server.hears(&bytes, u);
                bytes
            }
        };
        Ok(!bytes.is_empty())
    }
}
