//! Messages, and how they are told apart.

use std::{fs, net::SocketAddr, path::Path, sync::LazyLock};

use memchr::{memchr, memmem};
use ring::digest::{SHA256, digest};

use crate::common::{bench::Encryption::Insecure, transcript::Transcript};

/// More than any buffer or limit on the way, and what the largest providers take.
const LARGE: usize = 25 << 20;

/// What clients put before a message that they deliver or store, each with its value.
const ADDED: [&str; 7] = [
    "X-TUID:",
    "X-OfflineIMAP:",
    "Status:",
    "Content-Length:",
    "Lines:",
    "Received:",
    "Delivered-To:",
];

/// A message with a number, and that many lines. Some of them look like something else.
pub(crate) fn mail(number: usize, lines: usize) -> String {
    let line = |line| format!("{number}.{line} gr\u{fc}n * {number} FETCH (BODY[] {{7}}\r\n");
    let body = (0..lines).map(line).collect::<Vec<_>>().concat();
    format!(
        "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: number {number}\r\n\
         Date: Thu, 0{number} Feb 2024 10:00:00 +0000\r\nMessage-ID: <{number}@example.org>\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         The body of {number}: needle{number}.\r\n{body}"
    )
}

/// A message of 25 MB, no two lines of which are the same.
pub(crate) fn large(number: usize) -> String {
    static BODY: LazyLock<String> = LazyLock::new(|| {
        let line = |line| format!("{line:08} {}\r\n", "x".repeat(60));
        (0..LARGE / 70).map(line).collect()
    });
    mail(number, 1) + &BODY
}

/// A message as a line: flags, size, hash, subject. What clients add is left out, and how the
/// lines end: some store them as files.
pub(crate) fn describe(flags: &str, message: &[u8]) -> String {
    let mut text = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some(end) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end + 1);
        text.extend_from_slice(line.strip_suffix(b"\r\n").unwrap_or(&line[..end]));
        text.push(b'\n');
        rest = after;
    }
    text.extend_from_slice(rest);
    let body = memmem::find(&text, b"\n\n").map_or(text.len(), |end| end + 1);
    let head = without_added(&String::from_utf8_lossy(&text[..body]));
    text.splice(..body, head.bytes());
    let subject = head.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or("none");
    let hash = format!("{:?}", digest(&SHA256, &text)).chars().take(23).collect::<String>();
    format!("{subject:?} [{flags}] {} bytes, {hash}", text.len())
}

fn without_added(head: &str) -> String {
    let mut kept = String::new();
    let mut keeps = true;
    for line in head.lines() {
        // A continuation goes with its line.
        if !line.starts_with([' ', '\t']) {
            keeps = !ADDED.iter().any(|name| line.starts_with(name));
        }
        if keeps {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The messages in a mailbox, as the server tells them to a client of its own.
pub(crate) fn in_mailbox(address: SocketAddr, name: &str) -> Vec<String> {
    let mut client = Transcript::login(address, Insecure);
    let before = client.messages().len();
    client.command(format!("EXAMINE {name}"));
    let exists = client.messages()[before..].iter().find(|line| line.contains(" EXISTS"));
    let exists = exists.and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a number");
    let messages = (1..=exists).map(|number: usize| {
        client.command(format!("FETCH {number} FLAGS"));
        let flags = client.messages().iter().rev().find_map(|line| flags_in(line));
        client.line(format!("F{number} FETCH {number} BODY.PEEK[]"));
        let fetched = client.raw();
        client.wait_for(&format!("F{number} OK"));
        let start = fetched.windows(3).position(|end| end == b"}\r\n").expect("a literal") + 3;
        let end = fetched.len() - b")\r\n".len();
        describe(&flags.expect("flags"), &fetched[start..end])
    });
    sorted(messages.collect())
}

/// The flags in a FETCH response, but for the one that goes by itself.
fn flags_in(response: &str) -> Option<String> {
    let (_, flags) = response.split_once("FLAGS (")?;
    let flags = flags.split_once(')')?.0.replace("\\\\", "\\");
    let flags = flags.split_whitespace().filter(|flag| *flag != "\\Recent");
    Some(sorted(flags.map(ToOwned::to_owned).collect()).join(" "))
}

/// The messages in a Maildir, with the flags in the files' names.
pub(crate) fn in_maildir(maildir: &Path) -> Vec<String> {
    let read = |folder| fs::read_dir(maildir.join(folder)).expect("a Maildir");
    let files = ["cur", "new"].into_iter().flat_map(read);
    let describe = |file: fs::DirEntry| {
        let name = file.file_name().into_string().expect("a name");
        let flags = name.rsplit_once(":2,").map_or("", |(_, flags)| flags);
        describe(flags, &fs::read(file.path()).expect("readable"))
    };
    sorted(files.map(|file| describe(file.expect("a file"))).collect())
}

pub(crate) fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}
