//! One session between two scripted peers, of which one may break.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    peer::{Peer, Side},
    script::Script,
    stream::{FAULTS, Fault, HELD_OUT, Habits},
};
use crate::common::{bench::Encryption, dice::Dice};

/// How long a session may take: the longest stall, one deadline more of the proxy's, and the rest.
const PATIENCE: Duration = HELD_OUT.saturating_mul(3);

/// A service of the proxy, and the server behind it. For one session at a time.
pub(crate) struct Slot {
    /// Where clients connect to.
    pub(crate) address: SocketAddr,
    /// How.
    pub(crate) bind: Encryption,
    /// The server's socket.
    pub(crate) listener: TcpListener,
    /// How the proxy connects to it.
    pub(crate) connect: Encryption,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It came to its end, and every byte arrived.
    Whole,
    /// A peer broke it.
    Broken(Fault),
}

/// Runs the session with this seed. Panics when a byte is wrong, or when it does not end.
pub(crate) async fn run(slot: &Slot, seed: u64, opening: &Semaphore) -> Outcome {
    let mut dice = Dice::new(seed);
    let piece = *dice.pick(&[3, 100, 1500, 100_000, 100_000]);
    let fault = (!dice.one_in(3)).then(|| {
        let range = *dice.pick(&[60, 3000, 50_000]);
        (dice.below(range), *dice.pick(&FAULTS))
    });
    let login = !fault.is_some_and(|(_, fault)| fault == Fault::Stall) && dice.one_in(2);
    let script = Script::new(seed, &mut dice, piece < 100, login);
    let client_breaks = dice.one_in(2);
    let mut peer = |side, breaks: bool| {
        let habits = Habits { piece, fault: fault.filter(|_| breaks) };
        Peer::new(side, &script, habits, Dice::new(seed ^ dice.below(1 << 30) as u64))
    };
    let (mut client, mut server) =
        (peer(Side::Client, client_breaks), peer(Side::Server, !client_breaks));
    let (client_gone, server_gone) = (client.gone.clone(), server.gone.clone());
    let broken = [client.fate.happened.clone(), server.fate.happened.clone()];

    let permit = opening.acquire().await.expect("open");
    let opened = CancellationToken::new();
    let both = async {
        tokio::join!(
            client.connect(slot, &server_gone, &opened),
            server.serve(slot, &client_gone),
            async {
                tokio::select! {
                    () = opened.cancelled() => {}
                    () = broken[0].cancelled() => {}
                    () = broken[1].cancelled() => {}
                }
                drop(permit);
            }
        )
    };
    let in_time = timeout(PATIENCE, both).await.is_ok();
    let about = format!("session {seed}, {:?}, {:?}, {fault:?}", slot.bind, slot.connect);
    assert!(in_time, "{about}, by client: {client_breaks}: does not end");
    judge(&about, &client, &server)
}

/// Whether both sides heard what they should have.
fn judge(about: &str, client: &Peer<'_>, server: &Peer<'_>) -> Outcome {
    let (to_client, to_server) = (client.script.server(), client.script.client());
    assert!(
        to_client.starts_with(&client.heard) || is_cut_by_bye(client.script, &client.heard),
        "{about}: the client heard {}",
        show(&client.heard)
    );
    for peer in [client, server] {
        let held_out = peer.fate.held_out.load(Ordering::Relaxed);
        let other = if peer.side == Side::Client { server } else { client };
        let has_other = other.side == Side::Client || !other.heard.is_empty();
        // A client that says nothing more after LOGOUT has a minute for its server to close.
        let over = client.heard == to_client;
        assert!(over || !(held_out && has_other), "{about}: no deadline ended the stall");
        if let Some((_, fault)) = peer.habits.fault
            && peer.fate.happened.is_cancelled()
        {
            return Outcome::Broken(fault);
        }
    }
    assert!(
        client.ended.is_ok() && server.ended.is_ok(),
        "{about}: nobody broke it, and yet {:?}, {:?}: the client heard {} of {} bytes, {}",
        client.ended,
        server.ended,
        client.heard.len(),
        to_client.len(),
        show(&client.heard)
    );
    assert!(client.heard == to_client && server.heard == to_server, "{about}: not whole");
    Outcome::Whole
}

/// Whether it is what the server said up to the end of a message, and then the line by which the
/// proxy says why it ends, or as much of it as the client took.
fn is_cut_by_bye(script: &Script, heard: &[u8]) -> bool {
    const BYE: &[u8] = b"* BYE proxy: ";
    let whole = script.server();
    script.boundaries().any(|end| {
        let Some((said, rest)) = heard.split_at_checked(end) else { return false };
        let line_end = rest.iter().position(|byte| *byte == b'\n');
        said == &whole[..end]
            && (BYE.starts_with(rest) || rest.starts_with(BYE))
            && line_end.is_none_or(|at| at + 1 == rest.len())
    })
}

fn show(bytes: &[u8]) -> String {
    let end = bytes.len().saturating_sub(200);
    format!("...{}", bytes[end..].escape_ascii())
}
