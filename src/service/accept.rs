//! The accept loop, and what to do when it cannot accept.

use std::{convert::Infallible, future::poll_fn, io, net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, time::sleep};

use super::{
    listen::Socket,
    workers::{Worker, Workers},
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

/// Hands every client to `serve`, which must not block, with the worker that it is to live on.
pub(super) async fn run(
    Socket { address, listener, .. }: &Socket,
    workers: &Workers,
    serve: impl Fn(TcpStream, SocketAddr, &Worker),
) -> Infallible {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accepted = poll_fn(|cx| {
            let worker = workers.least_busy();
            // The connection belongs to the runtime that is entered.
            let _there = worker.runtime.enter();
            listener.poll_accept(cx).map_ok(|(socket, client)| (socket, client, worker))
        });
        match accepted.await {
            Ok((socket, client, worker)) => {
                pause = SHORTEST_PAUSE;
                let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                serve(socket, client, worker);
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
    use std::{io::Write, net, sync::mpsc};

    use tokio::{io::AsyncReadExt, runtime::Handle};

    use super::{super::listen, *};

    #[test]
    fn clients_live_where_they_are_sent_to() {
        let workers = Workers::start_some(2).unwrap();
        let socket = listen(&[([127, 0, 0, 1], 0).into()], &workers).unwrap();
        let (address, acceptor) = (socket.address, socket.worker.runtime.clone());
        let (sender, heard) = mpsc::channel();
        acceptor.spawn(async move {
            let serve = |mut client: TcpStream, _, worker: &Worker| {
                let sender = sender.clone();
                worker.runtime.spawn(async move {
                    let byte = client.read_u8().await.unwrap();
                    sender.send((byte, Handle::current().id())).unwrap();
                    std::future::pending::<()>().await;
                });
            };
            match run(&socket, &workers, serve).await {}
        });
        let mut clients: Vec<_> =
            (0..4).map(|_| net::TcpStream::connect(address).unwrap()).collect();
        let mut workers = Vec::new();
        for (client, byte) in clients.iter_mut().zip(*b"abcd") {
            client.write_all(&[byte]).unwrap();
            let (heard, worker) = heard.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!(heard, byte);
            workers.push(worker);
        }
        // The one that accepts has that to do, too.
        assert_eq!(workers.iter().filter(|worker| **worker == acceptor.id()).count(), 2);
    }

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
