//! An IMAP server that has its answers ready, so that the proxy in front is what is measured.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use anyhow::{Context, Result};
use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime,
};

use crate::mail::{Bulk, FETCH_BODIES, FETCH_ENVELOPES, FETCH_FLAGS, MESSAGE};

/// Room for reading.
const CHUNK: usize = 256 * 1024;
/// With what some proxies ask for when it is not there.
const CAPABILITIES: &str = "IMAP4rev1 LITERAL+ SASL-IR ID IDLE UIDPLUS ENABLE";

/// Where a running stub listens; it runs as long as this program.
#[derive(Clone, Copy)]
pub struct Stub {
    pub imap: SocketAddr,
    /// Where nginx asks for the server of a user.
    pub auth_http: SocketAddr,
}

impl Stub {
    /// Starts it, in one thread of its own.
    pub fn start() -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let listen = || -> io::Result<TcpListener> {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            socket.listen(4096)
        };
        let (imap, auth_http) = (listen()?, listen()?);
        let stub = Self { imap: imap.local_addr()?, auth_http: auth_http.local_addr()? };
        let run = move || {
            runtime.spawn(accept(auth_http, move |stream| authorize(stream, stub.imap.port())));
            runtime.block_on(accept(imap, serve));
        };
        thread::Builder::new().name("stub".into()).spawn(run).context("a thread")?;
        Ok(stub)
    }
}

/// Serves each client. One that leaves in the middle is no fault of the stub: who counts notices.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
            Err(error) => eprintln!("stub: cannot accept: {error}"),
        }
    }
}

/// Tells nginx that each user lives here.
async fn authorize(mut stream: TcpStream, port: u16) -> io::Result<()> {
    let mut request = BytesMut::new();
    while memchr::memmem::find(&request, b"\r\n\r\n").is_none() {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let answer = format!(
        "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: {port}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await
}

async fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = Session { stream, input: BytesMut::new() };
    session.say(&format!("* OK [CAPABILITY {CAPABILITIES}] ready\r\n")).await?;
    while let Some(line) = session.line().await? {
        if !session.command(&line).await? {
            break;
        }
    }
    Ok(())
}

struct Session {
    stream: TcpStream,
    input: BytesMut,
}

impl Session {
    /// Answers a command. Returns whether the session goes on.
    async fn command(&mut self, line: &str) -> io::Result<bool> {
        let (tag, rest) = line.split_once(' ').unwrap_or((line, ""));
        let verb = rest.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let unchanged = self.literals(line, verb == "APPEND").await?;
        let ok = format!("{tag} OK done\r\n");
        match verb.as_str() {
            "FETCH" => {
                let known = [&*FETCH_BODIES, &*FETCH_FLAGS, &*FETCH_ENVELOPES];
                match known.into_iter().find(|bulk| bulk.command == rest) {
                    Some(Bulk { untagged, .. }) => self.say_all(untagged, ok).await?,
                    None => self.say(&format!("{tag} BAD no such data\r\n")).await?,
                }
            }
            "APPEND" if unchanged => {
                self.say(&format!("{tag} OK [APPENDUID 1 2] done\r\n")).await?;
            }
            "APPEND" => self.say(&format!("{tag} NO the message was changed\r\n")).await?,
            "CAPABILITY" => self.say(&format!("* CAPABILITY {CAPABILITIES}\r\n{ok}")).await?,
            "SELECT" => {
                let text = "* 10000 EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen \\Answered \\Flagged)\r\n\
                     * OK [UIDVALIDITY 1] valid\r\n";
                self.say(&format!("{text}{ok}")).await?;
            }
            "ID" => self.say(&format!("* ID NIL\r\n{ok}")).await?,
            "IDLE" => {
                self.say("+ idling\r\n").await?;
                let done = self.line().await?;
                let done = done.is_some_and(|line| line.eq_ignore_ascii_case("DONE"));
                self.say(&if done { ok } else { format!("{tag} BAD not DONE\r\n") }).await?;
            }
            "LOGOUT" => {
                self.say(&format!("* BYE done\r\n{ok}")).await?;
                return Ok(false);
            }
            "LOGIN" | "NOOP" | "ENABLE" => self.say(&ok).await?,
            _ => self.say(&format!("{tag} BAD unknown\r\n")).await?,
        }
        Ok(true)
    }

    /// Takes the literals of a command. Returns whether they were [`MESSAGE`], if they should be.
    async fn literals(&mut self, line: &str, is_message: bool) -> io::Result<bool> {
        let mut unchanged = true;
        let mut announced = literal(line);
        while let Some((length, waits)) = announced {
            if waits {
                self.say("+ go on\r\n").await?;
            }
            let mut taken = 0;
            while taken < length {
                if self.input.is_empty() && !self.fill(CHUNK).await? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let part = self.input.split_to(self.input.len().min(length - taken));
                let expected = MESSAGE.get(taken..taken + part.len());
                unchanged &= !is_message || expected == Some(&part);
                taken += part.len();
            }
            unchanged &= !is_message || length == MESSAGE.len();
            let rest = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            unchanged &= !is_message || rest.is_empty();
            announced = literal(&rest);
        }
        Ok(unchanged)
    }

    /// The next line, without its end. None at the end of the stream.
    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut seen = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input[seen..]) {
                let line = self.input.split_to(seen + end + 1);
                let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
                return Ok(Some(String::from_utf8_lossy(line).into_owned()));
            }
            seen = self.input.len();
            if !self.fill(1024).await? {
                return Ok(None);
            }
        }
    }

    async fn fill(&mut self, room: usize) -> io::Result<bool> {
        self.input.reserve(room);
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    async fn say_all(&mut self, untagged: &Bytes, tagged: String) -> io::Result<()> {
        let mut answer = untagged.clone().chain(Bytes::from(tagged));
        self.stream.write_all_buf(&mut answer).await
    }
}

/// The length of the literal that a line announces, and whether its sender waits for a `+`.
fn literal(line: &str) -> Option<(usize, bool)> {
    let (_, length) = line.strip_suffix('}')?.rsplit_once('{')?;
    let digits = length.strip_suffix('+');
    Some((digits.unwrap_or(length).parse().ok()?, digits.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, Target};

    #[test]
    fn what_it_is_sent_is_checked() -> Result<()> {
        let target = Target { address: Stub::start()?.imap, tls: None };
        let mut client = Client::log_in(&target, None)?;
        client.append(&MESSAGE)?;
        let mut changed = MESSAGE.to_vec();
        changed[MESSAGE.len() / 2] ^= 1;
        assert!(client.append(&changed).is_err());
        assert!(client.append(&MESSAGE[1..]).is_err());
        assert!(client.command("FETCH 1:9 (UID FLAGS)").is_err());
        for bulk in [&FETCH_BODIES, &FETCH_FLAGS, &FETCH_ENVELOPES] {
            client.fetch(bulk)?;
        }
        client.log_out()
    }
}
