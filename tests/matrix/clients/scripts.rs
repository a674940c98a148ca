//! Libraries, each with a script that uses it.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use tempfile::TempDir;

use super::{Client, lines};
use crate::{
    desk::{Desk, ca},
    mail::{large, mail},
    server::kept,
};

pub(crate) const IMAPLIB: Client = Client {
    name: "imaplib",
    jobs: "25 MB up and down, search, sort, flags, copy, move, delete, IDLE and get woken",
    work: |desk| {
        let script = desk.write("session.py", include_str!("session.py"));
        runs_its_script(desk, desk.command("python3").arg(script))
    },
};

pub(crate) const IMAPFLOW: Client = Client {
    name: "imapflow",
    jobs: "25 MB up and down, search, flags, copy, move, delete, IDLE and get woken",
    work: |desk| {
        let script = desk.write("session.cjs", include_str!("session.cjs"));
        runs_its_script(desk, desk.command("node").arg(script).env("NODE_PATH", modules()))
    },
};

/// What both scripts do: three messages to the mailbox Work, one of which goes to Done, one to
/// INBOX, too, and one away; and a third that comes while they are in IDLE.
fn runs_its_script(desk: &Desk, script: &mut Command) -> Vec<String> {
    let messages = [mail(1, 500), large(2), mail(3, 0)];
    let [first, second, third] = &messages;
    let (work, done) = (desk.create("Work"), desk.create("Done"));
    let files = [desk.write("first", first), desk.write("second", second)];
    let security = desk.security("plain", "starttls", "tls");
    script.args([&desk.port(), security, &ca(), &work, &done]).args(files);
    let output = desk.run_and(script, |line| {
        if line == "idling" {
            desk.deliver(&[third]);
        }
    });
    assert!(output.ends_with("idling\nwoken\ndone\n"), "{output}");
    assert_eq!(desk.mailbox("INBOX"), lines(&[("\\Flagged", first), ("", third)]));
    assert_eq!(desk.mailbox("Work"), lines(&[("\\Answered \\Flagged", first)]));
    assert_eq!(desk.mailbox("Done"), lines(&[("\\Seen", second)]));
    output.lines().map(ToOwned::to_owned).collect()
}

/// Where imapflow is, which npm gets the first time.
fn modules() -> &'static PathBuf {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| {
        let pinned = include_str!("../imapflow/package-lock.json");
        let installed = kept("imapflow", pinned);
        if !installed.exists() {
            let beside = installed.parent().expect("a folder");
            let new = TempDir::new_in(beside).expect("a folder");
            let package = include_str!("../imapflow/package.json");
            fs::write(new.path().join("package.json"), package).expect("written");
            fs::write(new.path().join("package-lock.json"), pinned).expect("written");
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            let output = npm.current_dir(new.path()).output().expect("npm is installed");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            // Fails when another process was first, which is as good.
            let renamed = fs::rename(new.path(), &installed);
            assert!(renamed.is_ok() || installed.exists(), "{renamed:?}");
        }
        installed.join("node_modules")
    })
}
