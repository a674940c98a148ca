//! Listening sockets: made here, or handed over by systemd.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
};

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::workers::{Worker, Workers};
use crate::config::HostPort;

/// Connections that the kernel holds for us between two accepts.
const BACKLOG: u32 = 1024;

/// A socket that listens.
pub struct Socket {
    /// Where it listens; the port is the real one even where the config says 0.
    pub address: SocketAddr,
    pub(super) listener: TcpListener,
    /// Who accepts from it.
    pub(super) worker: Worker,
}

impl Socket {
    /// Has the worker with the least to do accept from what is opened.
    fn open(workers: &Workers, open: impl FnOnce() -> io::Result<TcpListener>) -> io::Result<Self> {
        let worker = workers.least_busy();
        let _there = worker.runtime.enter();
        let listener = open()?;
        Ok(Self { address: listener.local_addr()?, listener, worker: worker.clone() })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// The addresses of a host and port of the config; at least one.
pub async fn resolve(HostPort { host, port }: &HostPort) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Listens on the first of the addresses that can be had.
pub fn listen(addresses: &[SocketAddr], workers: &Workers) -> io::Result<Socket> {
    Socket::open(workers, || first(addresses, listen_on))
}

/// Takes over a socket that listens already.
pub fn adopt(listener: std::net::TcpListener, workers: &Workers) -> io::Result<Socket> {
    listener.set_nonblocking(true)?;
    Socket::open(workers, || TcpListener::from_std(listener))
}

/// Whether a socket on `bound` takes the connections for `wanted`. A socket unit that names a port
/// alone listens on `[::]` for both families.
pub fn covers(bound: SocketAddr, wanted: SocketAddr) -> bool {
    bound == wanted
        || (bound.port() == wanted.port()
            && bound.is_ipv6()
            && bound.ip().is_unspecified()
            && wanted.ip().is_unspecified())
}

/// Whether [`listen`] could have one of the addresses. Takes no connection meanwhile, and is in
/// nobody's way: sockets that do not listen may share an address.
pub(super) fn try_bind(addresses: &[SocketAddr]) -> io::Result<()> {
    first(addresses, |address| bind(address).map(drop))
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of the past in TIME_WAIT must not keep us from the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What can be had of the first address where it can be had.
fn first<T>(addresses: &[SocketAddr], get: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match get(*address) {
            Ok(got) => return Ok(got),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_socket_for_both_families() {
        let covered =
            |bound: &str, wanted: &str| covers(bound.parse().unwrap(), wanted.parse().unwrap());
        assert!(covered("127.0.0.1:143", "127.0.0.1:143"));
        assert!(covered("[::]:143", "0.0.0.0:143"));
        assert!(covered("[::]:143", "[::]:143"));
        assert!(!covered("127.0.0.1:143", "127.0.0.1:993"));
        assert!(!covered("0.0.0.0:143", "127.0.0.1:143"));
        assert!(!covered("0.0.0.0:143", "[::]:143"));
    }

    #[test]
    fn a_try_is_in_nobodys_way() {
        let other = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = other.local_addr().unwrap();
        try_bind(&[address]).unwrap();
        let _listening = std::net::TcpListener::bind(address).unwrap();
        assert_eq!(try_bind(&[address]).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
