//! A user's desk: a folder, and a mail account that a client reaches in one of several ways.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    common::{
        bench::{
            Encryption::{self, Insecure, StartTls, Tls},
            service_to,
        },
        certs::{CA, certs},
        proxy::Proxy,
        secrets::{ACCOUNT, USER},
        transcript::Transcript,
    },
    mail,
    server::{Kind, Server},
};

/// How a client reaches its server: not by the proxy, or with these two sides of it.
pub(crate) type Route = Option<(Encryption, Encryption)>;

/// All that are compared, the direct one first.
pub(crate) const ROUTES: [Route; 4] =
    [None, Some((Tls, Insecure)), Some((Insecure, Tls)), Some((StartTls, StartTls))];

/// What a client sees on a desk.
pub(crate) struct Desk {
    pub(crate) dir: TempDir,
    pub(crate) kind: Kind,
    /// Where the client is to connect, and how.
    pub(crate) address: SocketAddr,
    pub(crate) encryption: Encryption,
    _proxy: Option<Proxy>,
    server: Server,
}

impl Desk {
    pub(crate) fn new(kind: Kind, route: Route) -> Self {
        let server = Server::start(kind);
        let (address, encryption, proxy) = match route {
            None => (server.address(Insecure), Insecure, None),
            Some((bind, connect)) => {
                let port = server.address(connect).port();
                let proxy =
                    Proxy::start(&service_to("desk", bind, connect, port, "trace = \"full\""));
                (proxy.address("desk"), bind, Some(proxy))
            }
        };
        let dir = TempDir::new().expect("a folder");
        Self { dir, kind, address, encryption, _proxy: proxy, server }
    }

    /// The one of three words that says how the client is to protect its side.
    pub(crate) fn security<'a>(&self, plain: &'a str, starttls: &'a str, tls: &'a str) -> &'a str {
        match self.encryption {
            Insecure => plain,
            StartTls => starttls,
            Tls => tls,
        }
    }

    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }

    pub(crate) fn url(&self) -> String {
        let scheme = self.security("imap", "imap", "imaps");
        format!("{scheme}://127.0.0.1:{}", self.port())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Writes a file; returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.dir.path().join(name), text).expect("written");
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).expect("readable")
    }

    /// Makes a Maildir with these messages, as one that another program has filled.
    pub(crate) fn maildir(&self, name: &str, messages: &[&str]) -> String {
        for folder in ["cur", "new", "tmp"] {
            fs::create_dir_all(self.dir.path().join(name).join(folder)).expect("made");
        }
        for (number, message) in messages.iter().enumerate() {
            self.write(&format!("{name}/new/{number}.test"), &message.replace("\r\n", "\n"));
        }
        self.path(name)
    }

    /// The messages in a Maildir.
    pub(crate) fn in_maildir(&self, name: &str) -> Vec<String> {
        mail::in_maildir(Path::new(&self.path(name)))
    }

    /// A client of the server itself.
    pub(crate) fn direct(&self) -> Transcript {
        Transcript::login(self.server.address(Insecure), Insecure)
    }

    /// Has the server create a mailbox; returns what the server calls it.
    pub(crate) fn create(&self, name: &str) -> String {
        let name = self.kind.mailbox(name);
        ok(&self.direct().command(format!("CREATE {name}")));
        name
    }

    /// Has messages come to INBOX, not by the proxy.
    pub(crate) fn deliver(&self, messages: &[&str]) {
        let mut direct = self.direct();
        for message in messages {
            ok(&direct.append("INBOX", message));
        }
    }

    /// The messages in a mailbox, by the server itself.
    pub(crate) fn mailbox(&self, name: &str) -> Vec<String> {
        mail::in_mailbox(self.server.address(Insecure), &self.kind.mailbox(name))
    }

    /// A program that is given up after a while, and knows the account, but no config of ours.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["180", program])
            .env("HOME", self.dir.path())
            .env("TERM", "xterm")
            .env("IMAP_USER", USER)
            .env("IMAP_PASSWORD", ACCOUNT)
            .current_dir(self.dir.path());
        command
    }

    /// Runs a client to its end, which must be a good one; returns its output.
    pub(crate) fn run(&self, command: &mut Command) -> String {
        self.run_and(command, |_| {})
    }

    /// As [`Desk::run`], and does something upon lines of its output while it runs.
    pub(crate) fn run_and(&self, command: &mut Command, mut upon: impl FnMut(&str)) -> String {
        let errors = fs::File::create(self.dir.path().join("stderr")).expect("a file");
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().expect("it runs");
        let mut output = String::new();
        for line in BufReader::new(child.stdout.take().expect("piped")).split(b'\n') {
            let line = String::from_utf8_lossy(&line.expect("readable")).into_owned();
            upon(&line);
            output += &line;
            output.push('\n');
        }
        let status = child.wait().expect("a child");
        assert!(
            status.success(),
            "{:?}: {status}\n{output}{}",
            command.get_args().nth(1),
            String::from_utf8_lossy(&self.read("stderr"))
        );
        output
    }
}

fn ok(answer: &str) {
    assert!(answer.contains(" OK "), "the server says: {answer}");
}

/// The path of the CA's certificate.
pub(crate) fn ca() -> String {
    certs().dir.join(CA).display().to_string()
}
