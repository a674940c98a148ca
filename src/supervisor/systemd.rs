//! What the supervisor tells systemd, and the sockets that it gets back from there.

use std::{
    env, io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::fd::AsFd,
    time::Duration,
};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::service::covers;

/// How our sockets are named in the file descriptor store, before the address.
const STORED: &str = "listen-";
/// How often the status is brought up to date, if there is no watchdog that asks more often.
const STATUS_PERIOD: Duration = Duration::from_secs(10);

/// A listening socket that was there before us.
#[derive(Debug)]
struct Socket {
    address: SocketAddr,
    name: String,
    listener: TcpListener,
}

/// Sockets from socket activation, and those that an earlier run left in the store.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<Socket>,
    problems: Vec<String>,
}

impl Inherited {
    /// Takes what systemd passed on (`sd_listen_fds(3)`).
    pub(super) fn from_env() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for (index, name) in (0..passed.len()).zip(names.split(':').chain(std::iter::repeat(""))) {
            let listener = passed.take_tcp_listener(index);
            let socket = listener.and_then(|listener| {
                listener
                    .map(|listener| {
                        Ok(Socket {
                            address: listener.local_addr()?,
                            name: name.to_owned(),
                            listener,
                        })
                    })
                    .transpose()
            });
            match socket {
                Ok(Some(socket)) => inherited.sockets.push(socket),
                Ok(None) => {}
                Err(error) => inherited
                    .problems
                    .push(format!("what systemd passed as {name:?} is no TCP listener: {error}")),
            }
        }
        inherited
    }

    /// The socket that listens on one of these addresses. They are matched by address: their
    /// order changes between starts.
    pub(super) fn take(&mut self, addresses: &[SocketAddr]) -> Option<TcpListener> {
        let wanted =
            |socket: &Socket| addresses.iter().any(|address| covers(socket.address, *address));
        let position = self.sockets.iter().position(wanted)?;
        Some(self.sockets.remove(position).listener)
    }

    /// Gives up what no service asked for.
    pub(super) fn release(&mut self) {
        for problem in self.problems.drain(..) {
            tracing::warn!(fault = "proxy", "{problem}");
        }
        for socket in self.sockets.drain(..) {
            if socket.name.starts_with(STORED) {
                unstore(&socket.name);
            } else {
                tracing::warn!(
                    fault = "proxy",
                    "systemd listens on {} ({}), but no service does: stop that socket unit, or add a service",
                    socket.address,
                    socket.name
                );
            }
        }
    }
}

/// Has systemd keep a listening socket, so that neither restart nor crash refuses a connection.
pub(super) fn store(address: SocketAddr, listener: &impl AsFd) {
    let state = [NotifyState::FdStore, NotifyState::FdName(&name(address))];
    tell_with(|| sd_notify::notify_with_fds(&state, &[listener.as_fd()]));
}

/// Has systemd close a socket that nobody listens to any more.
pub(super) fn forget(address: SocketAddr) {
    unstore(&name(address));
}

fn unstore(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// The name in the store. A colon would end it.
fn name(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.to_string().replace(':', "_"),
    };
    format!("{STORED}{ip}-{}", address.port())
}

/// Whether systemd (or anything like it) listens to us.
pub(super) fn is_there() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// How often the supervisor has to show that it is alive.
pub(super) fn tick_period() -> Duration {
    sd_notify::watchdog_enabled().map_or(STATUS_PERIOD, |limit| (limit / 2).min(STATUS_PERIOD))
}

pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

pub(super) fn reloading() {
    // The time stamp is what Type=notify-reload asks for; Type=notify takes it or leaves it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub(super) fn alive(status: &str) {
    tell(&[NotifyState::Watchdog, NotifyState::Status(status)]);
}

/// The stop may take as long as `limit`, whatever `TimeoutStopSec=` says.
pub(super) fn stopping(status: &str, limit: Duration) {
    let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status(status),
        NotifyState::ExtendTimeoutUsec(limit),
    ]);
}

fn tell(state: &[NotifyState<'_>]) {
    tell_with(|| sd_notify::notify(state));
}

/// Without systemd nothing is said, and that is fine.
fn tell_with(say: impl Fn() -> io::Result<()>) {
    if let Err(error) = say() {
        tracing::warn!(fault = "proxy", %error, "cannot talk to systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_colon() {
        assert_eq!(name("127.0.0.1:143".parse().unwrap()), "listen-127.0.0.1-143");
        assert_eq!(name("[::1]:993".parse().unwrap()), "listen-__1-993");
    }
}
