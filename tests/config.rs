//! `imap-proxy check`, as a user meets it.

#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use imap_proxy::config::{self, Limits, Log, Timeouts, Trace, TraceLevel};
use tempfile::TempDir;

/// Lets `imap-proxy` run in a folder.
fn imap_proxy<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imap-proxy"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[track_caller]
fn assert_output(output: &Output, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    assert_eq!(output.status.code(), Some(code));
}

/// The folder of this test's files.
fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// A folder with a config.toml, and the certificate and key that the examples name.
fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), config).unwrap();
    let keys = files().join("keys");
    for (from, to) in [
        ("sec1.pem", "localhost.pem"),
        ("sec1-key.pem", "localhost-key.pem"),
        ("pkcs1.pem", "ca.pem"),
        ("sec1.pem", "clients.pem"),
        ("sec1.pem", "proxy.pem"),
        ("sec1-key.pem", "proxy-key.pem"),
    ] {
        fs::copy(keys.join(from), folder.path().join(to)).unwrap();
    }
    folder
}

fn shipped() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")).unwrap()
}

/// The shipped config with all that is commented out put in force.
fn shipped_uncommented() -> String {
    let uncommented = |line: &str| {
        let content = line.strip_prefix('#').map(str::trim_start).unwrap_or_default();
        let key = content.split(" = ").next().unwrap_or_default();
        let is_key =
            key.len() < content.len() && key.chars().all(|c| c.is_alphabetic() || c == '_');
        if is_key || content.starts_with('[') { content.to_owned() } else { line.to_owned() }
    };
    shipped().lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_services_of_the_original_program_are_taken_unchanged() {
    let folder = folder(&fs::read_to_string(files().join("original.toml")).unwrap());
    let stdout = "\
\"Insecure to Insecure\": imap://127.0.0.1:1143 (insecure) -> imap://127.0.0.1:143 (insecure)
\"Insecure to TLS\": imap://127.0.0.1:2143 (insecure) -> imaps://127.0.0.1:993 (TLS)
\"TLS to Insecure\": imaps://127.0.0.1:1993 (TLS) -> imap://127.0.0.1:143 (insecure)
\"TLS to TLS\": imaps://127.0.0.1:2993 (TLS) -> imaps://127.0.0.1:993 (TLS)
";
    assert_output(&imap_proxy(folder.path(), &["check", "--config", "config.toml"]), 0, stdout, "");
}

#[test]
fn every_invalid_file_gets_its_problems() {
    let folder = files().join("invalid");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some(OsStr::new("toml")) {
            let output = imap_proxy(
                &folder,
                &[OsStr::new("check"), OsStr::new("--config"), path.file_name().unwrap()],
            );
            let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
            assert_output(&output, 78, "", &expected);
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let stderr = "no.toml: cannot be read: No such file or directory (os error 2)\n";
    for arguments in [["check", "--config", "no.toml"], ["--config", "no.toml", "check"]] {
        assert_output(&imap_proxy(folder.path(), &arguments), 78, "", stderr);
    }
}

#[test]
fn a_file_that_is_not_utf8_is_told_where() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.toml"), b"# fine\n# caf\xe9\n").unwrap();
    let stderr = "c.toml:2:6: this byte is not UTF-8; save the file as UTF-8\n";
    assert_output(&imap_proxy(folder.path(), &["check", "--config", "c.toml"]), 78, "", stderr);
}

#[test]
fn keys_of_every_form_load() {
    for form in ["pkcs8", "sec1", "pkcs1"] {
        let config = format!(
            "[[services]]\nname = '{form}'\nconnect = {{ encryption = 'Insecure', host = '::1' }}\n\
             [services.bind]\nencryption = 'Tls'\nhost = '::'\n\
             identity = {{ type = 'CertificateChainAndLeafKey', \
             certificate_chain_path = 'c.pem', leaf_key_path = 'k.pem' }}"
        );
        let folder = folder(&config);
        let keys = files().join("keys");
        fs::copy(keys.join(format!("{form}.pem")), folder.path().join("c.pem")).unwrap();
        fs::copy(keys.join(format!("{form}-key.pem")), folder.path().join("k.pem")).unwrap();
        // From another folder: the paths start from the file's own.
        let file = folder.path().join("config.toml");
        let arguments = [OsStr::new("check"), OsStr::new("--config"), file.as_os_str()];
        let stdout = format!("\"{form}\": imaps://[::]:993 (TLS) -> imap://[::1]:143 (insecure)\n");
        assert_output(&imap_proxy(&files(), &arguments), 0, &stdout, "");
    }
}

/// Valid, and yet worth a word: both certificates are for `localhost`.
#[test]
fn identities_that_hide_each_other_are_told() {
    let identity = |name: &str| {
        format!(
            "{{ type = 'CertificateChainAndLeafKey', certificate_chain_path = '{name}.pem', \
             leaf_key_path = '{name}-key.pem' }}"
        )
    };
    let config = format!(
        "[[services]]\nname = 'two'\nconnect = {{ encryption = 'Insecure', host = '::1' }}\n\
         [services.bind]\nencryption = 'Tls'\nhost = '::'\n\
         identities = [{}, {}]",
        identity("sec1"),
        identity("pkcs1")
    );
    let folder = folder(&config);
    for name in ["sec1", "pkcs1"].iter().flat_map(|n| [format!("{n}.pem"), format!("{n}-key.pem")])
    {
        fs::copy(files().join("keys").join(&name), folder.path().join(&name)).unwrap();
    }
    let stdout = "\"two\": imaps://[::]:993 (TLS) -> imap://[::1]:143 (insecure)\n";
    let stderr = "config.toml: warning: service \"two\": `sec1.pem` and `pkcs1.pem` both carry \
                  `localhost`; clients are shown the first\n";
    let output = imap_proxy(folder.path(), &["check", "--config", "config.toml"]);
    assert_output(&output, 0, stdout, stderr);
}

#[test]
fn the_shipped_config_is_valid() {
    let folder = folder(&shipped());
    let stdout = "\"Insecure to TLS\": \
                  imap://127.0.0.1:1143 (insecure) -> imaps://imap.example.org:993 (TLS)\n";
    assert_output(&imap_proxy(folder.path(), &["check", "--config", "config.toml"]), 0, stdout, "");
}

#[test]
fn the_shipped_config_shows_every_key_with_its_default() {
    let folder = folder(&shipped_uncommented());
    let config = config::load(&folder.path().join("config.toml")).unwrap();
    let [first, second] = config.services.as_slice() else { panic!("two services") };
    assert_eq!(config.log, Log::default());
    assert_eq!(first.trace, Trace::default());
    assert_eq!(first.limits, Limits { literal: Some(104_857_600), ..Limits::default() });
    assert_eq!(first.timeouts, Timeouts::default());
    assert_eq!(first.allow_capabilities, Vec::<String>::new());
    assert_eq!(first.connect.security.tls().unwrap().ca_certificates.len(), 1);

    let files: Vec<_> = config.files().filter_map(|file| file.file_name()).collect();
    let of_second =
        ["localhost.pem", "localhost-key.pem", "clients.pem", "proxy.pem", "proxy-key.pem"];
    assert_eq!(files, [&["ca.pem"], &of_second[..]].concat());

    // A service's own tables go before those of the file, key by key.
    assert_eq!(second.trace, Trace { level: TraceLevel::Off, ..Trace::default() });
    assert_eq!(second.limits, Limits { unanswered_commands: 100, ..first.limits.clone() });
    let login = std::time::Duration::from_secs(60);
    assert_eq!(second.timeouts, Timeouts { login, ..Timeouts::default() });
}

#[test]
fn a_config_cut_anywhere_is_read_without_a_panic() {
    let text = shipped_uncommented();
    let folder = folder("");
    let path = folder.path().join("config.toml");
    let mut valid = 0;
    for (end, _) in text.char_indices() {
        fs::write(&path, &text[..end]).unwrap();
        match config::load(&path) {
            Ok(config) => valid += config.services.len(),
            Err(problems) => assert!(problems.to_string().starts_with(path.to_str().unwrap())),
        }
    }
    assert!(valid > 0);
}

#[test]
fn usage_is_told_by_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| imap_proxy(folder.path(), arguments).status.code();
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["check", "--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
    assert_eq!(code(&["--confg", "x"]), Some(64));
    assert_eq!(code(&["frobnicate"]), Some(64));
    assert_eq!(code(&["check", "--config"]), Some(64));
    let version = format!("imap-proxy {}\n", env!("CARGO_PKG_VERSION"));
    assert_output(&imap_proxy(folder.path(), &["--version"]), 0, &version, "");
}
