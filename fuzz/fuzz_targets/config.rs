//! Any text is a config file or is refused with reasons.

#![no_main]

use std::{fs, sync::LazyLock};

use imap_proxy::config;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// There are no certificates in it.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("config.toml");
    fs::write(&path, bytes).expect("a file");
    match config::load(&path) {
        Ok(config) => drop(format!("{config:?}")),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
