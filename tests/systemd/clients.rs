//! IMAP clients: sessions that live long, and clients that come without pause.

use std::{
    io::{BufRead, BufReader, ErrorKind},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::{
    common::{
        bench::Encryption::{self, Insecure, StartTls, Tls},
        peer::{self, Peer},
        proxy::DEADLINE,
        secrets::{ACCOUNT, USER},
    },
    rig::eventually,
};

/// A session that is logged in.
pub struct Session(pub Peer);

impl Session {
    /// Connects and logs in.
    pub fn open(address: SocketAddr, encryption: Encryption) -> Self {
        let mut peer = match encryption {
            Insecure => peer::client(address),
            StartTls => peer::starttls_client(address),
            Tls => peer::tls_client(address),
        };
        // A client has its greeting before STARTTLS.
        if encryption != StartTls {
            peer.expect_line_starting("* OK");
        }
        let mut session = Self(peer);
        session.command(&format!("LOGIN {USER} {ACCOUNT}"));
        session
    }

    /// Runs a command, which must succeed.
    #[track_caller]
    pub fn command(&mut self, command: &str) {
        self.0.send(format!("A1 {command}\r\n"));
        self.finish();
    }

    /// Reads until the end of the command, which must succeed.
    #[track_caller]
    pub fn finish(&mut self) {
        self.wait_line("A1 ", "A1 OK");
    }

    /// Reads until a line with this beginning, which must have that beginning.
    #[track_caller]
    pub fn wait_line(&mut self, prefix: &str, expected: &str) {
        loop {
            let line = String::from_utf8_lossy(&self.0.line()).into_owned();
            if line.starts_with(prefix) {
                assert!(line.starts_with(expected), "expected {expected}, but came {line}");
                return;
            }
        }
    }

    /// Puts a message into the mailbox.
    pub fn append(&mut self, message: &[u8]) {
        self.0.send(format!("A1 APPEND INBOX {{{}}}\r\n", message.len()));
        self.wait_line("+", "+");
        self.0.send([message, b"\r\n"].concat());
        self.finish();
    }

    /// Begins IDLE.
    pub fn idle(&mut self) {
        self.command("SELECT INBOX");
        self.0.send("A1 IDLE\r\n");
        self.wait_line("+", "+");
    }

    /// Begins to fetch the first message, and reads no more than the start of it.
    pub fn begin_fetch(&mut self, message: &[u8]) {
        self.command("EXAMINE INBOX");
        self.0.send("A1 FETCH 1 BODY.PEEK[]\r\n");
        self.0.expect(format!("* 1 FETCH (BODY[] {{{}}}\r\n", message.len()));
    }

    /// Reads the rest of the message.
    pub fn end_fetch(&mut self, message: &[u8]) {
        self.0.expect(message);
        self.0.expect(")\r\n");
        self.finish();
    }

    /// Says goodbye, and hears the same.
    pub fn logout(mut self) {
        self.0.send("A1 LOGOUT\r\n");
        self.wait_line("* BYE", "* BYE");
        self.finish();
        self.0.eof();
    }
}

/// Clients that connect without pause, wait for the greeting, and leave.
pub struct Stream {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    greeted: AtomicUsize,
    refused: AtomicUsize,
}

impl Stream {
    /// Starts it. Returns once the first clients are greeted.
    pub fn to(address: SocketAddr) -> Self {
        const CLIENTS: usize = 4;
        let counts = Arc::new(Counts::default());
        let client = |_| {
            let counts = Arc::clone(&counts);
            thread::spawn(move || counts.connect_until_stopped(address))
        };
        let threads = (0..CLIENTS).map(client).collect();
        let stream = Self { counts, threads };
        stream.wait_greeted();
        stream
    }

    /// Waits until clients that connect from now on are greeted.
    #[track_caller]
    pub fn wait_greeted(&self) {
        let greeted = || self.counts.greeted.load(Ordering::Relaxed);
        let goal = greeted() + 100;
        eventually("greetings", || greeted() >= goal, || format!("{} of {goal}", greeted()));
    }

    /// How many were refused so far.
    pub fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Stops it. Returns how many connections were refused.
    pub fn stop(mut self) -> usize {
        self.end();
        self.refused()
    }

    fn end(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("no client failed otherwise");
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
    }
}

impl Counts {
    fn connect_until_stopped(&self, address: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            match TcpStream::connect(address) {
                Ok(tcp) => {
                    tcp.set_read_timeout(Some(DEADLINE)).expect("a deadline");
                    let mut line = String::new();
                    match BufReader::new(tcp).read_line(&mut line) {
                        Ok(_) if line.starts_with("* OK") => {
                            self.greeted.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            panic!("a client waits for the greeting in vain");
                        }
                        // Taken in, and then the proxy was stopped.
                        _ => {}
                    }
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Whether nobody listens there.
pub fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// The certificate that a TLS listener shows, in PEM.
pub fn shown_certificate(address: SocketAddr) -> String {
    let command =
        format!("openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509");
    let output = Command::new("sh").args(["-c", &command]).output().expect("a shell");
    assert!(output.status.success(), "no certificate is shown on {address}");
    String::from_utf8(output.stdout).expect("PEM")
}
