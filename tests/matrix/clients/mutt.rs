//! mutt, by the keys that one would press.

use super::{Client, lines};
use crate::{
    common::secrets::{ACCOUNT, USER},
    desk::{Desk, ca},
    mail::{large, mail},
};

pub(crate) const MUTT: Client = Client {
    name: "mutt",
    jobs: "25 MB down and up, search, flags, copy, move",
    work: |desk| {
        let (saved, back) = (desk.create("Saved"), desk.create("Back"));
        let messages = [mail(1, 10), mail(2, 3000), large(3)];
        let [first, second, third] = &messages;
        desk.deliver(&[first, second, third]);
        let local = desk.maildir("local", &[]);
        let keys = [
            // Save all of them here.
            format!("<tag-pattern>~A<enter><tag-prefix><copy-message>{local}<enter>"),
            // Move on the server what the server finds.
            "<untag-pattern>~A<enter><tag-pattern>=b needle2<enter>".to_owned(),
            format!("<tag-prefix><save-message>+{saved}<enter><sync-mailbox>"),
            "<first-entry><flag-message><sync-mailbox>".to_owned(),
            // And all of them from here to another mailbox there.
            format!("<change-folder>{local}<enter><tag-pattern>~A<enter>"),
            format!("<tag-prefix><copy-message>+{back}<enter><quit>"),
        ];
        mutt(desk, &keys.concat());

        assert_eq!(desk.mailbox("INBOX"), lines(&[("\\Flagged", first), ("", third)]));
        assert_eq!(desk.mailbox("Saved"), lines(&[("", second)]));
        let all = |flags| lines(&[(flags, first.as_str()), (flags, second), (flags, third)]);
        assert_eq!(desk.mailbox("Back"), all(""));
        assert_eq!(desk.in_maildir("local"), all(""));
        [desk.in_maildir("local"), desk.mailbox("Back")].concat()
    },
};

fn mutt(desk: &Desk, keys: &str) {
    let force = desk.security("no", "yes", "no");
    let starttls = desk.security("no", "yes", "no");
    let config = format!(
        "set folder={}\nset spoolfile=\"+INBOX\"\nset imap_user={USER}\nset imap_pass={ACCOUNT}\n\
         set certificate_file={}\nset ssl_force_tls={force}\nset ssl_starttls={starttls}\n\
         set confirmappend=no\nset confirmcreate=no\nset record=\"\"\nset postponed=\"\"\n\
         set mbox_type=Maildir\nset wait_key=no\nset quit=yes\nset delete=yes\nset move=no\n\
         set sort=mailbox-order\nset auto_tag=no\nset mark_old=no\n\
         push \"{keys}\"\n",
        desk.url(),
        ca()
    );
    let config = desk.write("muttrc", &config);
    // mutt wants a terminal, and one that has a size.
    let mutt = format!("stty rows 24 columns 80 && mutt -n -F {config}");
    desk.run(desk.command("script").args(["--quiet", "--return", "--command", &mutt, "/dev/null"]));
}
