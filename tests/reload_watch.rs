//! Whatever way a config file changes, it takes effect.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

mod common;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use common::{
    bench::{Encryption::Insecure, Encryption::Tls, service_to},
    certs::certs,
    proxy::{Proxy, REFUSED, RELOADED, replace},
};
use tempfile::TempDir;

const UNCHANGED: &str = "the configuration is unchanged";

/// A valid config; each number makes another.
fn config(number: usize) -> String {
    service_to("a", Insecure, Insecure, 1, &format!("limits.literal = {number}"))
}

/// A proxy that follows this config file, after its first looks.
fn follow(dir: TempDir, file: &Path) -> Proxy {
    let proxy = Proxy::start_in(dir, file, &[]);
    proxy.address("a");
    proxy.wait_log(UNCHANGED);
    proxy
}

/// A proxy that follows `config.toml` in a folder of its own.
fn follow_own() -> (Proxy, PathBuf) {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("etc/config.toml");
    fs::create_dir(dir.path().join("etc")).expect("a folder");
    fs::write(&file, config(0)).expect("written");
    (follow(dir, &file), file)
}

/// The change takes effect.
#[track_caller]
fn is_seen(proxy: &Proxy, change: impl FnOnce()) {
    let mark = proxy.mark();
    change();
    proxy.wait_log_after(mark, RELOADED);
}

#[test]
fn written_in_place() {
    let (proxy, file) = follow_own();
    for number in 1..=3 {
        is_seen(&proxy, || fs::write(&file, config(number)).expect("written"));
    }
}

#[test]
fn replaced_by_a_rename() {
    let (proxy, file) = follow_own();
    for number in 1..=3 {
        is_seen(&proxy, || replace(&file, config(number)));
    }
    // Then in place: the file is another, the folder is not.
    is_seen(&proxy, || fs::write(&file, config(4)).expect("written"));
}

#[test]
fn deleted_and_made_again() {
    let (proxy, file) = follow_own();
    for number in 1..=3 {
        let mark = proxy.mark();
        fs::remove_file(&file).expect("removed");
        proxy.wait_log_after(mark, REFUSED);
        is_seen(&proxy, || fs::write(&file, config(number)).expect("written"));
    }
}

#[test]
fn deleted_and_made_again_with_its_folder() {
    let (proxy, file) = follow_own();
    let folder = file.parent().expect("a folder");
    for number in 1..=3 {
        let mark = proxy.mark();
        fs::remove_dir_all(folder).expect("removed");
        proxy.wait_log_after(mark, REFUSED);
        fs::create_dir(folder).expect("made");
        is_seen(&proxy, || fs::write(&file, config(number)).expect("written"));
    }
    // Without a look in between.
    fs::remove_dir_all(folder).expect("removed");
    fs::create_dir(folder).expect("made");
    is_seen(&proxy, || fs::write(&file, config(4)).expect("written"));
    is_seen(&proxy, || fs::write(&file, config(5)).expect("written"));
}

#[test]
fn its_folder_replaced_by_a_rename() {
    let (proxy, file) = follow_own();
    let folder = file.parent().expect("a folder");
    for number in 1..=3 {
        let next = proxy.dir().join(format!("next{number}"));
        fs::create_dir(&next).expect("made");
        fs::write(next.join("config.toml"), config(10 * number)).expect("written");
        is_seen(&proxy, || {
            fs::rename(folder, proxy.dir().join(format!("old{number}"))).expect("moved");
            fs::rename(&next, folder).expect("moved");
        });
        is_seen(&proxy, || fs::write(&file, config(10 * number + 1)).expect("written"));
    }
}

/// A config that cannot take effect does not make the watcher blind.
#[test]
fn mended_where_a_new_link_leads() {
    let dir = TempDir::new().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let refused = config(0).replacen("port = 0", &format!("port = {port}"), 1);
    let (link, root) = (dir.path().join("current"), dir.path().to_owned());
    let publish = |version: &str, config: &str| {
        fs::create_dir(root.join(version)).expect("made");
        fs::write(root.join(version).join("config.toml"), config).expect("written");
        symlink(version, root.join("next")).expect("linked");
        fs::rename(root.join("next"), &link).expect("moved");
    };
    publish("good", &config(0));
    let proxy = follow(dir, &link.join("config.toml"));
    let mark = proxy.mark();
    publish("bad", &refused);
    proxy.wait_log_after(mark, "cannot listen on");
    is_seen(&proxy, || fs::write(root.join("bad/config.toml"), config(1)).expect("written"));
}

/// Kubernetes: `config.toml` is a link to `..data/config.toml`, and `..data` one to a folder with a
/// time in its name; each change makes a new folder and renames a new `..data` over the old one.
#[test]
fn behind_the_links_of_kubernetes() {
    let dir = TempDir::new().expect("a folder");
    let mount = dir.path().join("mount");
    let publish = |number: usize| {
        let version = format!("..version_{number}");
        fs::create_dir_all(mount.join(&version)).expect("made");
        fs::write(mount.join(&version).join("config.toml"), config(number)).expect("written");
        symlink(&version, mount.join("..data_tmp")).expect("linked");
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("moved");
    };
    publish(0);
    let file = mount.join("config.toml");
    symlink("..data/config.toml", &file).expect("linked");
    let proxy = follow(dir, &file);
    for number in 1..=3 {
        is_seen(&proxy, || publish(number));
        fs::remove_dir_all(mount.join(format!("..version_{}", number - 1))).expect("removed");
    }
    // In place, behind the links.
    let target = mount.join("..version_3/config.toml");
    is_seen(&proxy, || fs::write(&target, config(4)).expect("written"));
}

/// Only whole files are written, so that it does not matter when they are looked at.
#[test]
fn a_burst_of_writes_is_one_reload() {
    let (proxy, file) = follow_own();
    let mark = proxy.mark();
    for _ in 0..1000 {
        replace(&file, config(1));
    }
    proxy.wait_log_after(mark, RELOADED);
    proxy.hup();
    proxy.wait_log_after(mark, UNCHANGED);
    let log = proxy.log_after(mark);
    assert_eq!(log.matches(RELOADED).count(), 1, "{log}");
    // Hardly any write was looked at by itself.
    assert!(log.matches(UNCHANGED).count() < 10, "{log}");
}

#[test]
fn a_file_that_never_rests_is_looked_at() {
    let (proxy, file) = follow_own();
    let mark = proxy.mark();
    let mut number = 0;
    while !proxy.log_after(mark).contains(RELOADED) {
        number += 1;
        replace(&file, config(number));
    }
}

#[test]
fn broken_and_mended() {
    let (proxy, file) = follow_own();
    let mark = proxy.mark();
    fs::write(&file, "[[services]]\nname = ").expect("written");
    let line = proxy.wait_log_after(mark, REFUSED);
    assert!(line.contains("config.toml:2:8: "), "{line}");
    // The same text is no second line.
    fs::write(&file, "[[services]]\nname = ").expect("written");
    is_seen(&proxy, || fs::write(&file, config(0)).expect("written"));
    assert_eq!(proxy.log_after(mark).matches(REFUSED).count(), 1);
}

#[test]
fn without_the_watcher_only_a_signal_counts() {
    let (proxy, file) = follow_own();
    let off = |number| format!("[watch]\nenabled = false\n{}", config(number));
    is_seen(&proxy, || replace(&file, off(0)));
    // Another proxy, of a file beside it, shows when a watcher would have seen the change.
    let beside = file.with_file_name("beside.toml");
    fs::write(&beside, config(0)).expect("written");
    let witness = follow(TempDir::new().expect("a folder"), &beside);
    let mark = proxy.mark();
    replace(&file, off(1));
    // Twice, since both would see the first at the same time.
    for number in 1..=2 {
        is_seen(&witness, || replace(&beside, config(number)));
    }
    assert_eq!(proxy.log_after(mark), "");
    proxy.hup();
    proxy.wait_log_after(mark, RELOADED);

    is_seen(&proxy, || {
        replace(&file, config(3));
        proxy.hup();
    });
    is_seen(&proxy, || replace(&file, config(4)));
}

/// The config names a file that is not there; once it is, all is well.
#[test]
fn a_file_that_a_refused_config_names_is_followed() {
    let (proxy, file) = follow_own();
    certs().copy_to(file.parent().expect("a folder"));
    let keys = proxy.dir().join("keys");
    fs::create_dir(&keys).expect("made");
    let config = service_to("a", Tls, Insecure, 1, "")
        .replace("\"localhost-key.pem\"", "\"../keys/sub/key.pem\"");
    let mark = proxy.mark();
    replace(&file, config);
    proxy.hup();
    proxy.wait_log_after(mark, REFUSED);
    is_seen(&proxy, || {
        fs::create_dir(keys.join("sub")).expect("made");
        fs::write(keys.join("sub/key.pem"), certs().read("localhost-key.pem")).expect("written");
    });
}
