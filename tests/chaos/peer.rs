//! The client or the server of a session.

use std::{io, net::Ipv4Addr, sync::Arc};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpSocket, TcpStream},
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
            Ok(stream) => self.talk(stream, slot, opened).await,
            Err(error) => Err(error),
        };
        opened.cancel();
        self.gone.cancel();
    }

    /// Is the server. There may be none, when the client is gone too early.
    pub(crate) async fn serve(&mut self, slot: &Slot, client_gone: &CancellationToken) {
        let opened = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                accepted = slot.listener.accept() => accepted,
                () = client_gone.cancelled() => return,
            };
            let (tcp, _) = accepted.expect("the proxy connects");
            let chaos = self.chaos(tcp, client_gone);
            self.ended = match server_stream(chaos, slot.connect).await {
                Ok(stream) => self.talk(stream, slot, &opened).await,
                Err(error) => Err(error),
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
        slot: &Slot,
        opened: &CancellationToken,
    ) -> io::Result<()> {
        let played = match self.greet(&mut stream, slot).await {
            Ok(()) => {
                opened.cancel();
                self.play(&mut stream).await
            }
            Err(error) => Err(error),
        };
        let deaf = self.fate.happened.is_cancelled()
            && self.habits.fault.is_some_and(|(_, fault)| fault != Fault::HalfClose);
        if played.is_err() && !deaf {
            let _ = stream.read_to_end(&mut self.heard).await;
        }
        played
    }

    /// The words in which the proxy may have a share: they are no part of the script.
    async fn greet(&self, stream: &mut Box<dyn Stream>, slot: &Slot) -> io::Result<()> {
        match (self.side, slot.bind, slot.connect) {
            (Side::Server, _, StartTls) => {
                line(stream, b"proxy CAPABILITY").await?;
                speak(stream, b"* CAPABILITY IMAP4rev1 LITERAL+\r\nproxy OK done\r\n").await
            }
            (Side::Server, ..) => speak(stream, b"* OK [CAPABILITY LITERAL+] ready\r\n").await,
            // It was greeted before STARTTLS.
            (Side::Client, StartTls, _) => Ok(()),
            (Side::Client, ..) => line(stream, b"* OK ").await,
        }
    }

    async fn play(&mut self, stream: &mut Box<dyn Stream>) -> io::Result<()> {
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

async fn client_stream(mut chaos: Chaos, bind: Encryption) -> io::Result<Box<dyn Stream>> {
    if bind == Insecure {
        return Ok(Box::new(chaos));
    }
    if bind == StartTls {
        line(&mut chaos, b"* OK ").await?;
        speak(&mut chaos, b"S STARTTLS\r\n").await?;
        line(&mut chaos, b"S OK ").await?;
    }
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(certs().client_config());
    Ok(Box::new(connector.connect(name, chaos).await?))
}

async fn server_stream(mut chaos: Chaos, connect: Encryption) -> io::Result<Box<dyn Stream>> {
    if connect == Insecure {
        return Ok(Box::new(chaos));
    }
    if connect == StartTls {
        speak(&mut chaos, b"* OK ready\r\n").await?;
        line(&mut chaos, b"proxy STARTTLS").await?;
        speak(&mut chaos, b"proxy OK begin TLS\r\n").await?;
    }
    Ok(Box::new(TlsAcceptor::from(certs().server_config()).accept(chaos).await?))
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
