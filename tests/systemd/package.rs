//! The life of the .deb: install, upgrade, remove, purge.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::{
    clients::{Session, Stream, is_refused},
    common::{bench::Encryption::Insecure, dovecot::Dovecot},
    rig::{CONFIG, Rig, package, service},
};

#[test]
fn install_upgrade_remove_purge() {
    let dovecot = Dovecot::start();
    let upstream = dovecot.address(Insecure).port();
    let rig = Rig::boot();
    // Other tests install with a config; here the package brings its own, and this keeps it from
    // running with it, for its port may be somebody else's.
    rig.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
    rig.ok("chmod +x /usr/sbin/policy-rc.d");
    rig.install(package());
    rig.ok("rm /usr/sbin/policy-rc.d");
    assert_eq!(rig.property("UnitFileState"), "enabled");
    assert_eq!(rig.ok(&format!("stat --format '%a %U %G' {CONFIG}")), "640 root imap-proxy\n");
    let conffiles = rig.ok("dpkg-query --show --showformat '${Conffiles}' imap-proxy");
    assert!(conffiles.starts_with(&format!(" {CONFIG} ")), "{conffiles}");
    rig.ok(&format!("imap-proxy check --config {CONFIG}"));

    let config = service("mail", rig.at(143), Insecure, upstream);
    rig.write(CONFIG, &config);
    rig.ok("systemctl start imap-proxy");
    let mut old = Session::open(rig.at(143), Insecure);

    let dir = TempDir::new().expect("a folder");
    let stream = Stream::to(rig.at(143));
    let process = rig.property("MainPID");
    rig.install(&newer(&dir));
    assert_ne!(rig.property("MainPID"), process);
    old.0.expect_line_starting("* BYE proxy: ");
    stream.wait_greeted();
    assert_eq!(stream.stop(), 0);
    assert!(rig.ok("dpkg-query --show imap-proxy").ends_with("+upgrade\n"));
    assert_eq!(fs::read_to_string(rig.path(CONFIG)).expect("kept"), config);

    // An administrator's decision outlives an upgrade.
    rig.ok("systemctl disable --now imap-proxy");
    rig.install(package());
    assert_eq!(rig.property("UnitFileState"), "disabled");
    assert_eq!(rig.property("ActiveState"), "inactive");
    rig.ok("systemctl enable --now imap-proxy");
    Session::open(rig.at(143), Insecure).logout();

    rig.ok("dpkg --remove imap-proxy");
    assert!(is_refused(rig.at(143)));
    rig.fails("systemctl cat imap-proxy.service");
    assert_eq!(fs::read_to_string(rig.path(CONFIG)).expect("kept"), config);

    rig.ok("dpkg --purge imap-proxy");
    assert!(!rig.path("/etc/imap-proxy").exists());
    let left = rig
        .ok("find /etc /usr /var/lib/systemd /run -xdev -name '*imap-proxy*' 2>/dev/null || true");
    assert_eq!(left, "");
    // Its number must not become another's.
    rig.ok("id imap-proxy");
}

/// The package again, with a higher version.
fn newer(dir: &TempDir) -> PathBuf {
    let tree = dir.path().join("tree");
    let newer = dir.path().join("newer.deb");
    let dpkg_deb = |args: &[&std::ffi::OsStr]| {
        let status = Command::new("dpkg-deb").args(args).status().expect("dpkg-deb runs");
        assert!(status.success());
    };
    dpkg_deb(&["--raw-extract".as_ref(), package().as_ref(), tree.as_ref()]);
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("readable");
    let version = text.lines().find(|line| line.starts_with("Version: ")).expect("a version");
    fs::write(control, text.replace(version, &format!("{version}+upgrade"))).expect("writable");
    dpkg_deb(&["-Znone".as_ref(), "--build".as_ref(), tree.as_ref(), newer.as_ref()]);
    newer
}
