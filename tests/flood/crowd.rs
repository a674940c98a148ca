//! Thousands of peers that do nothing, or one byte a second.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConnection, pki_types::ServerName};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::interval,
};
use tokio_rustls::TlsConnector;

use super::host::{Stream, line};
use crate::common::{bench::Encryption, certs::certs};

/// Connections that do nothing.
pub(crate) const SILENT: usize = 5000;
/// Connections that send one byte a second.
pub(crate) const SLOW: usize = 200;

/// How far the peers of a crowd go before they fall silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The client has sent nothing of its TLS handshake.
    Connected,
    /// It has sent half of its `ClientHello`.
    Hello,
    /// The server does not greet.
    Greeting,
    /// The client has got the greeting, and then said this.
    Said(&'static str),
    /// It is logged in.
    LoggedIn,
    /// It does not read what it asked for.
    Reading,
}

/// The clients of a crowd. They leave when it is dropped.
pub(crate) struct Crowd {
    _tasks: JoinSet<()>,
}

impl Crowd {
    /// Comes together; all are in the phase when this returns.
    pub(crate) async fn gather(address: SocketAddr, bind: Encryption, phase: Phase) -> Self {
        // As many as a listening socket keeps waiting without any trouble.
        let entrance = Arc::new(Semaphore::new(64));
        let arrived = Arc::new(Semaphore::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..SILENT + SLOW {
            let permit = Arc::clone(&entrance).acquire_owned().await.expect("open");
            let arrived = Arc::clone(&arrived);
            tasks.spawn(async move {
                let (stream, rest) = arrive(number, address, bind, phase).await;
                drop(permit);
                arrived.add_permits(1);
                linger(stream, rest.filter(|_| number >= SILENT)).await;
            });
        }
        let all = u32::try_from(SILENT + SLOW).expect("a few thousand");
        tokio::select! {
            all = arrived.acquire_many(all) => drop(all.expect("open")),
            left = tasks.join_next() => panic!("one of the crowd left: {left:?}"),
        }
        Self { _tasks: tasks }
    }
}

/// Gets into the phase. Returns the stream, and what may be said next: nothing where it is the
/// server's turn.
async fn arrive(
    number: usize,
    address: SocketAddr,
    bind: Encryption,
    phase: Phase,
) -> (Box<dyn Stream>, Option<Vec<u8>>) {
    let tcp = connect(number, address, phase).await.expect("the proxy accepts");
    let hello = client_hello();
    let (first, rest) = hello.split_at(hello.len() / 2);
    match phase {
        Phase::Connected => return (Box::new(tcp), Some(hello)),
        Phase::Hello => return (send(tcp, first).await, Some(rest.to_vec())),
        _ => {}
    }
    let mut stream: Box<dyn Stream> = match bind {
        Encryption::Insecure | Encryption::StartTls => Box::new(tcp),
        Encryption::Tls => {
            let name = ServerName::try_from("localhost").expect("a name");
            let connector = TlsConnector::from(certs().client_config());
            Box::new(connector.connect(name, tcp).await.expect("a TLS handshake"))
        }
    };
    if phase == Phase::Greeting {
        return (stream, None);
    }
    line(&mut stream).await.expect("a greeting");
    match phase {
        Phase::Said(said) => {
            stream.write_all(said.as_bytes()).await.expect("sent");
            // As it would go on after a `+`.
            if said.ends_with("}\r\n") {
                line(&mut stream).await.expect("a continuation request");
                stream.write_all(b"al").await.expect("sent");
            }
        }
        Phase::LoggedIn => {
            stream.write_all(b"A1 LOGIN alice \"\"\r\n").await.expect("sent");
            line(&mut stream).await.expect("an answer");
        }
        Phase::Reading => stream.write_all(b"A1 FETCH 1 BODY[]\r\n").await.expect("sent"),
        Phase::Connected | Phase::Hello | Phase::Greeting => {}
    }
    // Forever the beginning of a command.
    (stream, Some(Vec::new()))
}

async fn connect(number: usize, address: SocketAddr, phase: Phase) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if phase == Phase::Reading {
        // So that it is the proxy that has to keep what is not read, not the kernel.
        socket.set_recv_buffer_size(4096)?;
    }
    // Few of them from each address.
    let host = u8::try_from(1 + number % 250).expect("below 251");
    let net = u8::try_from(1 + number / 250).expect("some twenty");
    socket.bind((Ipv4Addr::new(127, 0, net, host), 0).into())?;
    socket.connect(address).await
}

async fn send(mut tcp: TcpStream, bytes: &[u8]) -> Box<dyn Stream> {
    tcp.write_all(bytes).await.expect("sent");
    Box::new(tcp)
}

fn client_hello() -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(certs().client_config(), name).expect("a client");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("memory");
    hello
}

/// Does nothing, or sends a byte of `rest` (and then of anything) each second. Returns when the
/// proxy ends it.
async fn linger(mut stream: Box<dyn Stream>, rest: Option<Vec<u8>>) {
    let Some(rest) = rest else { return std::future::pending().await };
    let mut second = interval(Duration::from_secs(1));
    for byte in rest.into_iter().chain(std::iter::repeat(b'x')) {
        second.tick().await;
        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
