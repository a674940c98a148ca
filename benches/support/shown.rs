//! A trace whose lines are counted and thrown away.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use imap_proxy::{
    config::{Trace, TraceLevel},
    trace::{Guard, SessionContext, SessionId, SessionTap, start_to},
};
use memchr::memchr_iter;

/// For all that is to be written. Valgrind is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where the lines go.
#[derive(Clone, Default)]
struct Lines(Arc<(Mutex<usize>, Condvar)>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) +=
            memchr_iter(b'\n', bytes).count();
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of a daemon of which nobody reads the log.
pub struct Log {
    guard: Guard,
    lines: Lines,
}

impl Log {
    pub fn start() -> Self {
        let lines = Lines::default();
        Self { guard: start_to(lines.clone()).expect("a thread for the writer"), lines }
    }

    /// The tap of one more session.
    pub fn tap(&self, level: TraceLevel) -> SessionTap {
        let context = SessionContext {
            service: "bench".into(),
            session: SessionId::next(),
            client: (Ipv4Addr::LOCALHOST, 40_000).into(),
            client_subject: None,
            server: "imap.example.org:993".into(),
        };
        SessionTap::new(&self.guard.handle(), &Trace { level, ..Trace::default() }, context)
    }

    /// Waits until so many lines are written, and no more come.
    pub fn finish(self, expected: usize) {
        let (lines, written) = &*self.lines.0;
        let guard = lines.lock().unwrap_or_else(PoisonError::into_inner);
        drop(written.wait_timeout_while(guard, DEADLINE, |lines| *lines < expected));
        drop(self.guard);
        assert_eq!(*lines.lock().unwrap_or_else(PoisonError::into_inner), expected, "lines");
    }
}
