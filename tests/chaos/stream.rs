//! A TCP connection with bad habits. TLS goes over it, so that its records suffer, too.

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::common::dice::Dice;

/// What breaks a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A TCP reset.
    Reset,
    /// A FIN, over TLS without `close_notify`; what comes is not read.
    Close,
    /// The same, but what comes is read.
    HalfClose,
    /// Nothing is read or written until the session has ended at the other side, or for
    /// [`HELD_OUT`]; then a reset.
    Stall,
}

/// All of them.
pub(crate) const FAULTS: [Fault; 4] = [Fault::Reset, Fault::Close, Fault::HalfClose, Fault::Stall];

/// Beyond each deadline of the proxy, by far.
pub(crate) const HELD_OUT: Duration = Duration::from_secs(20);

/// What a peer does to its connection.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// No read and no write takes more bytes than this.
    pub(crate) piece: usize,
    /// What breaks it, and after how many bytes in both directions.
    pub(crate) fault: Option<(usize, Fault)>,
}

/// What became of the fault.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// It happened.
    pub(crate) happened: CancellationToken,
    /// It was [`Fault::Stall`], and the other side outlasted it.
    pub(crate) held_out: AtomicBool,
}

/// See the module.
pub(crate) struct Chaos {
    tcp: TcpStream,
    dice: Dice,
    habits: Habits,
    moved: usize,
    pause: Option<Pin<Box<Sleep>>>,
    stalled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    other_gone: CancellationToken,
    writes: bool,
    fate: Arc<Fate>,
}

impl Chaos {
    /// `other_gone` ends a stall.
    pub(crate) fn new(
        tcp: TcpStream,
        dice: Dice,
        habits: Habits,
        other_gone: CancellationToken,
        fate: Arc<Fate>,
    ) -> Self {
        tcp.set_nodelay(true).expect("no delay");
        Self {
            tcp,
            dice,
            habits,
            moved: 0,
            pause: None,
            stalled: None,
            other_gone,
            writes: true,
            fate,
        }
    }

    /// Waits, or breaks. Returns how many bytes may be moved then.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(gone) = &mut self.stalled {
            let held_out =
                self.pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_ready());
            if !held_out {
                ready!(gone.as_mut().poll(cx));
            }
            self.fate.held_out.fetch_or(held_out, Ordering::Relaxed);
            return Poll::Ready(self.reset());
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        } else if self.dice.one_in(20) {
            let pause = Duration::from_millis(self.dice.below(15) as u64);
            self.pause = Some(Box::pin(sleep(pause)));
            return self.poll_piece(cx);
        }
        if let Some((_, fault)) = self.habits.fault.take_if(|(at, _)| self.moved >= *at) {
            self.fate.happened.cancel();
            match fault {
                Fault::Reset => return Poll::Ready(self.reset()),
                Fault::Close => return Poll::Ready(broken()),
                Fault::HalfClose => {
                    let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Write);
                    self.writes = false;
                }
                Fault::Stall => {
                    self.pause = Some(Box::pin(sleep(HELD_OUT)));
                    self.stalled = Some(Box::pin(self.other_gone.clone().cancelled_owned()));
                    return self.poll_piece(cx);
                }
            }
        }
        Poll::Ready(Ok(1 + self.dice.below(self.habits.piece)))
    }

    /// The RST goes out when the socket is closed.
    fn reset(&self) -> io::Result<usize> {
        SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).expect("linger set");
        broken()
    }
}

fn broken() -> io::Result<usize> {
    Err(io::Error::other("chaos"))
}

impl AsyncRead for Chaos {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let piece = ready!(this.poll_piece(cx))?.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(piece));
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        buffer.advance(count);
        this.moved += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chaos {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let piece = ready!(this.poll_piece(cx))?.min(bytes.len());
        if !this.writes {
            return Poll::Ready(broken());
        }
        let count = ready!(Pin::new(&mut this.tcp).poll_write(cx, &bytes[..piece]))?;
        this.moved += count;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
