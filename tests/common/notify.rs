//! The other end of `NOTIFY_SOCKET`, in systemd's place.

use std::{
    collections::HashMap,
    fs, io,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Instant,
};

use procfs::process::Process;
use sendfd::RecvWithFd;
use tempfile::TempDir;

use super::proxy::DEADLINE;

/// Receives what a daemon tells systemd.
pub struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
    _dir: TempDir,
}

/// One message.
#[derive(Debug)]
pub struct Told {
    fields: HashMap<String, String>,
    /// The sockets that came with it: where they listen.
    pub sockets: Vec<SocketAddr>,
}

impl Notify {
    /// Listens.
    pub fn listen() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        Self { socket, path, _dir: dir }
    }

    /// The value for `NOTIFY_SOCKET`.
    pub fn path(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// The next message.
    pub fn next(&self) -> Told {
        self.receive().expect("a message")
    }

    /// What came and was not read yet. For when nobody tells anything any more.
    pub fn rest(&self) -> Vec<Told> {
        self.socket.set_nonblocking(true).expect("non-blocking");
        std::iter::from_fn(|| self.receive().ok()).collect()
    }

    /// The next message that has this field. Those before are dropped.
    pub fn wait(&self, field: &str) -> Told {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < DEADLINE, "{field} is not told");
            let told = self.next();
            if told.get(field).is_some() {
                return told;
            }
        }
    }

    fn receive(&self) -> io::Result<Told> {
        let mut bytes = [0; 4096];
        let mut fds = [0; 8];
        let (length, count) = self.socket.recv_with_fd(&mut bytes, &mut fds)?;
        let text = String::from_utf8_lossy(&bytes[..length]);
        let fields = text.lines().filter_map(|line| line.split_once('='));
        Ok(Told {
            fields: fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            sockets: fds[..count].iter().map(|fd| listens_on(*fd)).collect(),
        })
    }
}

impl Told {
    /// The value of a field.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// The text for `systemctl status`.
    pub fn status(&self) -> &str {
        self.get("STATUS").expect("a status")
    }
}

/// Where a socket of this process listens.
fn listens_on(fd: i32) -> SocketAddr {
    let link = fs::read_link(Path::new("/proc/self/fd").join(fd.to_string())).expect("open");
    let sockets = Process::myself().and_then(|this| this.tcp()).expect("/proc/self/net/tcp");
    let is_it = |inode: u64| link == Path::new(&format!("socket:[{inode}]"));
    let socket = sockets.iter().find(|socket| is_it(socket.inode)).expect("a TCP socket");
    socket.local_address
}
