//! The accept loop, and what to do when it cannot accept.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// The wait after a failure that only time mends; doubles up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a failed accept means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// That one connection is gone; the next may be fine.
    Connection,
    /// Something ran out; what the administrator can do about it.
    Exhausted(&'static str),
    /// Anything else.
    Other,
}

/// Hands every client to `serve`, which must not block.
pub(super) async fn run(
    listener: &TcpListener,
    address: SocketAddr,
    serve: impl Fn(TcpStream, SocketAddr),
) -> Infallible {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((socket, client)) => {
                pause = SHORTEST_PAUSE;
                serve(socket, SocketAddr::new(client.ip().to_canonical(), client.port()));
            }
            Err(error) => match classify(&error) {
                Failure::Connection => {
                    tracing::debug!(%address, %error, "a client left before accept");
                }
                failure => {
                    // Said when it begins, and then at the longest pause at most once a second.
                    if let Failure::Exhausted(remedy) = failure {
                        tracing::error!(%address, fault = "proxy", %error, "cannot accept clients: {remedy}");
                    } else {
                        tracing::error!(%address, fault = "proxy", %error, "cannot accept clients");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
        }
    }
}

/// The classes of accept(2)'s errors.
fn classify(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::EMFILE) => Failure::Exhausted(
            "too many open files: raise LimitNOFILE= of the unit (or ulimit -n), or lower limits.connections",
        ),
        Some(libc::ENFILE) => {
            Failure::Exhausted("the system has too many open files: raise the sysctl fs.file-max")
        }
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            Failure::Exhausted("out of memory: raise MemoryMax= of the unit, or add memory")
        }
        // Errors of the network that Linux reports through accept.
        Some(
            libc::ECONNABORTED
            | libc::EINTR
            | libc::EAGAIN
            | libc::EPERM
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENONET
            | libc::EOPNOTSUPP,
        ) => Failure::Connection,
        _ => Failure::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let class = |code| classify(&io::Error::from_raw_os_error(code));
        assert_eq!(class(libc::ECONNABORTED), Failure::Connection);
        assert!(
            matches!(class(libc::EMFILE), Failure::Exhausted(remedy) if remedy.contains("LimitNOFILE"))
        );
        assert!(
            matches!(class(libc::ENFILE), Failure::Exhausted(remedy) if remedy.contains("fs.file-max"))
        );
        assert_eq!(class(libc::EBADF), Failure::Other);
    }
}
