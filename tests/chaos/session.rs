//! One session between two scripted peers, of which one may break.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::{
    script::{Last, Script},
    stream::{Chaos, FAULTS, Fate, Fault, HELD_OUT, Habits},
};
use crate::common::{bench::Encryption, certs::certs, dice::Dice};

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

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// One side: what it does, and what became of it.
struct Peer<'a> {
    side: Side,
    script: &'a Script,
    habits: Habits,
    dice: Dice,
    fate: Arc<Fate>,
    /// It has ended; at a server, a connection has.
    gone: CancellationToken,
    heard: Vec<u8>,
    ended: io::Result<()>,
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
    let script = Script::new(&mut dice, piece < 100, login);
    let client_breaks = dice.one_in(2);
    let mut peer = |side, breaks: bool| Peer {
        side,
        script: &script,
        habits: Habits { piece, fault: fault.filter(|_| breaks) },
        dice: Dice::new(seed ^ dice.below(1 << 30) as u64),
        fate: Arc::default(),
        gone: CancellationToken::new(),
        heard: Vec::new(),
        ended: Ok(()),
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
        assert!(!(held_out && has_other), "{about}: no deadline ended the stall");
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
        let line_ends = rest.iter().filter(|byte| **byte == b'\n').count();
        said == &whole[..end]
            && (BYE.starts_with(rest) || rest.starts_with(BYE))
            && (line_ends == 0 || line_ends == 1 && rest.ends_with(b"\r\n"))
    })
}

fn show(bytes: &[u8]) -> String {
    let end = bytes.len().saturating_sub(200);
    format!("...{}", bytes[end..].escape_ascii())
}

impl Peer<'_> {
    async fn connect(
        &mut self,
        slot: &Slot,
        other: &CancellationToken,
        opened: &CancellationToken,
    ) {
        // An address of its own, as if it were somebody else each time.
        let [_, a, b, c] = self.dice.below(1 << 24).to_be_bytes()[4..] else { unreachable!() };
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::new(127, a, b, c), 0).into()).expect("a loopback address");
        let tcp = socket.connect(slot.address).await.expect("the proxy accepts");
        let chaos = self.chaos(tcp, other);
        self.ended = match slot.bind {
            Encryption::Insecure => self.talk(Box::new(chaos), opened).await,
            Encryption::Tls => {
                let name = ServerName::try_from("localhost").expect("a name");
                match TlsConnector::from(certs().client_config()).connect(name, chaos).await {
                    Ok(stream) => self.talk(Box::new(stream), opened).await,
                    Err(error) => Err(error),
                }
            }
        };
        opened.cancel();
        self.gone.cancel();
    }

    async fn serve(&mut self, slot: &Slot, client_gone: &CancellationToken) {
        let opened = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                accepted = slot.listener.accept() => accepted,
                () = client_gone.cancelled() => return,
            };
            let (tcp, _) = accepted.expect("the proxy connects");
            let chaos = self.chaos(tcp, client_gone);
            self.ended = match slot.connect {
                Encryption::Insecure => self.talk(Box::new(chaos), &opened).await,
                Encryption::Tls => {
                    match TlsAcceptor::from(certs().server_config()).accept(chaos).await {
                        Ok(stream) => self.talk(Box::new(stream), &opened).await,
                        Err(error) => Err(error),
                    }
                }
            };
            self.gone.cancel();
            // The first to come may be for the client of an earlier session, which was gone.
            if !self.heard.is_empty() || self.fate.happened.is_cancelled() {
                return;
            }
        }
    }

    fn chaos(&mut self, tcp: TcpStream, other: &CancellationToken) -> Chaos {
        let dice = Dice::new(self.dice.below(1 << 30) as u64);
        Chaos::new(tcp, dice, self.habits.clone(), other.clone(), Arc::clone(&self.fate))
    }

    /// Plays its part; when that fails by no fault of its own, hears the other one to the end.
    async fn talk(
        &mut self,
        mut stream: Box<dyn Stream>,
        opened: &CancellationToken,
    ) -> io::Result<()> {
        let played = self.play(&mut stream, opened).await;
        let deaf = self.fate.happened.is_cancelled()
            && self.habits.fault.is_some_and(|(_, fault)| fault != Fault::HalfClose);
        if played.is_err() && !deaf {
            let _ = stream.read_to_end(&mut self.heard).await;
        }
        played
    }

    async fn play(
        &mut self,
        stream: &mut Box<dyn Stream>,
        opened: &CancellationToken,
    ) -> io::Result<()> {
        let script = self.script;
        for round in &script.rounds {
            let server = round.server.concat();
            let (say, hear) = match self.side {
                Side::Client => (&round.client, &server),
                Side::Server => (&server, &round.client),
            };
            if round.crossing {
                let (mut reader, mut writer) = split(&mut *stream);
                let (heard, said) = tokio::join!(
                    listen(&mut reader, hear.len(), &mut self.heard),
                    speak(&mut writer, say)
                );
                heard.and(said)?;
            } else if self.side == Side::Client {
                speak(stream, say).await?;
                listen(stream, hear.len(), &mut self.heard).await?;
            } else {
                listen(stream, hear.len(), &mut self.heard).await?;
                speak(stream, say).await?;
            }
            opened.cancel();
        }
        let says_goodbye = match script.last {
            Last::Client => self.side == Side::Client,
            Last::Server => self.side == Side::Server,
        };
        if says_goodbye {
            stream.shutdown().await?;
        }
        let end = listen(stream, 1, &mut self.heard).await;
        match end {
            Err(error) if error.kind() == io::ErrorKind::WriteZero => {}
            // A server that closes is not waited for.
            _ if says_goodbye && self.side == Side::Server => return Ok(()),
            end => return end,
        }
        if says_goodbye { Ok(()) } else { stream.shutdown().await }
    }
}

async fn speak(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Hears so many bytes. A proper end is [`io::ErrorKind::WriteZero`], for rustls has use of the
/// others.
async fn listen(
    stream: &mut (impl AsyncRead + Unpin),
    count: usize,
    heard: &mut Vec<u8>,
) -> io::Result<()> {
    let target = heard.len() + count;
    while heard.len() < target {
        let left = (target - heard.len()) as u64;
        if (&mut *stream).take(left).read_buf(heard).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}
