//! fetchmail: takes messages from the server, to deliver them here.

use super::{Client, lines};
use crate::{
    common::secrets::{ACCOUNT, USER},
    desk::{Desk, ca},
    mail::{large, mail},
};

pub(crate) const FETCHMAIL: Client = Client {
    name: "fetchmail",
    jobs: "25 MB down, flags, IDLE and get woken",
    work: |desk| {
        let messages = [mail(1, 10), large(2), mail(3, 2000)];
        let [first, second, third] = &messages;
        desk.deliver(&[first, second]);
        let deliver = desk.write("deliver", "cat >\"$(mktemp got/new/XXXXXX)\"\n");
        desk.maildir("got", &[]);
        let tls = format!("sslcertck sslcertfile {} sslproto tls1.2+", ca());
        let security = desk.security("sslproto ''", &tls, &format!("ssl {tls}")).to_owned();
        let config = format!(
            "set no bouncemail\npoll localhost protocol imap port {} timeout 120 auth password\n\
             user {USER} password {ACCOUNT} {security} idle keep no rewrite\n\
             mda \"sh {deliver}\"\n",
            desk.port()
        );
        let config = desk.write("fetchmailrc", &config);
        // With IDLE it never ends by itself, and not well when it is asked to.
        let command = format!(
            "chmod 600 {config}; fetchmail -v --nosyslog -f {config} --pidfile pid 2>&1; test -e end"
        );
        let mut idles = 0;
        desk.run_and(desk.command("sh").args(["-c", &command]), |line| {
            if line.contains("IMAP< +") {
                idles += 1;
                match idles {
                    1 => desk.deliver(&[third]),
                    _ => end(desk),
                }
            }
        });
        let got = desk.in_maildir("got");
        assert_eq!(got, lines(&[("", first), ("", second), ("", third)]));
        let seen = lines(&[("\\Seen", first), ("\\Seen", second), ("\\Seen", third)]);
        assert_eq!(desk.mailbox("INBOX"), seen);
        got
    },
};

/// Ends the fetchmail that has told its process id.
fn end(desk: &Desk) {
    let status = desk.command("sh").args(["-c", "touch end; kill $(head -n 1 pid)"]).status();
    assert!(status.expect("a shell").success(), "fetchmail has ended already");
}
