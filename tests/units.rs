//! What `deploy/` ships: units and drop-ins by systemd's own judgement, configs by `check`, and the
//! hook for certbot by what it leaves behind. Needs no root and no running systemd.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics is a test that fails")]

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use imap_proxy::config::Connections;
use tempfile::TempDir;

const UNIT: &str = "imap-proxy.service";
const SOCKETS: &str = "10-socket-activated.conf";
const CHROOT: &str = "20-chroot.conf";
const IP_ALLOW: &str = "30-ip-allow.conf";
const V257: &str = "40-v257.conf";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deploy() -> PathBuf {
    repository().join("deploy")
}

/// Which systemd is here; `None`, with the reason printed, when it cannot judge a unit that is not
/// loaded.
fn systemd() -> Option<u32> {
    let version =
        Command::new("systemd-analyze").arg("--version").output().ok().and_then(|output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1)?.parse().ok()
        });
    if version < Some(250) {
        println!("SKIPPED: systemd-analyze 250 or newer is needed, found: {version:?}");
    }
    version.filter(|&version| version >= 250)
}

/// A root directory with the units, these drop-ins, and what the units refer to.
fn root(drop_ins: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("etc/systemd/system");
    let programs = root.path().join("usr/bin");
    let mine = units.join("imap-proxy.service.d");
    fs::create_dir_all(&mine).unwrap();
    fs::create_dir_all(&programs).unwrap();
    for unit in [UNIT, "imap-proxy-imap.socket", "imap-proxy-imaps.socket"] {
        fs::copy(deploy().join(unit), units.join(unit)).unwrap();
    }
    for drop_in in drop_ins {
        fs::copy(deploy().join("imap-proxy.service.d").join(drop_in), mine.join(drop_in)).unwrap();
    }
    for unit in ["network-online.target", "nss-lookup.target", "sysinit.target", "sockets.target"] {
        fs::write(units.join(unit), "[Unit]\nDescription=stands in\n").unwrap();
    }
    for program in ["imap-proxy", "kill"] {
        let program = programs.join(program);
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

fn analyze(root: &TempDir, arguments: &[&str]) -> Output {
    let mut root_option = OsString::from("--root=");
    root_option.push(root.path());
    Command::new("systemd-analyze").args(arguments).arg(root_option).output().unwrap()
}

/// The exposure level, in tenths.
fn exposure(drop_ins: &[&str]) -> u32 {
    let output = analyze(&root(drop_ins), &["security", "--offline=true", "--no-pager", UNIT]);
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, level) =
        text.split_once("exposure level for imap-proxy.service: ").unwrap_or_else(|| {
            panic!("no level in: {text}{}", String::from_utf8_lossy(&output.stderr));
        });
    level.split_whitespace().next().unwrap().replace('.', "").parse().unwrap()
}

#[test]
fn the_unit_exposes_no_more_than_promised() {
    if systemd().is_none() {
        return;
    }
    for (drop_ins, at_most) in [
        (&[][..], 14),
        (&[CHROOT], 14),
        (&[CHROOT, IP_ALLOW], 12),
        (&[SOCKETS], 11),
        (&[SOCKETS, CHROOT, IP_ALLOW], 9),
        (&[SOCKETS, CHROOT, IP_ALLOW, V257], 9),
    ] {
        let exposure = exposure(drop_ins);
        assert!(exposure <= at_most, "{drop_ins:?}: {exposure} tenths, promised {at_most}");
    }
}

#[test]
fn systemd_has_no_complaint_about_any_directive() {
    let Some(version) = systemd() else { return };
    let mut drop_ins = vec![SOCKETS, CHROOT, IP_ALLOW];
    if version >= 257 {
        drop_ins.push(V257);
    } else {
        println!("SKIPPED: {V257} is for systemd 257, this is {version}");
    }
    let each = drop_ins.iter().map(std::slice::from_ref);
    for drop_ins in each.chain([&[][..], &drop_ins]) {
        let units =
            ["verify", "--man=no", UNIT, "imap-proxy-imap.socket", "imap-proxy-imaps.socket"];
        let output = analyze(&root(drop_ins), &units);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{drop_ins:?}");
        assert!(output.status.success(), "{drop_ins:?}");
    }
}

#[test]
fn the_unit_allows_the_files_of_all_sessions() {
    let unit = fs::read_to_string(deploy().join(UNIT)).unwrap();
    let limit = unit.lines().find_map(|line| line.strip_prefix("LimitNOFILE=")).unwrap();
    // Two of each session; those of clients that are refused, listeners and the like beside.
    let sessions = Connections::default().in_service;
    assert!(limit.parse::<usize>().unwrap() > 2 * sessions + 4096);
}

#[test]
fn every_shipped_config_is_valid() {
    let examples = fs::read_dir(deploy().join("examples")).unwrap();
    let mut configs: BTreeSet<_> = examples.map(|entry| entry.unwrap().path()).collect();
    assert!(!configs.is_empty());
    configs.insert(repository().join("config.toml"));
    for config in configs {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(&config).unwrap();
        // Each PEM file that it names, a key or a certificate by its name.
        for path in
            text.split('"').filter(|text| Path::new(text).extension() == Some(OsStr::new("pem")))
        {
            let path = folder.path().join(path);
            let form =
                if path.to_string_lossy().contains("key") { "sec1-key.pem" } else { "sec1.pem" };
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(repository().join("tests/config/keys").join(form), path).unwrap();
        }
        let copy = folder.path().join("config.toml");
        fs::write(&copy, text).unwrap();
        let check = Command::new(env!("CARGO_BIN_EXE_imap-proxy"))
            .args(["check", "--config"])
            .arg(copy)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&check.stderr), "", "{}", config.display());
        assert!(check.status.success(), "{}", config.display());
    }
}

/// A folder as certbot and the package leave it: `live/imap.example.org` and `tls`.
fn certbot() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("live/imap.example.org")).unwrap();
    fs::create_dir(folder.path().join("tls")).unwrap();
    folder
}

/// Renews: certificate and key with this content. Whether the hook succeeded.
fn renew(folder: &TempDir, certificate: &str, key: Option<&str>) -> bool {
    let lineage = folder.path().join("live/imap.example.org");
    fs::write(lineage.join("fullchain.pem"), certificate).unwrap();
    match key {
        Some(key) => fs::write(lineage.join("privkey.pem"), key).unwrap(),
        None => fs::remove_file(lineage.join("privkey.pem")).unwrap(),
    }
    Command::new(deploy().join("certbot-deploy-hook"))
        .env("RENEWED_LINEAGE", lineage)
        .env("IMAP_PROXY_TLS_DIR", folder.path().join("tls"))
        .output()
        .unwrap()
        .status
        .success()
}

/// Certificate and key as the daemon reads them, and how many entries lie around them.
fn installed(folder: &TempDir) -> (String, String, usize) {
    let target = folder.path().join("tls/imap.example.org");
    (
        fs::read_to_string(target.join("fullchain.pem")).unwrap(),
        fs::read_to_string(target.join("privkey.pem")).unwrap(),
        fs::read_dir(target).unwrap().count(),
    )
}

#[test]
fn the_certbot_hook_replaces_both_files_or_none() {
    let folder = certbot();
    let target = folder.path().join("tls/imap.example.org");
    // Two links, "current", and the folder that it leads to.
    let entries = 4;
    for (certificate, key) in [("first", "first key"), ("second", "second key")] {
        assert!(renew(&folder, certificate, Some(key)));
        assert_eq!(installed(&folder), (certificate.to_owned(), key.to_owned(), entries));
    }
    assert!(!renew(&folder, "third", None));
    assert_eq!(installed(&folder), ("second".to_owned(), "second key".to_owned(), entries));

    let mode = |name: &str| fs::metadata(target.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(""), mode("current")], [0o750; 2]);
    assert_eq!([mode("fullchain.pem"), mode("privkey.pem")], [0o640; 2]);

    // One rename of "current" is what makes the change.
    for name in ["fullchain.pem", "privkey.pem"] {
        assert_eq!(fs::read_link(target.join(name)).unwrap(), Path::new("current").join(name));
    }
}

#[test]
fn the_certbot_hook_sweeps_up_after_a_run_that_was_cut_off() {
    let folder = certbot();
    let target = folder.path().join("tls/imap.example.org");
    fs::create_dir_all(target.join("pair.cut")).unwrap();
    std::os::unix::fs::symlink("pair.gone", target.join("next")).unwrap();
    assert!(renew(&folder, "new", Some("new key")));
    assert_eq!(installed(&folder), ("new".to_owned(), "new key".to_owned(), 4));
}

#[test]
fn the_certbot_hook_says_who_should_run_it() {
    let output = Command::new(deploy().join("certbot-deploy-hook"))
        .env_remove("RENEWED_LINEAGE")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("certbot runs this"));
}
