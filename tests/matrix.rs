//! Each real client does its jobs at each real server, directly and through the proxy, with the
//! same result.
//!
//! A test for each cell; and at the end the table of all that ran.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

#[path = "matrix/clients/mod.rs"]
mod clients;
mod common;
#[path = "matrix/desk.rs"]
mod desk;
#[path = "matrix/mail.rs"]
mod mail;
#[path = "matrix/server.rs"]
mod server;
#[path = "matrix/table.rs"]
mod table;

use std::{process::ExitCode, sync::Arc};

use clients::Client;
use desk::{Desk, ROUTES};
use libtest_mimic::{Arguments, Trial};
use server::Kind;
use table::Table;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let table = Arc::new(Table::default());
    let mut trials = vec![Trial::test("the_readme_has_the_table", || {
        table::assert_in_readme();
        Ok(())
    })];
    for client in &clients::ALL {
        for server in Kind::ALL {
            let table = table.clone();
            let name = format!("{server:?}::{}", client.name).to_lowercase();
            trials.push(Trial::test(name, move || {
                table.note(client, server, || same_by_all_routes(client, server));
                Ok(())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        print!("{table}");
    }
    conclusion.exit_code()
}

fn same_by_all_routes(client: &Client, server: Kind) {
    let mut direct = None;
    for route in ROUTES {
        let result = (client.work)(&Desk::new(server, route));
        let direct = direct.get_or_insert_with(|| result.clone());
        assert_same(direct, &result);
    }
}

/// What came of it through the proxy must be what came of it directly.
fn assert_same(direct: &[String], through: &[String]) {
    let without = |all: &[String], others: &[String]| {
        let only = all.iter().filter(|line| !others.contains(line));
        only.cloned().collect::<Vec<_>>().join("\n")
    };
    assert!(
        direct == through,
        "only directly:\n{}\nonly through the proxy:\n{}",
        without(direct, through),
        without(through, direct)
    );
}
