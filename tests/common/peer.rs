//! Scripted peers: a client or a server that says and expects exact bytes.
//!
//! Every read and write has a deadline, so that nothing hangs.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection,
    pki_types::ServerName,
};
use socket2::{Domain, SockRef, Socket, Type};

pub use super::server::Server;
use super::{certs::certs, proxy::DEADLINE};

/// Connects as a client without TLS.
pub fn client(address: SocketAddr) -> Peer {
    Peer::plain(TcpStream::connect(address).expect("the proxy accepts"))
}

/// As [`client`], from another address of loopback.
pub fn client_from(own: &str, address: SocketAddr) -> Peer {
    let own: IpAddr = own.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(own, 0).into()).expect("an address of this host");
    socket.connect(&address.into()).expect("the proxy accepts");
    Peer::plain(socket.into())
}

/// Connects as a client, and does the TLS handshake.
pub fn tls_client(address: SocketAddr) -> Peer {
    client(address).start_tls()
}

/// Connects as a client of this kind, which asks for the server of this name.
pub fn tls_client_with(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: &str,
) -> io::Result<Peer> {
    client(address).start_tls_with(config, name)
}

/// Connects as a client, and upgrades by STARTTLS.
pub fn starttls_client(address: SocketAddr) -> Peer {
    client_before_tls(address).start_tls()
}

/// Connects as a client, and upgrades by STARTTLS up to the TLS handshake.
pub fn client_before_tls(address: SocketAddr) -> Peer {
    let mut client = client(address);
    client.expect_line_starting("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] proxy: ");
    client.send("tls STARTTLS\r\n");
    client.expect_line_starting("tls OK proxy: ");
    client
}

/// Sends from one end to the other, even more than the buffers between them hold.
#[track_caller]
pub fn transfer(from: &mut Peer, to: &mut Peer, bytes: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| from.send(bytes));
        to.expect(bytes);
    });
}

/// One end of a connection.
pub struct Peer {
    tcp: TcpStream,
    tls: Option<Connection>,
    /// Read, but not yet expected.
    ahead: Vec<u8>,
}

impl Peer {
    /// Does the TLS handshake as a client.
    pub fn start_tls(self) -> Self {
        self.start_tls_with(certs().client_config(), "localhost").expect("a TLS handshake")
    }

    /// The same as a client of this kind, which asks for the server of this name.
    pub fn start_tls_with(self, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(config, name).expect("a client");
        self.handshake(connection.into())
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.tcp.local_addr().expect("connected")
    }

    /// Does the TLS handshake of a client. This goes before it, in the same segment.
    pub fn tls_after(mut self, before: impl AsRef<[u8]>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut connection =
            ClientConnection::new(certs().client_config(), name).expect("a client");
        let mut segment = before.as_ref().to_vec();
        while connection.wants_write() {
            connection.write_tls(&mut segment).expect("encrypted");
        }
        self.send(segment);
        self.handshake(connection.into()).expect("a TLS handshake")
    }

    /// Reads these bytes from the socket, and not one more; then does the TLS handshake of a server.
    pub fn expect_and_tls(mut self, before: impl AsRef<[u8]>) -> Self {
        let mut read = vec![0; before.as_ref().len()];
        self.tcp.read_exact(&mut read).expect("what goes before TLS");
        assert_eq!(show(&read), show(before.as_ref()));
        self.start_tls_as_server(certs().server_config())
    }

    /// Does the TLS handshake as a server.
    pub fn start_tls_as_server(self, config: Arc<ServerConfig>) -> Self {
        let connection = ServerConnection::new(config).expect("a server");
        self.handshake(connection.into()).expect("a TLS handshake")
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write(bytes.as_ref()).expect("sent");
    }

    /// Sends each byte in a segment of its own.
    pub fn send_bytewise(&mut self, bytes: impl AsRef<[u8]>) {
        bytes.as_ref().iter().for_each(|byte| self.send([*byte]));
    }

    /// One that sends on the same connection, while this one listens. Without TLS only.
    pub fn speaker(&self) -> Self {
        assert!(self.tls.is_none(), "TLS has one state for both directions");
        Self::plain(self.tcp.try_clone().expect("a descriptor"))
    }

    /// Sends this and the end of the stream (over TLS: `close_notify`) in one segment.
    pub fn send_and_end(&mut self, bytes: impl AsRef<[u8]>) {
        let mut segment = Vec::new();
        match &mut self.tls {
            None => segment.extend(bytes.as_ref()),
            Some(tls) => {
                segment.extend(encrypt(tls, bytes.as_ref()));
                tls.send_close_notify();
                segment.extend(encrypt(tls, &[]));
            }
        }
        self.tcp.write_all(&segment).expect("sent");
        self.tcp.shutdown(Shutdown::Write).expect("shut down");
    }

    /// Sends this in segments of so many bytes, wherever that splits a TLS record.
    pub fn send_segments(&mut self, bytes: impl AsRef<[u8]>, size: usize) {
        let wire = match &mut self.tls {
            None => bytes.as_ref().to_vec(),
            Some(tls) => encrypt(tls, bytes.as_ref()),
        };
        wire.chunks(size).for_each(|segment| self.send_beneath_tls(segment));
    }

    /// Sends this in one segment, in TLS records of so many bytes.
    pub fn send_records(&mut self, bytes: impl AsRef<[u8]>, size: usize) {
        let tls = self.tls.as_mut().expect("TLS");
        let wire: Vec<_> =
            bytes.as_ref().chunks(size).flat_map(|part| encrypt(tls, part)).collect();
        self.send_beneath_tls(wire);
    }

    /// Sends this as it is, whatever the connection is protected by.
    pub fn send_beneath_tls(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).expect("sent");
    }

    /// Takes new keys for what is sent (RFC 8446 4.6.3), and asks the other side for the same.
    pub fn update_keys(&mut self) {
        self.tls.as_mut().expect("TLS").refresh_traffic_keys().expect("TLS 1.3");
        self.flush().expect("sent");
    }

    /// Sends TCP's urgent byte.
    pub fn send_urgent(&mut self, byte: u8) {
        SockRef::from(&self.tcp).send_out_of_band(&[byte]).expect("sent");
    }

    /// Ends the stream in the direction of the other side.
    pub fn shutdown_write(&mut self) {
        self.send_and_end([]);
    }

    /// Sends all of it, unless the other side has closed the connection.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.write(bytes.as_ref())
    }

    /// Sends as much of it as the other side takes before it closes the connection.
    pub fn send_in_vain(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.write(bytes.as_ref());
    }

    /// Sends until the other side has closed the connection.
    pub fn send_until_gone(&mut self, bytes: impl AsRef<[u8]>) {
        loop {
            match self.write(bytes.as_ref()) {
                Ok(()) => {}
                Err(error) => {
                    assert_ne!(
                        error.kind(),
                        ErrorKind::WouldBlock,
                        "the connection is still there"
                    );
                    return;
                }
            }
        }
    }

    /// Aborts the connection with a TCP reset.
    pub fn reset(self) {
        SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).expect("linger set");
    }

    /// The certificate that the other side showed, as DER.
    pub fn certificate(&self) -> Vec<u8> {
        let certificates = self.tls.as_ref().and_then(|tls| tls.peer_certificates());
        certificates.expect("TLS with a certificate")[0].to_vec()
    }

    /// Whether the TLS handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        let kind = self.tls.as_ref().and_then(|tls| tls.handshake_kind());
        kind.expect("TLS after its handshake") == HandshakeKind::Resumed
    }

    /// The next line, its line ending included.
    pub fn line(&mut self) -> Vec<u8> {
        let end = loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                break end + 1;
            }
            self.read_more("a line");
        };
        self.ahead.drain(..end).collect()
    }

    /// The next line, or `None` when the connection is gone.
    pub fn line_or_end(&mut self) -> Option<Vec<u8>> {
        while !self.ahead.contains(&b'\n') {
            if !matches!(self.read(), Ok(1..)) {
                return None;
            }
        }
        Some(self.line())
    }

    /// The next `n` bytes.
    pub fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.ahead.len() < n {
            self.read_more("more bytes");
        }
        // Quicker than a drain, which a debug build does byte by byte.
        let after = self.ahead.split_off(n);
        std::mem::replace(&mut self.ahead, after)
    }

    /// The next bytes must be these.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut checked = 0;
        loop {
            let n = self.ahead.len().min(expected.len());
            assert!(
                self.ahead[checked..n] == expected[checked..n],
                "expected {}\n but came {}",
                show(expected),
                show(&self.ahead)
            );
            if n == expected.len() {
                self.ahead.drain(..n);
                return;
            }
            checked = n;
            self.read_more(&show(expected));
        }
    }

    /// The next line must begin with this and end with CRLF. Returns it.
    #[track_caller]
    pub fn expect_line_starting(&mut self, start: impl AsRef<[u8]>) -> String {
        let start = start.as_ref();
        let line = self.line();
        let rest = line.strip_prefix(start).and_then(|rest| rest.strip_suffix(b"\r\n"));
        assert!(
            rest.is_some(),
            "expected a line that starts {}\n but came {}",
            show(start),
            show(&line)
        );
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Nothing has come that was not expected yet.
    #[track_caller]
    pub fn expect_nothing_so_far(&mut self) {
        self.tcp.set_nonblocking(true).expect("non-blocking");
        let read = self.read();
        self.tcp.set_nonblocking(false).expect("blocking");
        match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("expected nothing yet, but came {other:?} {}", show(&self.ahead)),
        }
        assert!(self.ahead.is_empty(), "expected nothing yet, but came {}", show(&self.ahead));
    }

    /// The stream must end here, properly: over TLS by `close_notify`.
    #[track_caller]
    pub fn eof(&mut self) {
        match self.read() {
            Ok(0) if self.ahead.is_empty() => {}
            other => panic!("expected the end, but came {other:?} {}", show(&self.ahead)),
        }
    }

    /// Waits until the connection is gone, in whatever way. What comes before is dropped.
    pub fn gone(&mut self) {
        self.gone_after_reading();
        self.ahead.clear();
    }

    fn gone_after_reading(&mut self) {
        loop {
            match self.read() {
                Ok(0) => return,
                Ok(_) => self.ahead.truncate(1000),
                Err(error) => {
                    let timed_out = error.kind() == ErrorKind::WouldBlock;
                    assert!(!timed_out, "the connection is still there");
                    return;
                }
            }
        }
    }

    /// Waits until the connection is gone; nothing must come before.
    #[track_caller]
    pub fn gone_without_a_word(&mut self) {
        self.gone_after_reading();
        assert!(self.ahead.is_empty(), "expected nothing, but came {}", show(&self.ahead));
    }

    /// Waits until the connection breaks, as by a TLS alert. Returns why.
    pub fn broken(&mut self) -> String {
        match self.read() {
            Ok(_) => panic!("expected no more, but came {}", show(&self.ahead)),
            Err(error) => error.to_string(),
        }
    }

    pub(super) fn plain(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        tcp.set_write_timeout(Some(DEADLINE)).expect("a deadline");
        tcp.set_nodelay(true).expect("no delay");
        Self { tcp, tls: None, ahead: Vec::new() }
    }

    pub(super) fn handshake(mut self, mut connection: Connection) -> io::Result<Self> {
        // Else rustls takes no more than 64 KiB at a time.
        connection.set_buffer_limit(None);
        while connection.is_handshaking() {
            connection.complete_io(&mut self.tcp)?;
        }
        self.tls = Some(connection);
        self.flush()?;
        Ok(self)
    }

    #[track_caller]
    fn read_more(&mut self, wanted: &str) {
        match self.read() {
            Ok(1..) => {}
            Ok(0) => panic!("the end came after {} instead of {wanted}", show(&self.ahead)),
            Err(error) => {
                panic!("{error} after {}, while waiting for {wanted}", show(&self.ahead))
            }
        }
    }

    /// Appends what comes next to `ahead`; 0 at the proper end.
    fn read(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16384];
        let n = match &mut self.tls {
            None => uninterrupted(|| self.tcp.read(&mut buffer))?,
            Some(tls) => loop {
                match tls.reader().read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        uninterrupted(|| tls.read_tls(&mut self.tcp))?;
                        tls.process_new_packets().map_err(io::Error::other)?;
                    }
                    result => break result?,
                }
            },
        };
        self.ahead.extend_from_slice(&buffer[..n]);
        Ok(n)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.tcp.write_all(bytes),
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                self.flush()
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            uninterrupted(|| tls.write_tls(&mut self.tcp))?;
        }
        Ok(())
    }
}

/// The TLS records of these bytes.
fn encrypt(tls: &mut Connection, bytes: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    tls.writer().write_all(bytes).expect("encrypted");
    while tls.wants_write() {
        tls.write_tls(&mut records).expect("encrypted");
    }
    records
}

/// With a deadline on the socket, a signal ends the call, even where it is restarted otherwise
/// (signal(7)).
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Bytes as a Rust byte string, shortened.
fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(500)];
    let rest = bytes.len() - cut.len();
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} bytes more") };
    format!("\"{}\"{rest}", cut.escape_ascii())
}
