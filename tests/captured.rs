//! No secret is in what the other tests captured. `tests/run.sh` runs this last.

#![allow(
    clippy::expect_used,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

mod common;

use std::{env, fs, path::Path};

use common::secrets::{ALL, found_in, sasl_plain, xoauth2};
use tempfile::TempDir;

/// Where logs and output are captured; unset when the tests run by themselves.
const FOLDER: &str = "IMAP_PROXY_TEST_LOGS";

#[test]
fn the_search_finds_each_secret_that_is_planted() {
    for secret in ALL {
        for planted in [(*secret).to_owned(), sasl_plain(secret), xoauth2(secret)] {
            let dir = TempDir::new().expect("a folder");
            fs::write(dir.path().join("clean.log"), "INFO nothing to see\n").expect("written");
            fs::write(dir.path().join("planted.log"), format!("TRACE <{planted}>\n\u{e9}"))
                .expect("written");
            let search = Search::of(dir.path());
            assert_eq!(search.files, 2);
            assert_eq!(search.finds.len(), 1, "{planted:?} was not found once");
            assert!(search.finds[0].starts_with("planted.log"), "{:?}", search.finds);
        }
    }
}

#[test]
fn no_secret_is_in_what_was_captured() {
    let Some(folder) = env::var_os(FOLDER) else {
        eprintln!("{FOLDER} is not set: there is nothing captured to search");
        return;
    };
    let search = Search::of(Path::new(&folder));
    eprintln!("searched {} bytes in {} files", search.bytes, search.files);
    assert!(search.bytes > 0, "nothing was captured");
    assert!(search.finds.is_empty(), "{:#?}", search.finds);
}

/// What a search through a folder's files found.
#[derive(Default)]
struct Search {
    files: usize,
    bytes: usize,
    /// Names of files, and which secret (by its place in [`ALL`]) is in each.
    finds: Vec<String>,
}

impl Search {
    fn of(folder: &Path) -> Self {
        let mut search = Self::default();
        for entry in fs::read_dir(folder).expect("the folder of what was captured") {
            let entry = entry.expect("a file");
            let content = fs::read(entry.path()).expect("readable");
            search.files += 1;
            search.bytes += content.len();
            if let Some(secret) = found_in(&String::from_utf8_lossy(&content)) {
                let place = ALL.iter().position(|other| *other == secret);
                let name = entry.file_name();
                search.finds.push(format!("{}: secret {place:?}", name.display()));
            }
        }
        search
    }
}
