//! Whatever both peers say, no trace and no log line shows a secret.

#![no_main]

use std::{
    io::{self, Write},
    sync::{Arc, LazyLock, Mutex},
};

use imap_proxy::{
    config::{Trace, TraceLevel},
    trace::{self, SessionContext, SessionId, SessionTap},
};
use imap_proxy_fuzz::{
    drive::Session,
    script,
    secrets::{self, Watched},
};
use libfuzzer_sys::fuzz_target;

/// What was written.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().expect("nobody panics with it"))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The daemon's own log lines of our crate.
static LOG: LazyLock<Output> = LazyLock::new(|| {
    let output = Output::default();
    let writer = output.clone();
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter("imap_proxy=trace")
        .with_writer(move || writer.clone());
    log.init();
    output
});

fuzz_target!(|bytes: &[u8]| {
    LOG.take();
    let choice = bytes.first().copied().unwrap_or_default();
    let secret = secrets::choose(choice / 8);
    let (limits, steps) = script::parse(bytes, script::MOST, &secrets::forms(secret));
    let level = if choice & 2 == 0 { TraceLevel::Full } else { TraceLevel::Summary };
    let options = Trace { level, max_body: usize::from(choice & 4) * 10, reveal_secrets: false };
    let context = SessionContext {
        service: "Fuzz".into(),
        session: SessionId::next(),
        client: ([192, 0, 2, 1], 4711).into(),
        client_subject: None,
        server: "imap.example.org:993".into(),
    };

    let output = Output::default();
    let guard = trace::start_to(output.clone()).expect("a thread");
    let mut tap = Watched::new(SessionTap::new(&guard.handle(), &options, context), secret);
    Session::new(limits, &mut tap).run(&steps);
    drop(guard);
    if !tap.exempt {
        for written in [output.take(), LOG.take()] {
            let text = String::from_utf8_lossy(&written);
            assert!(!secrets::shows(&text, secret), "{text}");
        }
    }
});
