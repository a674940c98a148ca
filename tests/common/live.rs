//! Sessions in the middle of something, to see that they go on.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Instant,
};

use super::{
    bench::{GREETING, exchange, log_in},
    peer::{Peer, Server, client},
    proxy::DEADLINE,
    secrets::{SASL, sasl_plain},
};

const HALF: usize = 50_000;

/// What a session is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// In IDLE.
    Idle,
    /// The server has sent half of a literal.
    Fetch,
    /// The client has sent half of a literal.
    Append,
    /// The server waits for the client's half of AUTHENTICATE.
    Authenticate,
}

/// All of them.
pub const ALL: [Doing; 4] = [Doing::Idle, Doing::Fetch, Doing::Append, Doing::Authenticate];

/// A client and its connection at the server.
pub struct Live {
    client: Peer,
    server: Peer,
    doing: Doing,
}

impl Live {
    /// Connects through the proxy, and begins.
    pub fn begin(address: SocketAddr, server: &Server, doing: Doing) -> Self {
        Self::begin_with(client(address), server, doing)
    }

    /// As [`Live::begin`], for a client that is connected.
    pub fn begin_with(mut client: Peer, server: &Server, doing: Doing) -> Self {
        let mut server = server.accept();
        server.send(GREETING);
        client.expect(GREETING);
        match doing {
            Doing::Idle => exchange(&mut client, &mut server, b"A1 IDLE\r\n", b"+ idling\r\n"),
            Doing::Fetch => {
                let part = format!("* 1 FETCH (BODY[] {{{}}}\r\n{}", 2 * HALF, "f".repeat(HALF));
                exchange(&mut client, &mut server, b"A1 FETCH 1 BODY[]\r\n", part.as_bytes());
            }
            Doing::Append => {
                log_in(&mut client, &mut server);
                let announcement = format!("A1 APPEND INBOX {{{}}}\r\n", 2 * HALF);
                exchange(&mut client, &mut server, announcement.as_bytes(), b"+ go on\r\n");
                client.send("a".repeat(HALF));
                server.expect("a".repeat(HALF));
            }
            Doing::Authenticate => {
                exchange(&mut client, &mut server, b"A1 AUTHENTICATE PLAIN\r\n", b"+ \r\n");
            }
        }
        Self { client, server, doing }
    }

    /// Goes on for a while, and is in the middle of the same thing afterwards.
    pub fn go_on(&mut self) {
        if self.doing == Doing::Idle {
            self.server.send("* 7 EXISTS\r\n");
            self.client.expect("* 7 EXISTS\r\n");
        }
    }

    /// Comes to the proper end of what it is doing. Returns both sides.
    pub fn finish(mut self) -> (Peer, Peer) {
        self.go_on();
        let (client, server) = (&mut self.client, &mut self.server);
        match self.doing {
            Doing::Idle => exchange(client, server, b"DONE\r\n", b"A1 OK done\r\n"),
            Doing::Fetch => {
                let rest = format!("{})\r\nA1 OK done\r\n", "f".repeat(HALF));
                server.send(&rest);
                client.expect(&rest);
            }
            Doing::Append => {
                let rest = format!("{}\r\n", "a".repeat(HALF));
                exchange(client, server, rest.as_bytes(), b"A1 OK done\r\n");
            }
            Doing::Authenticate => {
                let response = format!("{}\r\n", sasl_plain(SASL));
                exchange(client, server, response.as_bytes(), b"A1 OK done\r\n");
            }
        }
        (self.client, self.server)
    }

    /// As [`Live::finish`], and then uses the session for one more command.
    pub fn survives(self) {
        let (mut client, mut server) = self.finish();
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// A port of 127.0.0.1 that nobody listens on. Each call gives another one, outside the range that
/// connections and port 0 take theirs from, so that nobody else takes it by chance.
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let start = process::id().wrapping_mul(101);
    loop {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + start.wrapping_add(call) % 20_000;
        let port = u16::try_from(port).expect("below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until nobody listens there any more.
pub fn refuses(address: SocketAddr) {
    let started = Instant::now();
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    while !TcpStream::connect_timeout(&address, DEADLINE).is_err_and(refused) {
        assert!(started.elapsed() < DEADLINE, "somebody listens on {address}");
        thread::yield_now();
    }
}
