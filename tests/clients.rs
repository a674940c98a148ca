//! Everyday clients do their everyday jobs through the proxy.

#![allow(
    clippy::expect_used,
    reason = "a test that panics is a test that fails: that is what it is for"
)]

mod common;

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
};

use common::{
    bench::{
        Encryption::{self, Insecure, Tls},
        service_to,
    },
    certs::{CA, certs},
    dovecot::Dovecot,
    proxy::Proxy,
    secrets::{ACCOUNT, USER},
    transcript::Transcript,
};
use tempfile::TempDir;

#[test]
fn curl() {
    curl_lists_appends_and_fetches(&Desk::new(Insecure));
}

#[test]
fn curl_over_tls() {
    curl_lists_appends_and_fetches(&Desk::new(Tls));
}

#[test]
fn imaplib() {
    imaplib_runs_its_session(&Desk::new(Insecure));
}

#[test]
fn imaplib_over_tls() {
    imaplib_runs_its_session(&Desk::new(Tls));
}

#[test]
fn mbsync() {
    mbsync_syncs_both_ways(&Desk::new(Insecure));
}

#[test]
fn mbsync_over_tls() {
    mbsync_syncs_both_ways(&Desk::new(Tls));
}

#[test]
fn mutt() {
    mutt_copies_and_saves(&Desk::new(Insecure));
}

#[test]
fn mutt_over_tls() {
    mutt_copies_and_saves(&Desk::new(Tls));
}

fn curl_lists_appends_and_fetches(desk: &Desk) {
    let url = |rest: &str| format!("{}/{rest}", desk.url(&["imap", "imaps"]));
    let curl = |args: &[&str]| {
        let user = format!("{USER}:{ACCOUNT}");
        let ca = ca();
        let common = ["--silent", "--show-error", "--max-time", "60", "--user", &user];
        run(desk.command("curl").args(common).args(["--cacert", &ca]).args(args))
    };

    let listed = String::from_utf8(curl(&[&url("")])).expect("text");
    assert!(listed.contains("\"/\" INBOX"), "{listed}");
    // Enough for a literal that is streamed.
    let message = mail(1, 5000);
    let file = desk.write("message", &message);
    curl(&["--upload-file", &file, &url("INBOX")]);
    assert_eq!(curl(&[&url("INBOX;MAILINDEX=1")]), message.as_bytes());
    assert_eq!(desk.mailbox("INBOX"), [message]);
}

fn imaplib_runs_its_session(desk: &Desk) {
    let message = mail(1, 500);
    let file = desk.write("message", &message);
    let port = desk.address.port().to_string();
    let ca = if desk.encryption == Tls { ca() } else { "-".to_owned() };
    let script = include_str!("clients/session.py");
    let done = run(desk.command("python3").args(["-c", script, &port, &ca, &file]));
    assert_eq!(done, b"done\n");
    assert_eq!(desk.mailbox("Python"), [message.clone(), message.clone()]);
    assert_eq!(desk.mailbox("INBOX"), [message]);
}

fn mbsync_syncs_both_ways(desk: &Desk) {
    let (theirs, ours) = ([mail(1, 3), mail(2, 5000), mail(3, 0)], [mail(4, 10), mail(5, 2000)]);
    let mut direct = desk.direct();
    for message in &theirs {
        direct.append("INBOX", message);
    }
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(desk.dir.path().join("maildir").join(folder)).expect("made");
    }
    for (number, message) in ours.iter().enumerate() {
        desk.write(&format!("maildir/new/{number}.test"), &message.replace("\r\n", "\n"));
    }
    let dir = desk.dir.path().display();
    let security = if desk.encryption == Tls { "IMAPS" } else { "None" };
    let config = format!(
        "IMAPAccount proxy\nHost localhost\nPort {}\nUser {USER}\nPass {ACCOUNT}\n\
         SSLType {security}\nAuthMechs LOGIN\nCertificateFile {}\n\n\
         IMAPStore far\nAccount proxy\n\n\
         MaildirStore near\nInbox {dir}/maildir\n\n\
         Channel all\nFar :far:\nNear :near:\nSync All\nExpunge Both\nSyncState *\n",
        desk.address.port(),
        ca()
    );
    let config = desk.write("mbsyncrc", &config);
    let sync = || run(desk.command("mbsync").args(["--config", &config, "all"]));

    sync();
    let all = sorted([&theirs[..], &ours[..]].concat());
    assert_eq!(sorted(desk.mailbox("INBOX")), all);
    assert_eq!(sorted(desk.maildir()), all);

    // What is deleted on the server goes from the Maildir, too.
    direct.command("SELECT INBOX");
    direct.command("STORE 1:2 +FLAGS (\\Deleted)");
    direct.command("EXPUNGE");
    sync();
    let left = sorted([&theirs[2..], &ours[..]].concat());
    assert_eq!(sorted(desk.mailbox("INBOX")), left);
    assert_eq!(sorted(desk.maildir()), left);
}

fn mutt_copies_and_saves(desk: &Desk) {
    let messages = [mail(1, 10), mail(2, 3000)];
    let mut direct = desk.direct();
    direct.command("CREATE Saved");
    for message in &messages {
        direct.append("INBOX", message);
    }
    let saved = desk.dir.path().join("saved");
    // As one would by hand: mark all, copy them on the server, save them here, quit.
    let config = format!(
        "set folder={}\nset spoolfile=\"+INBOX\"\nset imap_user={USER}\nset imap_pass={ACCOUNT}\n\
         set certificate_file={}\nset ssl_force_tls=no\nset ssl_starttls=no\n\
         set confirmappend=no\nset confirmcreate=no\nset record=\"\"\nset postponed=\"\"\n\
         set mbox_type=mbox\nset wait_key=no\nset quit=yes\nset delete=no\nset move=no\n\
         push \"<tag-pattern>~A<enter><tag-prefix><copy-message>+Saved<enter>\
         <tag-prefix><copy-message>{}<enter><quit>\"\n",
        desk.url(&["imap", "imaps"]),
        ca(),
        saved.display()
    );
    let config = desk.write("muttrc", &config);
    // mutt wants a terminal, and one that has a size.
    let mutt = format!("stty rows 24 columns 80 && mutt -n -F {config}");
    run(desk.command("script").args(["--quiet", "--return", "--command", &mutt, "/dev/null"]));

    assert_eq!(desk.mailbox("Saved"), messages);
    let saved = fs::read_to_string(saved).expect("mutt saved the messages");
    for message in &messages {
        let (_, body) = message.split_once("\r\n\r\n").expect("a body");
        assert!(saved.contains(&body.replace("\r\n", "\n")), "not in what mutt saved: {body}");
    }
}

/// A user's desk: a folder, and a proxy with a mail account behind it.
struct Desk {
    dir: TempDir,
    encryption: Encryption,
    address: SocketAddr,
    dovecot: Dovecot,
    _proxy: Proxy,
}

impl Desk {
    fn new(encryption: Encryption) -> Self {
        let dovecot = Dovecot::start();
        let port = dovecot.address(encryption).port();
        let keys = "trace = \"full\"";
        let proxy = Proxy::start(&service_to("desk", encryption, encryption, port, keys));
        let address = proxy.address("desk");
        let dir = TempDir::new().expect("a folder");
        Self { dir, encryption, address, dovecot, _proxy: proxy }
    }

    fn url(&self, [plain, tls]: &[&str; 2]) -> String {
        let scheme = if self.encryption == Tls { tls } else { plain };
        format!("{scheme}://127.0.0.1:{}", self.address.port())
    }

    /// Writes a file; returns its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    /// A program that is given up after a minute, and knows the account, but no config of ours.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["60", program])
            .env("HOME", self.dir.path())
            .env("TERM", "xterm")
            .env("IMAP_USER", USER)
            .env("IMAP_PASSWORD", ACCOUNT)
            .current_dir(self.dir.path());
        command
    }

    /// A client of the server itself.
    fn direct(&self) -> Transcript {
        Transcript::login(self.dovecot.address(Insecure), Insecure)
    }

    /// The messages in a mailbox, by the server itself.
    fn mailbox(&self, name: &str) -> Vec<String> {
        let mut direct = self.direct();
        direct.command(format!("EXAMINE {name}"));
        direct.line("F UID FETCH 1:* BODY.PEEK[]");
        let mut messages = Vec::new();
        loop {
            let message = String::from_utf8(direct.raw()).expect("UTF-8");
            let Some((_, literal)) = message.split_once("}\r\n") else { return messages };
            messages.push(without_mark(literal.trim_end_matches(")\r\n")));
        }
    }

    /// The messages in the Maildir.
    fn maildir(&self) -> Vec<String> {
        let read = |folder| fs::read_dir(self.dir.path().join("maildir").join(folder));
        let files = ["cur", "new"].into_iter().flat_map(|folder| read(folder).expect("a folder"));
        let text = |path| fs::read_to_string(path).expect("readable");
        files.map(|file| without_mark(&text(file.expect("a file").path()))).collect()
    }
}

/// The path of the CA's certificate.
fn ca() -> String {
    certs().dir.join(CA).display().to_string()
}

/// Runs it to its end, which must be a good one; returns its output.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(
        output.status.success(),
        "{:?}: {}\n{}{}",
        command.get_args().nth(1),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A message with CRLF, and without the header that mbsync adds.
fn without_mark(message: &str) -> String {
    let lines = message.lines().filter(|line| !line.starts_with("X-TUID: "));
    lines.fold(String::new(), |message, line| message + line + "\r\n")
}

fn sorted(mut messages: Vec<String>) -> Vec<String> {
    messages.sort();
    messages
}

/// A message with a number, and that many lines.
fn mail(number: usize, lines: usize) -> String {
    let body = (0..lines).map(|line| format!("{number}.{line} gr\u{fc}n {{7}}\r\n"));
    let body = body.collect::<Vec<_>>().concat();
    format!(
        "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: number {number}\r\n\
         Date: Thu, 0{number} Feb 2024 10:00:00 +0000\r\nMessage-ID: <{number}@example.org>\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         The body of {number}.\r\n{body}"
    )
}
