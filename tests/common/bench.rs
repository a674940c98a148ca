//! A proxy between a scripted client and a scripted server.

use super::{
    certs::certs,
    peer::{self, Peer, Server},
    proxy::Proxy,
};

/// How one side is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    Insecure,
    /// TLS after STARTTLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

use Encryption::{Insecure, StartTls, Tls};

/// Each way to protect the client's and the server's side.
pub const COMBINATIONS: [(Encryption, Encryption); 9] = [
    (Insecure, Insecure),
    (Insecure, StartTls),
    (Insecure, Tls),
    (StartTls, Insecure),
    (StartTls, StartTls),
    (StartTls, Tls),
    (Tls, Insecure),
    (Tls, StartTls),
    (Tls, Tls),
];

/// A greeting without capabilities.
pub const GREETING: &str = "* OK ready\r\n";

/// A proxy with one service, and the server behind it.
pub struct Bench {
    /// The proxy.
    pub proxy: Proxy,
    /// The server.
    pub server: Server,
    bind: Encryption,
    connect: Encryption,
}

impl Bench {
    /// Without TLS on either side, and with the shipped limits.
    pub fn insecure() -> Self {
        Self::new(Insecure, Insecure, "")
    }

    /// With these encryptions, and with more keys for the service, one a line.
    pub fn new(bind: Encryption, connect: Encryption, keys: &str) -> Self {
        let server = match connect {
            Insecure => Server::listen(),
            StartTls => Server::listen_starttls(certs().server_config()),
            Tls => Server::listen_tls(certs().server_config()),
        };
        let proxy = Proxy::start(&service(bind, connect, &server, keys));
        Self { proxy, server, bind, connect }
    }

    /// With these encryptions, and with these keys for the listener and for the server, each with a
    /// comma behind it. The server never speaks TLS by itself.
    pub fn between(bind: Encryption, bind_keys: &str, connect: Encryption, keys: &str) -> Self {
        let server = Server::listen();
        let config = service(bind, connect, &server, "")
            .replacen("bind = { ", &format!("bind = {{ {bind_keys} "), 1)
            .replacen("connect = { ", &format!("connect = {{ {keys} "), 1);
        let proxy = Proxy::start(&config);
        Self { proxy, server, bind, connect }
    }

    /// As [`Bench::new`], for a config that shows secrets in the log.
    pub fn revealing(keys: &str) -> Self {
        let server = Server::listen();
        let proxy = Proxy::start_revealing(&service(Insecure, Insecure, &server, keys));
        Self { proxy, server, bind: Insecure, connect: Insecure }
    }

    /// One more client.
    pub fn client(&self) -> Peer {
        client(&self.proxy, self.bind)
    }

    /// One more client, and its connection at the server. Nothing was said yet.
    pub fn connect(&self) -> (Peer, Peer) {
        let client = self.client();
        (client, self.server.accept())
    }

    /// One more client, and its connection at the server, after [`GREETING`].
    pub fn session(&self) -> (Peer, Peer) {
        self.greeted(GREETING)
    }

    /// As [`Bench::session`], with a greeting that the proxy must leave as it is.
    pub fn greeted(&self, greeting: &str) -> (Peer, Peer) {
        let (mut client, mut server) = self.connect();
        self.greet(&mut client, &mut server, greeting);
        (client, server)
    }

    /// The server greets, or says after STARTTLS what it would have said in its greeting; the client
    /// sees it, or an own greeting of the proxy's.
    #[track_caller]
    pub fn greet(&self, client: &mut Peer, server: &mut Peer, greeting: &str) {
        if self.connect == StartTls {
            server.expect("proxy CAPABILITY\r\n");
            let code = greeting.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
            if let Some((list, _)) = code {
                server.send(format!("* {list}\r\n"));
            }
            server.send("proxy OK done\r\n");
        } else {
            server.send(greeting);
        }
        match (self.bind, self.connect) {
            // A client has its greeting before STARTTLS.
            (StartTls, _) => {}
            (_, StartTls) => drop(client.expect_line_starting("* OK ")),
            _ => client.expect(greeting),
        }
    }

    /// As [`Bench::session`], with these capabilities (all of which must pass) in the greeting.
    pub fn capable(&self, capabilities: &str) -> (Peer, Peer) {
        self.greeted(&format!("* OK [CAPABILITY {capabilities}] ready\r\n"))
    }

    /// The session is as usable as any, for commands that pass and for such as are refused, and
    /// another one is unharmed.
    #[track_caller]
    pub fn goes_on(&self, client: &mut Peer, server: &mut Peer) {
        exchange(client, server, b"Z1 NOOP\r\n", b"Z1 OK done\r\n");
        client.send("Z2 STARTTLS\r\n");
        client.expect_line_starting("Z2 BAD proxy: ");
        exchange(client, server, b"Z3 NOOP\r\n", b"Z3 OK done\r\n");
        self.serves_another();
    }

    /// Another session is unharmed.
    #[track_caller]
    pub fn serves_another(&self) {
        let (mut client, mut server) = self.session();
        exchange(&mut client, &mut server, b"Z1 NOOP\r\n", b"Z1 OK done\r\n");
    }
}

/// The one service's name.
pub const SERVICE: &str = "bench";

/// A config with one service, named [`SERVICE`], in front of the server.
pub fn service(bind: Encryption, connect: Encryption, server: &Server, keys: &str) -> String {
    service_to(SERVICE, bind, connect, server.address().port(), keys)
}

/// A service of that name, in front of whatever listens on that port of 127.0.0.1.
pub fn service_to(
    name: &str,
    bind: Encryption,
    connect: Encryption,
    port: u16,
    keys: &str,
) -> String {
    let identity = "identity = { type = \"CertificateChainAndLeafKey\", \
         certificate_chain_path = \"localhost.pem\", leaf_key_path = \"localhost-key.pem\" }";
    let bind = match bind {
        Insecure => "encryption = \"Insecure\"".to_owned(),
        StartTls => format!("encryption = \"StartTls\", {identity}"),
        Tls => format!("encryption = \"Tls\", {identity}"),
    };
    let connect = match connect {
        Insecure => "encryption = \"Insecure\"",
        StartTls => "encryption = \"StartTls\", ca_path = \"ca.pem\"",
        Tls => "encryption = \"Tls\", ca_path = \"ca.pem\"",
    };
    format!(
        "[[services]]\n\
         name = \"{name}\"\n\
         bind = {{ host = \"127.0.0.1\", port = 0, {bind} }}\n\
         connect = {{ host = \"127.0.0.1\", port = {port}, {connect} }}\n\
         {keys}\n"
    )
}

/// A client of the service named [`SERVICE`].
pub fn client(proxy: &Proxy, bind: Encryption) -> Peer {
    let address = proxy.address(SERVICE);
    match bind {
        Insecure => peer::client(address),
        StartTls => peer::starttls_client(address),
        Tls => peer::tls_client(address),
    }
}

/// The client is told why it ends, and then it ends properly.
#[track_caller]
pub fn told_bye(mut client: Peer) {
    client.expect_line_starting("* BYE proxy: ");
    client.eof();
}

/// Runs one exchange: a command, and what the server says to it, both unchanged.
#[track_caller]
pub fn exchange(client: &mut Peer, server: &mut Peer, command: &[u8], answer: &[u8]) {
    client.send(command);
    server.expect(command);
    server.send(answer);
    client.expect(answer);
}
