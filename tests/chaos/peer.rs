//! The client or the server of a session.

use std::{io, net::Ipv4Addr, sync::Arc};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::{
    script::{Last, Script},
    session::Slot,
    stream::{Chaos, Fate, Fault, Habits},
};
use crate::common::{
    bench::Encryption::{self, Insecure, StartTls},
    certs::certs,
    dice::Dice,
};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// One side: what it does, and what became of it.
pub(crate) struct Peer<'a> {
    pub(crate) side: Side,
    pub(crate) script: &'a Script,
    pub(crate) habits: Habits,
    dice: Dice,
    pub(crate) fate: Arc<Fate>,
    /// It has ended; at a server, a connection has.
    pub(crate) gone: CancellationToken,
    pub(crate) heard: Vec<u8>,
    pub(crate) ended: io::Result<()>,
}

impl<'a> Peer<'a> {
    pub(crate) fn new(side: Side, script: &'a Script, habits: Habits, dice: Dice) -> Self {
        Self {
            side,
            script,
            habits,
            dice,
            fate: Arc::default(),
            gone: CancellationToken::new(),
            heard: Vec::new(),
            ended: Ok(()),
        }
    }

    /// Is the client, from its beginning to its end. `other` is the server's end.
    pub(crate) async fn connect(
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
        self.ended = match client_stream(chaos, slot.bind).await {
            Ok(stream) => {
                opened.cancel();
                self.talk(stream).await
            }
            Err(error) => Err(error),
        };
        opened.cancel();
        self.gone.cancel();
    }

    /// Is the server. There may be none, when the client is gone too early.
    pub(crate) async fn serve(&mut self, slot: &Slot, client_gone: &CancellationToken) {
        self.ended = Err(io::ErrorKind::NotConnected.into());
        // Some may be for the clients of earlier sessions, which were gone: they say something else.
        let mut openings = JoinSet::new();
        let first = &self.script.rounds[0].client;
        let stream = loop {
            tokio::select! {
                accepted = slot.listener.accept() => {
                    let (tcp, _) = accepted.expect("the proxy connects");
                    let chaos = self.chaos(tcp, client_gone);
                    openings.spawn(server_stream(chaos, slot.connect, first.clone()));
                }
                Some(opened) = openings.join_next() => match opened.expect("no line is odd") {
                    Ok(opened) => break opened,
                    Err(_) => self.gone.cancel(),
                },
                () = client_gone.cancelled() => return,
            }
        };
        drop(openings);
        self.heard.extend(first);
        self.ended = self.talk(stream).await;
        self.gone.cancel();
    }

    fn chaos(&mut self, tcp: TcpStream, other: &CancellationToken) -> Chaos {
        let dice = Dice::new(self.dice.below(1 << 30) as u64);
        Chaos::new(tcp, dice, self.habits.clone(), other.clone(), Arc::clone(&self.fate))
    }

    /// Plays its part; when that fails by no fault of its own, hears the other one to the end.
    async fn talk(&mut self, mut stream: Box<dyn Stream>) -> io::Result<()> {
        let played = self.play(&mut stream).await;
        let deaf = self.fate.happened.is_cancelled()
            && self.habits.fault.is_some_and(|(_, fault)| fault != Fault::HalfClose);
        if played.is_err() && !deaf {
            let _ = stream.read_to_end(&mut self.heard).await;
        }
        played
    }

    async fn play(&mut self, stream: &mut Box<dyn Stream>) -> io::Result<()> {
        let script = self.script;
        let mut due = 0;
        for round in &script.rounds {
            let server = round.server.concat();
            let (say, hear) = match self.side {
                Side::Client => (&round.client, &server),
                Side::Server => (&server, &round.client),
            };
            due += hear.len();
            if round.crossing {
                let (mut reader, mut writer) = split(&mut *stream);
                let (heard, said) = tokio::join!(
                    listen(&mut reader, due, &mut self.heard),
                    speak(&mut writer, say)
                );
                heard.and(said)?;
            } else if self.side == Side::Client {
                speak(stream, say).await?;
                listen(stream, due, &mut self.heard).await?;
            } else {
                listen(stream, due, &mut self.heard).await?;
                speak(stream, say).await?;
            }
        }
        let says_goodbye = match script.last {
            Last::Client => self.side == Side::Client,
            Last::Server => self.side == Side::Server,
        };
        if says_goodbye {
            stream.shutdown().await?;
        }
        let end = listen(stream, due + 1, &mut self.heard).await;
        match end {
            Err(error) if error.kind() == io::ErrorKind::WriteZero => {}
            // A server that closes is not waited for.
            _ if says_goodbye && self.side == Side::Server => return Ok(()),
            end => return end,
        }
        if says_goodbye { Ok(()) } else { stream.shutdown().await }
    }
}

/// A client's way to where the script begins: the words before it, in which the proxy may have a
/// share, are no part of it.
async fn client_stream(mut chaos: Chaos, bind: Encryption) -> io::Result<Box<dyn Stream>> {
    if bind == StartTls {
        line(&mut chaos, b"* OK ").await?;
        speak(&mut chaos, b"S STARTTLS\r\n").await?;
        line(&mut chaos, b"S OK ").await?;
    }
    let mut stream: Box<dyn Stream> = if bind == Insecure {
        Box::new(chaos)
    } else {
        let name = ServerName::try_from("localhost").expect("a name");
        Box::new(TlsConnector::from(certs().client_config()).connect(name, chaos).await?)
    };
    if bind != StartTls {
        line(&mut stream, b"* OK ").await?;
    }
    Ok(stream)
}

/// A server's way to where the script begins, and through what the client says `first`.
async fn server_stream(
    mut chaos: Chaos,
    connect: Encryption,
    first: Vec<u8>,
) -> io::Result<Box<dyn Stream>> {
    if connect == StartTls {
        speak(&mut chaos, b"* OK ready\r\n").await?;
        line(&mut chaos, b"proxy STARTTLS").await?;
        speak(&mut chaos, b"proxy OK begin TLS\r\n").await?;
    }
    let mut stream: Box<dyn Stream> = if connect == Insecure {
        Box::new(chaos)
    } else {
        Box::new(TlsAcceptor::from(certs().server_config()).accept(chaos).await?)
    };
    if connect == StartTls {
        line(&mut stream, b"proxy CAPABILITY").await?;
        speak(&mut stream, b"* CAPABILITY IMAP4rev1 LITERAL+\r\nproxy OK done\r\n").await?;
    } else {
        speak(&mut stream, b"* OK [CAPABILITY IMAP4rev1 LITERAL+] ready\r\n").await?;
    }
    let mut heard = vec![0; first.len()];
    stream.read_exact(&mut heard).await?;
    if heard == first { Ok(stream) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Hears a line, which must begin with this, or be the proxy's goodbye.
async fn line(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> io::Result<()> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await?);
    }
    if line.starts_with(b"* BYE proxy: ") {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    assert!(line.starts_with(start), "what is {}?", line.escape_ascii());
    Ok(())
}

async fn speak(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Hears up to so many bytes in all. A proper end is [`io::ErrorKind::WriteZero`], for rustls has use of the
/// others.
async fn listen(
    stream: &mut (impl AsyncRead + Unpin),
    target: usize,
    heard: &mut Vec<u8>,
) -> io::Result<()> {
    while heard.len() < target {
        let left = (target - heard.len()) as u64;
        if (&mut *stream).take(left).read_buf(heard).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}
