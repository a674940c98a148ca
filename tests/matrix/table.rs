//! The table of the matrix: as it is in the README of the tests, and with what came of it.

use std::{
    fmt, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::Mutex,
    time::Instant,
};

use crate::{
    clients::{self, Client},
    common::bench::Encryption::{self, Insecure, StartTls, Tls},
    desk::{ROUTES, Route},
    server::Kind,
};

/// What came of the cells that ran.
#[derive(Default)]
pub(crate) struct Table(Mutex<Vec<(&'static str, Kind, String)>>);

impl Table {
    /// Runs a cell, and notes what comes of it.
    pub(crate) fn note(&self, client: &Client, server: Kind, cell: impl FnOnce()) {
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(cell));
        let seconds = started.elapsed().as_secs();
        let what = if result.is_ok() { format!("ok, {seconds} s") } else { "FAILED".to_owned() };
        self.0.lock().expect("no panic here").push((client.name, server, what));
        result.unwrap_or_else(|panic| resume_unwind(panic));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.0.lock().expect("no panic here");
        let cell = |name, server| {
            let cell = done.iter().find(|cell| cell.0 == name && cell.1 == server);
            cell.map_or("not run", |cell| &cell.2).to_owned()
        };
        f.write_str(&render(cell))
    }
}

/// The README of the tests must have the table as the code has it.
pub(crate) fn assert_in_readme() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/README.md");
    let readme = fs::read_to_string(readme).expect("a README");
    let table = render(|_, _| "ok".to_owned());
    assert!(readme.contains(&table), "tests/README.md is to have this table:\n\n{table}");
}

fn render(cell: impl Fn(&'static str, Kind) -> String) -> String {
    let line = |client: &str, does: &str, cell: &dyn Fn(Kind) -> String| {
        format!("| {client} | {does} | {} |\n", Kind::ALL.map(cell).join(" | "))
    };
    let mut table = line("client", "does", &|server| format!("{server:?}"));
    table += &line("---", "---", &|_| "---".to_owned());
    for client in &clients::ALL {
        table += &line(client.name, client.jobs, &|server| cell(client.name, server));
    }
    table + "\nEach cell: " + &ROUTES.map(name).join("; ") + ".\n"
}

fn name(route: Route) -> String {
    let side = |encryption: Encryption| match encryption {
        Insecure => "plain",
        StartTls => "STARTTLS",
        Tls => "TLS",
    };
    route.map_or("directly".to_owned(), |(bind, connect)| {
        format!("{} to the proxy and {} to the server", side(bind), side(connect))
    })
}
