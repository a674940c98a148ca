//! The client's side of a session, and proof that all of it arrived.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use crate::{mail::Bulk, tls::Tls};

/// After so long without a byte, something is lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// Room for reading, at most.
const ROOM: usize = 512 * 1024;

/// Where to connect to.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// None: without TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// A session.
pub struct Client {
    stream: Stream,
    /// What came and was not used yet.
    input: Vec<u8>,
    commands: u32,
    /// Whether an answer was compared byte by byte.
    compared: bool,
}

impl Client {
    /// Connects, and reads the greeting.
    pub fn connect(target: &Target, from: Option<Ipv4Addr>) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        socket.connect(&target.address.into()).context("cannot connect")?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let stream = match &target.tls {
            None => Stream::Plain(socket, Vec::new()),
            Some(config) => {
                let tls = Tls::connect(socket, config.clone(), ROOM).context("no TLS")?;
                Stream::Tls(Box::new(tls))
            }
        };
        let mut client = Self { stream, input: Vec::new(), commands: 0, compared: false };
        let greeting = client.line()?;
        ensure!(greeting.starts_with("* OK"), "greeted with {greeting:?}");
        Ok(client)
    }

    /// As [`Client::connect`], and logs in.
    pub fn log_in(target: &Target, from: Option<Ipv4Addr>) -> Result<Self> {
        let mut client = Self::connect(target, from)?;
        client.command("LOGIN alice secret")?;
        Ok(client)
    }

    /// Sends a command, and reads all of its answer.
    pub fn command(&mut self, command: &str) -> Result<()> {
        let tag = self.tag();
        self.stream.write(format!("{tag} {command}\r\n").as_bytes())?;
        self.answer(&tag).with_context(|| command.to_owned())
    }

    /// Sends a command with a message in a literal. Returns the bytes that went.
    pub fn append(&mut self, message: &[u8]) -> Result<usize> {
        let tag = self.tag();
        let head = format!("{tag} APPEND INBOX {{{}+}}\r\n", message.len());
        self.stream.write(head.as_bytes())?;
        self.stream.write(message)?;
        self.stream.write(b"\r\n")?;
        self.answer(&tag).context("APPEND")?;
        Ok(head.len() + message.len() + 2)
    }

    /// Asks for much. Returns the bytes that came: as many as must, and with the right end. Those of
    /// the first answer are compared, too; to compare all would cost as much as to receive them.
    pub fn fetch(&mut self, bulk: &Bulk) -> Result<usize> {
        let tag = self.tag();
        self.stream.write(format!("{tag} {}\r\n", bulk.command).as_bytes())?;
        let tagged = format!("{tag} OK done\r\n");
        let (untagged, tagged) = (bulk.untagged.as_ref(), tagged.as_bytes());
        let total = untagged.len() + tagged.len();
        let (mut length, mut as_expected) = (0, true);
        let compare = !self.compared;
        while length < total {
            let got = self.stream.read(&mut |bytes| {
                for (part, offset, expected) in split(bytes, length, untagged, tagged) {
                    if compare || offset.is_none() {
                        as_expected &= part == expected;
                    }
                }
                length += bytes.len();
            })?;
            ensure!(got, "the connection ends after {length} of {total} bytes of an answer");
            ensure!(as_expected, "an answer was changed before its byte {length}");
        }
        ensure!(length == total, "{length} bytes instead of {total} in an answer");
        self.compared = true;
        Ok(total)
    }

    /// Says goodbye, and waits until the other side has closed.
    pub fn log_out(mut self) -> Result<()> {
        self.command("LOGOUT")?;
        let mut more = 0;
        while self.stream.read(&mut |bytes| more += bytes.len())? {}
        ensure!(more == 0 && self.input.is_empty(), "more comes after LOGOUT");
        Ok(())
    }

    fn tag(&mut self) -> String {
        self.commands += 1;
        format!("A{:07}", self.commands)
    }

    /// Reads up to the tagged answer, which must be OK.
    fn answer(&mut self, tag: &str) -> Result<()> {
        loop {
            let line = self.line()?;
            if let Some(status) = line.strip_prefix(tag) {
                ensure!(status.starts_with(" OK"), "the answer is{status}");
                return Ok(());
            }
            if !line.starts_with("* ") {
                bail!("not an answer to {tag}: {line:?}");
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let input = &mut self.input;
        loop {
            if let Some(end) = memchr::memchr(b'\n', input) {
                let line = input.drain(..=end).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            let got = self.stream.read(&mut |bytes| input.extend(bytes))?;
            ensure!(got, "the connection ends early");
        }
    }
}

/// The parts of `bytes`, which come after `length` bytes of an answer, in its untagged and in its
/// tagged half: with what they should be, and with where in the untagged half they are.
fn split<'a>(
    bytes: &'a [u8],
    length: usize,
    untagged: &'a [u8],
    tagged: &'a [u8],
) -> [(&'a [u8], Option<usize>, &'a [u8]); 2] {
    let within = untagged.len().saturating_sub(length).min(bytes.len());
    let (first, second) = bytes.split_at(within);
    let of_untagged = untagged.get(length..length + within).unwrap_or_default();
    let start = (length + within).saturating_sub(untagged.len());
    let end = tagged.len().min(start + second.len());
    [(first, Some(length), of_untagged), (second, None, tagged.get(start..end).unwrap_or_default())]
}

enum Stream {
    /// With room for reading.
    Plain(TcpStream, Vec<u8>),
    Tls(Box<Tls>),
}

impl Stream {
    /// Reads some bytes, which are all taken. Returns whether there were any: there are none at the
    /// end of the stream.
    fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        match self {
            Self::Plain(socket, room) => {
                if room.is_empty() {
                    room.resize(4096, 0);
                }
                let length = loop {
                    match socket.read(room) {
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        other => break other?,
                    }
                };
                take(&room[..length]);
                if length == room.len() && length < ROOM {
                    room.resize(2 * length, 0);
                }
                Ok(length > 0)
            }
            Self::Tls(tls) => tls.read(take),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket, _) => socket.write_all(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::BufRead as _, net::TcpListener, thread};

    use super::*;

    fn bulk() -> Bulk {
        Bulk { command: "FETCH 1:2 (FLAGS)".to_owned(), untagged: "* 1 FETCH\r\n".repeat(9).into() }
    }

    /// What a client makes of a server that greets, and gives these answers to its commands.
    fn fetch(answers: &[&str]) -> Result<usize> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let target = Target { address: listener.local_addr()?, tls: None };
        thread::scope(|scope| {
            scope.spawn(move || -> io::Result<()> {
                let (mut stream, _) = listener.accept()?;
                stream.write_all(b"* OK ready\r\n")?;
                let mut commands = io::BufReader::new(stream.try_clone()?).lines();
                for answer in answers {
                    commands.next().transpose()?;
                    stream.write_all(answer.as_bytes())?;
                }
                Ok(())
            });
            let mut client = Client::connect(&target, None)?;
            answers.iter().try_fold(0, |total, _| Ok(total + client.fetch(&bulk())?))
        })
    }

    #[test]
    fn what_is_lost_or_changed_is_noticed() {
        let untagged = "* 1 FETCH\r\n".repeat(9);
        let good = |n| format!("{untagged}A000000{n} OK done\r\n");
        assert_eq!(fetch(&[&good(1), &good(2)]).ok(), Some(good(1).len() + good(2).len()));

        let lost = good(1).replacen('*', "", 1);
        let more = good(1).replacen('*', "**", 1);
        let changed = good(1).replacen("1 FETCH", "2 FETCH", 1);
        let other_tag = good(2);
        let refused = format!("{untagged}A0000001 NO done\r\n");
        let behind = format!("{}.", good(1));
        for bad in [lost, more, changed, other_tag, refused, behind] {
            assert!(fetch(&[&bad]).is_err(), "{bad:?} passes");
        }
    }
}
