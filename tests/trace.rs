//! What a whole process shows on stderr.

#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::{env, process::Command};

use imap_proxy::{
    config::{Trace, TraceLevel},
    relay::{Kind, Party, Tap},
    trace::{self, SessionContext, SessionId, SessionTap},
};

const CHILD: &str = "IMAP_PROXY_TEST_TRACE_CHILD";

/// Runs this test again as a process of its own, and gives its stderr.
fn stderr_with(rust_log: Option<&str>) -> String {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "what_a_process_shows", "--nocapture"]).env(CHILD, "1");
    child.env_remove("RUST_LOG").env_remove("JOURNAL_STREAM");
    if let Some(filter) = rust_log {
        child.env("RUST_LOG", filter);
    }
    let output = child.output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// What the child does.
fn show() {
    let guard = trace::start("info").unwrap();
    assert!(trace::start("info").is_err(), "a second start is refused");
    tracing::info!(target: "imap_next::fragment", "data=\"A1 LOGIN bob hunter2\"");
    tracing::error!(target: "rustls", "from elsewhere");
    tracing::debug!(target: "imap_proxy::test", "first detail");
    tracing::info!(target: "imap_proxy::test", { imap.service = %"Test", port = 143 }, "listening");
    guard.handle().set_filter("imap_proxy=debug").unwrap();
    assert!(guard.handle().set_filter("=x=").is_err());
    tracing::debug!(target: "imap_proxy::test", "second detail");

    let context = SessionContext {
        service: "Test".into(),
        session: SessionId::next(),
        client: ([192, 0, 2, 1], 4711).into(),
        client_subject: None,
        server: "imap.example.org:993".into(),
    };
    let options = Trace { level: TraceLevel::Full, ..Trace::default() };
    let mut tap = SessionTap::new(&guard.handle(), &options, context);
    tap.line(Party::Client, b"A1 LOGIN bob hunter2\r\n");
    tap.end(Party::Client, Party::Server, Kind::Command { authenticated: false });
    tap.stripped("COMPRESS=DEFLATE");
}

#[test]
fn what_a_process_shows() {
    if env::var_os(CHILD).is_some() {
        return show();
    }
    let plain = stderr_with(None);
    assert!(plain.contains(" INFO listening port=143 service=\"Test\"\n"), "{plain}");
    assert!(plain.contains(" DEBUG second detail\n") && !plain.contains("first detail"), "{plain}");
    assert!(plain.contains("client→server Command { tag: Tag(\"A1\"), body: Login"), "{plain}");
    assert!(plain.contains("capability COMPRESS=DEFLATE of the server is not passed on"));

    let verbose = stderr_with(Some("trace"));
    assert!(verbose.contains(" DEBUG first detail\n"), "{verbose}");
    let quiet = stderr_with(Some("error"));
    assert!(quiet.contains(" TRACE [Test] ") && !quiet.contains("detail"), "{quiet}");
    let bad = stderr_with(Some("=x="));
    assert!(bad.contains(" WARN RUST_LOG is ignored error="), "{bad}");
    assert!(bad.contains(" INFO listening"), "{bad}");

    for all in [plain, verbose, quiet, bad] {
        assert!(!all.contains("hunter2") && !all.contains("from elsewhere"), "{all}");
    }
}
