//! One side of a session: a stream, what it sent, and what waits for it.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};
use tokio_util::io::poll_read_buf;

use super::{
    buffers::{self, READ_SIZE},
    ending::Ending,
};
use crate::relay;

/// A TCP connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How long, and how much, a peer is listened to after the last word, so that what it has not
/// read yet is not lost to a reset.
const LINGER: Duration = Duration::from_secs(3);
const LINGER_BYTES: usize = 1024 * 1024;

/// How long a server may take to say what it has to say to a client that sends nothing more.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(10);

/// One side of a session.
pub(super) struct Leg {
    stream: Box<dyn Stream>,
    /// What it sent and nobody took in yet. Reading goes on where there is room, to see its end.
    pub(super) inbox: BytesMut,
    /// It will send nothing more.
    pub(super) eof: bool,
    /// It was asked in this turn of the task, and will wake the task when more comes.
    is_quiet: bool,
    /// When it last took something, while more waits for it.
    waits_since: Option<Instant>,
    unflushed: bool,
}

impl Leg {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            inbox: BytesMut::new(),
            eof: false,
            is_quiet: false,
            waits_since: None,
            unflushed: false,
        }
    }

    /// The same, for a peer of which `bytes` were read already.
    pub(super) fn with_inbox(stream: Box<dyn Stream>, bytes: &[u8]) -> Self {
        Self { inbox: bytes.into(), ..Self::new(stream) }
    }

    /// The connection, which nothing was read from that is not dealt with.
    pub(super) fn into_stream(self) -> Box<dyn Stream> {
        debug_assert!(self.inbox.is_empty());
        self.stream
    }

    /// The task was woken: the peer may have sent something.
    pub(super) fn begin_turn(&mut self) {
        self.is_quiet = false;
    }

    /// Reads what is there, if there is room. Once there is nothing, the rest of the task's turn asks in
    /// vain. Returns whether anything came, its end included.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.eof || self.is_quiet {
            buffers::give_back(&mut self.inbox);
            return Ok(false);
        }
        let stream = Pin::new(&mut self.stream);
        let polled = buffers::read(&mut self.inbox, |inbox| {
            let room = READ_SIZE.min(inbox.capacity()).saturating_sub(inbox.len());
            (room > 0).then(|| poll_read_buf(stream, cx, &mut inbox.limit(room)))
        });
        match polled {
            // Nobody took what came before.
            None => Ok(false),
            Some(Poll::Pending) => {
                self.is_quiet = true;
                Ok(false)
            }
            Some(Poll::Ready(Ok(count))) => {
                self.eof = count == 0;
                Ok(true)
            }
            // A peer that ends TLS without close_notify, as many do.
            Some(Poll::Ready(Err(error))) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.eof = true;
                Ok(true)
            }
            Some(Poll::Ready(Err(error))) => Err(error),
        }
    }

    /// Waits until the peer is gone. One that only said that it will send nothing more, and sent
    /// nothing before, has a little longer: it may want to read.
    pub(super) async fn gone(&mut self) -> Ending {
        let broke = poll_fn(|cx| {
            self.begin_turn();
            loop {
                match self.fill(cx) {
                    Ok(true) if self.eof && self.inbox.is_empty() => return Poll::Ready(None),
                    Ok(true) => {}
                    Ok(false) => return Poll::Pending,
                    Err(error) => return Poll::Ready(Some(error)),
                }
            }
        })
        .await;
        if let Some(error) = broke {
            return Ending::ClientLost(error);
        }
        // On the heap, as few clients do this.
        Box::pin(sleep(LAST_WORDS)).await;
        Ending::ClientClosed
    }

    /// Writes what waits, as far as the peer takes it. Returns whether it took anything.
    pub(super) fn drain(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut BytesMut,
    ) -> io::Result<bool> {
        let mut progress = false;
        while outbox.has_remaining() {
            match Pin::new(&mut self.stream).poll_write(cx, outbox) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    relay::consume(outbox, count);
                    progress = true;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        buffers::give_back(outbox);
        if !progress && self.has_taken(outbox) {
            return Ok(false);
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        if self.has_taken(outbox) {
            self.waits_since = None;
        } else if progress || self.waits_since.is_none() {
            self.waits_since = Some(Instant::now());
        }
        Ok(progress)
    }

    /// When a peer that takes nothing has had long enough. `None` while nothing waits for it.
    pub(super) fn stall_deadline(&self, limit: Duration) -> Option<Instant> {
        self.waits_since.map(|since| since + limit)
    }

    /// Whether nothing waits for it.
    pub(super) fn has_taken(&self, outbox: &BytesMut) -> bool {
        outbox.is_empty() && !self.unflushed
    }

    /// It takes nothing any more: what waits for it is dropped.
    pub(super) fn abandon(&mut self, outbox: &mut BytesMut) {
        outbox.clear();
        self.unflushed = false;
        self.waits_since = None;
    }

    /// Says that nothing more will be written: `close_notify`, FIN.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Delivers the last bytes, says goodbye on the TLS and TCP levels, and listens a little longer.
    /// `stall` bounds each wait for the peer to take something.
    pub(super) async fn close(mut self, mut last: BytesMut, stall: Duration) -> io::Result<()> {
        while last.has_remaining() {
            timeout(stall, self.stream.write_buf(&mut last)).await??;
        }
        timeout(stall, self.stream.flush()).await??;
        timeout(LINGER, self.stream.shutdown()).await??;
        if !self.eof {
            let _ = timeout(LINGER, self.discard()).await;
        }
        Ok(())
    }

    async fn discard(&mut self) {
        let mut discarded = 0;
        while discarded < LINGER_BYTES {
            self.inbox.clear();
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(count) if count > 0 => discarded += count,
                _ => return,
            }
        }
    }
}
