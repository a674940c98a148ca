//! What the packages hold: the same files in both families, and all that a host should get.

#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::{collections::BTreeSet, fs, path::Path};

use clap_complete::{Shell, generate_to};
use toml::{Table, Value};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// `[package.metadata.{kind}] assets`: the sources, with `*` for all files of a folder.
fn assets(kind: &str) -> BTreeSet<String> {
    let manifest: Table = read("Cargo.toml").parse().unwrap();
    let inside = |table: Value, key: &str| table.get(key).unwrap().clone();
    let assets = ["package", "metadata", kind, "assets"].into_iter().fold(manifest.into(), inside);
    let source = |asset: &Value| match asset {
        Value::Array(parts) => parts.first().cloned(),
        asset => asset.get("source").cloned(),
    };
    let assets = assets.as_array().unwrap();
    assets.iter().map(|asset| source(asset).unwrap().as_str().unwrap().to_owned()).collect()
}

#[test]
fn both_families_get_the_same_files() {
    let mut rpm = assets("generate-rpm");
    // In the Debian package it is part of the copyright file.
    assert!(rpm.remove("LICENSE"));
    assert_eq!(assets("deb"), rpm);
}

#[test]
fn everything_that_a_host_should_get_is_packaged() {
    let assets = assets("deb");
    let mut folders: Vec<_> =
        ["deploy", "man", "packaging/completions"].map(|folder| repository().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned();
            // For a checkout of the source.
            if name.starts_with("deploy/try") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let matches = |asset: &String| match asset.split_once('*') {
                    Some((start, end)) => name.starts_with(start) && name.ends_with(end),
                    None => *asset == name,
                };
                assert!(assets.iter().any(matches), "{name} is in no package");
            }
        }
    }
}

#[test]
fn the_debian_changelog_starts_with_this_version() {
    let start = concat!("imap-proxy (", env!("CARGO_PKG_VERSION"), "-");
    assert!(read("packaging/debian/changelog").starts_with(start));
}

/// `UPDATE_COMPLETIONS=1 cargo test --test packages` writes them anew.
#[test]
fn completions_are_in_step_with_the_command_line() {
    let shipped = repository().join("packaging/completions");
    let folder = tempfile::tempdir().unwrap();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut definition = imap_proxy::cli::definition();
        let made = generate_to(shell, &mut definition, "imap-proxy", folder.path()).unwrap();
        let shipped = shipped.join(made.file_name().unwrap());
        if std::env::var_os("UPDATE_COMPLETIONS").is_some() {
            fs::copy(&made, &shipped).unwrap();
        }
        let is_same = fs::read(&shipped).is_ok_and(|text| text == fs::read(&made).unwrap());
        assert!(is_same, "{}: UPDATE_COMPLETIONS=1 writes it anew", shipped.display());
    }
}
