//! curl: one command a call.

use super::{Client, lines};
use crate::{
    common::secrets::{ACCOUNT, USER},
    desk::ca,
    mail::{large, mail},
};

pub(crate) const CURL: Client = Client {
    name: "curl",
    jobs: "list, 25 MB up and down, search, flags, move",
    work: |desk| {
        let saved = desk.create("Saved");
        let user = format!("{USER}:{ACCOUNT}");
        let ca = ca();
        let security = desk.security("--no-ssl-reqd", "--ssl-reqd", "--ssl-reqd");
        let curl = |rest: &str, args: &[&str]| {
            let common = ["--silent", "--show-error", "--user", &user, "--cacert", &ca, security];
            let url = format!("{}/{rest}", desk.url());
            desk.run(desk.command("curl").args(common).args(args).arg(url))
        };

        let listed = curl("", &[]);
        assert!(listed.contains("INBOX"), "{listed}");
        // Enough for a literal that is streamed, one that is not, and a large one.
        let messages = [mail(1, 5000), mail(2, 0), large(3)];
        for (number, message) in messages.iter().enumerate() {
            let file = desk.write(&format!("up-{number}"), message);
            curl("INBOX", &["--upload-file", &file]);
        }
        for (number, message) in messages.iter().enumerate() {
            let file = desk.path("down");
            curl(&format!("INBOX;MAILINDEX={}", number + 1), &["--output", &file]);
            assert!(desk.read("down") == message.as_bytes(), "message {number} was altered");
        }

        let found = curl("INBOX?TEXT%20needle2", &[]);
        assert_eq!(found, "* SEARCH 2\r\n");
        let command = |command: &str| curl("INBOX", &["--request", command]);
        command("STORE 1 +FLAGS (\\Flagged \\Answered)");
        if desk.kind.moves() {
            command(&format!("MOVE 2 {saved}"));
        } else {
            command(&format!("COPY 2 {saved}"));
            command("STORE 2 +FLAGS.SILENT (\\Deleted)");
            command("EXPUNGE");
        }
        let [first, second, third] = &messages;
        // What it has fetched is seen.
        let inbox = lines(&[("\\Answered \\Flagged \\Seen", first), ("\\Seen", third)]);
        assert_eq!(desk.mailbox("INBOX"), inbox);
        assert_eq!(desk.mailbox("Saved"), lines(&[("\\Seen", second)]));
        vec![listed, found]
    },
};
