//! Clients that keep a Maildir and the server's mailboxes the same.

use std::fs;

use super::{Client, lines};
use crate::{
    common::secrets::{ACCOUNT, USER},
    desk::{Desk, ca},
    mail::{large, mail},
};

pub(crate) const MBSYNC: Client = Client {
    name: "mbsync",
    jobs: "sync both ways: new messages, 25 MB each way, flags, deletions",
    work: |desk| {
        let security = desk.security("None", "STARTTLS", "IMAPS");
        let config = format!(
            "IMAPAccount account\nHost localhost\nPort {}\nUser {USER}\nPass {ACCOUNT}\n\
             SSLType {security}\nAuthMechs LOGIN\nCertificateFile {}\nTimeout 120\n\n\
             IMAPStore far\nAccount account\n\n\
             MaildirStore near\nInbox {}\n\n\
             Channel all\nFar :far:\nNear :near:\nSync All\nExpunge Both\nSyncState *\n",
            desk.port(),
            ca(),
            desk.path("maildir/INBOX")
        );
        let config = desk.write("mbsyncrc", &config);
        syncs_both_ways(desk, || {
            desk.run(desk.command("mbsync").args(["--config", &config, "all"]));
        })
    },
};

pub(crate) const OFFLINEIMAP: Client = Client {
    name: "offlineimap3",
    jobs: MBSYNC.jobs,
    work: |desk| {
        let config = format!(
            "[general]\naccounts = account\nmetadata = {}\nui = basic\nsocktimeout = 120\n\
             fsync = False\n\n\
             [Account account]\nlocalrepository = near\nremoterepository = far\n\n\
             [Repository near]\ntype = Maildir\nlocalfolders = {}\n\n\
             [Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {}\n\
             remoteuser = {USER}\nremotepass = {ACCOUNT}\nauth_mechanisms = LOGIN\n\
             ssl = {}\nstarttls = {}\nsslcacertfile = {}\n\
             folderfilter = lambda name: name == 'INBOX'\n",
            desk.path("metadata"),
            desk.path("maildir"),
            desk.port(),
            desk.security("no", "no", "yes"),
            desk.security("no", "yes", "no"),
            ca()
        );
        let config = desk.write("offlineimaprc", &config);
        syncs_both_ways(desk, || {
            desk.run(desk.command("offlineimap").args(["-c", &config, "-o", "-u", "basic"]));
        })
    },
};

/// What both of them do; `sync` runs the client once.
fn syncs_both_ways(desk: &Desk, sync: impl Fn()) -> Vec<String> {
    let (theirs, ours) = ([mail(1, 3), mail(2, 5000), large(3)], [mail(4, 10), large(5)]);
    let [one, two, three] = &theirs;
    let [four, five] = &ours;
    desk.deliver(&[one, two, three]);
    desk.maildir("maildir/INBOX", &[four, five]);
    sync();
    let all = lines(&[("", one), ("", two), ("", three), ("", four), ("", five)]);
    assert_eq!(desk.mailbox("INBOX"), all);
    assert_eq!(desk.in_maildir("maildir/INBOX"), all);

    // What changes on either side changes on the other.
    let mut direct = desk.direct();
    direct.command("SELECT INBOX");
    direct.command("STORE 1 +FLAGS (\\Flagged)");
    direct.command("STORE 2 +FLAGS (\\Deleted)");
    direct.command("EXPUNGE");
    here(desk, "number 4", |path| fs::rename(path, marked(path, "RS")));
    here(desk, "number 5", |path| fs::remove_file(path));
    sync();
    let left = |flagged, answered| lines(&[(flagged, one), ("", three), (answered, four)]);
    assert_eq!(desk.mailbox("INBOX"), left("\\Flagged", "\\Answered \\Seen"));
    assert_eq!(desk.in_maildir("maildir/INBOX"), left("F", "RS"));
    desk.in_maildir("maildir/INBOX")
}

/// Does something to the file with this subject.
fn here(desk: &Desk, subject: &str, change: impl Fn(&str) -> std::io::Result<()>) {
    let is_it =
        |text: Vec<u8>| String::from_utf8_lossy(&text).contains(&format!("Subject: {subject}\n"));
    for folder in ["cur", "new"] {
        let folder = desk.path(&format!("maildir/INBOX/{folder}"));
        for file in fs::read_dir(folder).expect("a Maildir") {
            let path = file.expect("a file").path();
            if is_it(fs::read(&path).expect("readable")) {
                return change(path.to_str().expect("UTF-8")).expect("changed");
            }
        }
    }
    panic!("there is no {subject}");
}

/// The name of a file in a Maildir, with these flags.
fn marked(path: &str, flags: &str) -> String {
    let (name, _) = path.split_once(":2,").unwrap_or((path, ""));
    format!("{}:2,{flags}", name.replace("/new/", "/cur/"))
}
