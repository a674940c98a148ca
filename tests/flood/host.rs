//! The server behind the proxy: it takes everybody, the crowd and the normal client.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::interval,
};

use super::crowd::{Phase, SILENT};

/// TCP, or TLS over it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What a client that does not read has the kernel keep.
const UNREAD: usize = 16 * 1024;
/// One in so many of them gets more than that: as much as anybody takes.
const FLOODED: usize = 250;

/// Serves all who come. Those that come while it `behaves` get all they ask for.
pub(crate) async fn host(listener: TcpListener, phase: Phase, behaves: Arc<AtomicBool>) {
    let mut number = 0;
    loop {
        let (tcp, _) = listener.accept().await.expect("the proxy connects");
        if behaves.load(Ordering::Relaxed) {
            tokio::spawn(serve(tcp, None));
        } else if phase == Phase::Greeting {
            tokio::spawn(greet_slowly(tcp, number >= SILENT));
            number += 1;
        } else {
            tokio::spawn(serve(tcp, Some(number)));
            number += 1;
        }
    }
}

/// Ends when the client does.
async fn serve(mut tcp: TcpStream, number: Option<usize>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.write_all(b"* OK ready\r\n").await?;
    loop {
        let command = line(&mut tcp).await?;
        let (tag, command) = command.split_once(' ').unwrap_or_default();
        if command.starts_with("LOGIN ") {
            tcp.write_all(format!("{tag} OK logged in\r\n").as_bytes()).await?;
        } else if command.starts_with("APPEND ") {
            tcp.write_all(b"+ go on\r\n").await?;
        } else if command.starts_with("FETCH ") {
            tcp.write_all(b"* 1 FETCH (BODY[] {1000000000}\r\n").await?;
            let body = [b'x'; UNREAD];
            tcp.write_all(&body).await?;
            while number.is_some_and(|number| number % FLOODED == 0) {
                tcp.write_all(&body).await?;
            }
        }
    }
}

/// Ends when the client does.
async fn greet_slowly(mut tcp: TcpStream, at_all: bool) -> io::Result<()> {
    let mut second = interval(Duration::from_secs(1));
    let mut greeting = b"* OK ".iter().chain(std::iter::repeat(&b'x'));
    let mut heard = [0; 64];
    loop {
        tokio::select! {
            _ = second.tick(), if at_all => {
                tcp.write_all(greeting.next().map(std::slice::from_ref).unwrap_or_default()).await?;
            }
            heard = tcp.read(&mut heard) => if heard? == 0 {
                return Ok(());
            }
        }
    }
}

/// The next line, its end included.
pub(crate) async fn line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
