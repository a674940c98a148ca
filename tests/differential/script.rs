//! What a client says: the base protocol, and what it is made of.

use crate::{
    common::{
        secrets::{ACCOUNT, USER, WRONG, sasl_plain},
        transcript::Transcript,
    },
    extensions::{annotations, binary, catenate, idle, list, notify, resync, sort},
    site::Site,
};

/// One part of the script. Each runs on connections of its own, in this order on one account.
pub(crate) type Section = (&'static str, fn(&mut Site));

pub(crate) const SECTIONS: &[Section] = &[
    ("before login", before_login),
    ("SASL", sasl),
    ("LOGIN", login),
    ("mailboxes", mailboxes),
    ("APPEND and LITERAL+", append),
    ("FETCH", fetch),
    ("STORE, COPY, EXPUNGE, UIDPLUS, MOVE", change),
    ("SEARCH, ESEARCH, SEARCHRES, WITHIN", search),
    ("SORT, THREAD", sort),
    ("CONDSTORE, QRESYNC", resync),
    ("LIST-EXTENDED, LIST-STATUS, SPECIAL-USE, NAMESPACE", list),
    ("MULTIAPPEND, CATENATE", catenate),
    ("BINARY", binary),
    ("METADATA, ACL, QUOTA", annotations),
    ("IDLE", idle),
    ("NOTIFY", notify),
    ("syntax errors", errors),
    ("pipelining", pipelining),
];

pub(crate) const MAIL: &str = "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\n\
    Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= (1) {5}\r\nDate: Thu, 01 Feb 2024 10:00:00 +0000\r\n\
    Message-ID: <one@example.org>\r\n\r\nHello {10}\r\nA1 OK not an answer\r\n* BYE nor this\r\n";

pub(crate) const REPLY: &str = "From: \"Bob \\\"B\\\"\" <bob@example.org>\r\nTo: Alice <alice@example.org>\r\n\
    Subject: Re: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= (1) {5}\r\nDate: Fri, 02 Feb 2024 10:00:00 +0000\r\n\
    Message-ID: <two@example.org>\r\nIn-Reply-To: <one@example.org>\r\n\
    References: <one@example.org>\r\n\r\nW\u{fc}nsche\r\n";

pub(crate) const PARTS: &str = "From: carol@example.org\r\nSubject: parts\r\nMIME-Version: 1.0\r\n\
    Date: Sat, 03 Feb 2024 10:00:00 +0000\r\nMessage-ID: <three@example.org>\r\n\
    Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\n\
    plain\r\n--=_b\r\nContent-Type: application/octet-stream; name=\"a b.bin\"\r\n\
    Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n\
    AAECA/8AIHsxMH0NCg==\r\n--=_b--\r\n";

pub(crate) const DATE: &str = "\"05-Feb-2024 06:07:08 +0200\"";

fn before_login(site: &mut Site) {
    let mut c = site.connect();
    for command in [
        "CAPABILITY",
        "NOOP",
        "ID NIL",
        "ID (\"name\" \"a client\" \"version\" NIL)",
        "SELECT INBOX",
        "LOGIN",
    ] {
        c.command(command);
    }
    farewell(site, c);

    // Too many of these, and Dovecot ends the session.
    let mut c = site.connect();
    c.command("LOGIN too many arguments here");
    c.command("FROBNICATE now");
    c.line("");
    c.wait_for("* BYE ");
    c.end();
    site.keep(&c);
}

fn sasl(site: &mut Site) {
    let right = sasl_plain(ACCOUNT);
    let mut c = site.connect();
    c.parts(&["AUTHENTICATE PLAIN", &sasl_plain(WRONG)]);
    c.parts(&["AUTHENTICATE PLAIN", "*"]);
    c.parts(&["AUTHENTICATE PLAIN", "!no base64!"]);
    c.command(format!("AUTHENTICATE PLAIN {}", sasl_plain(WRONG)));
    c.parts(&["AUTHENTICATE PLAIN", &right]);
    farewell(site, c);

    let mut c = site.connect();
    c.command(format!("authenticate plain {right}"));
    c.command(format!("AUTHENTICATE PLAIN {right}"));
    farewell(site, c);

    // `alice`, then the password, each in base64.
    let mut c = site.connect();
    let (user, password) = (crate::base64(USER), crate::base64(ACCOUNT));
    c.parts(&["AUTHENTICATE LOGIN", &user, &password]);
    farewell(site, c);
}

fn login(site: &mut Site) {
    let mut c = site.connect();
    c.command(format!("LOGIN {USER} {WRONG}"));
    c.command(format!("LOGIN \"{USER}\" \"{ACCOUNT}\""));
    farewell(site, c);

    let mut c = site.connect();
    let announced = format!("LOGIN {{{}}}", USER.len());
    let user = format!("{USER} {{{}}}", ACCOUNT.len());
    c.parts(&[&announced, &user, ACCOUNT]);
    c.command("LOGIN again please");
    farewell(site, c);

    let mut c = site.connect();
    let (user, password) = (USER.len(), ACCOUNT.len());
    c.command(format!("login {{{user}+}}\r\n{USER} {{{password}+}}\r\n{ACCOUNT}"));
    farewell(site, c);
}

fn mailboxes(site: &mut Site) {
    let mut c = site.login();
    for command in [
        "LIST \"\" \"\"",
        "LIST \"\" \"*\"",
        "CREATE Work",
        "CREATE Work/2024/February",
        "CREATE \"Entw&APw-rfe und Pl&AOQ-ne\"",
        "CREATE Work",
        "SUBSCRIBE Work",
        "SUBSCRIBE \"Work/none\"",
        "LSUB \"\" %",
        "RENAME Work/2024 Work/2025",
        "LIST \"\" Work/%",
        "STATUS Work (MESSAGES RECENT UIDNEXT UNSEEN SIZE HIGHESTMODSEQ)",
        "STATUS nowhere (MESSAGES)",
        "UNSUBSCRIBE Work",
        "DELETE Work/2025/February",
        "DELETE nowhere",
        "EXAMINE Work",
        "SELECT nowhere",
        "SELECT Work",
        "CHECK",
        "CLOSE",
        "UNSELECT",
    ] {
        c.command(command);
    }
    c.parts(&["CREATE {12}", "Work/literal"]);
    c.command("CREATE {13+}\r\nWork/literal2");
    c.parts(&["RENAME {12}", "Work/literal {10}", "Work/moved"]);
    farewell(site, c);
}

fn append(site: &mut Site) {
    let mut c = site.login();
    c.append(&format!("INBOX {DATE}"), MAIL);
    c.append(&format!("INBOX (\\Seen $Work) {DATE}"), REPLY);
    c.command(format!("APPEND INBOX {DATE} {{{}+}}\r\n{PARTS}", PARTS.len()));
    // Beyond what the proxy collects, by either kind of literal.
    let large = format!("{MAIL}{}", "0123456789 {99}\r\n".repeat(4000));
    c.append(&format!("INBOX (\\Flagged) {DATE}"), &large);
    c.command(format!("APPEND INBOX {DATE} {{{}+}}\r\n{large}", large.len()));
    c.append("nowhere", &large);
    c.command(format!("APPEND nowhere {{{}+}}\r\n{MAIL}", MAIL.len()));
    c.command(format!("APPEND nowhere {{{}+}}\r\n{large}", large.len()));
    c.command("APPEND INBOX {0+}\r\n");
    c.command("STATUS INBOX (MESSAGES UIDNEXT SIZE)");
    farewell(site, c);
}

fn fetch(site: &mut Site) {
    let mut c = site.login();
    c.command("SELECT INBOX");
    for command in [
        "FETCH 2:5 (UID FLAGS INTERNALDATE RFC822.SIZE)",
        "FETCH 1:3 FULL",
        "FETCH 1:* ENVELOPE",
        "FETCH 3 (BODY BODYSTRUCTURE)",
        "FETCH 1 BODY[]",
        "FETCH 2,3 (BODY.PEEK[HEADER.FIELDS (Subject \"From\")] BODY.PEEK[TEXT])",
        "FETCH 3 (BODY.PEEK[1] BODY.PEEK[2] BODY.PEEK[2.MIME] BODY.PEEK[9])",
        "FETCH 4 BODY[]",
        "FETCH 4 BODY[]<10000.5000>",
        "FETCH 4 BODY[]<1000000.5>",
        "FETCH 1:5 (RFC822.HEADER RFC822.TEXT)",
        "FETCH 1:5 (PREVIEW)",
        "UID FETCH 1:4294967295 (FLAGS)",
        "UID FETCH 1:* (FLAGS MODSEQ)",
        "UID FETCH 900 FLAGS",
        "FETCH 900 FLAGS",
        "FETCH 0 FLAGS",
        "FETCH 1 (NONSENSE)",
        "FETCH 1 BODY[",
    ] {
        c.command(command);
    }
    c.parts(&["FETCH 1 BODY.PEEK[HEADER.FIELDS ({7}", "Subject)]"]);
    farewell(site, c);
}

fn change(site: &mut Site) {
    let mut c = site.login();
    c.command("CREATE Copies");
    c.command("SELECT INBOX");
    for command in [
        "STORE 1:2 +FLAGS (\\Answered $Forwarded custom)",
        "STORE 2 -FLAGS.SILENT (\\Answered)",
        "STORE 3 FLAGS ()",
        "STORE 3 FLAGS (\\Bogus)",
        "UID STORE 3 +FLAGS (\\Draft)",
        "COPY 1:3 Copies",
        "UID COPY 1,3 Copies",
        "COPY 1 nowhere",
        "MOVE 5 Copies",
        "UID MOVE 999 Copies",
        "STORE 4 +FLAGS (\\Deleted)",
        "UID EXPUNGE 999",
        "UID EXPUNGE 4:4294967295",
        "EXPUNGE",
        "SELECT Copies",
        "FETCH 1:* (UID FLAGS INTERNALDATE)",
        "STORE 1:2 +FLAGS.SILENT (\\Deleted)",
        "CLOSE",
        "STATUS Copies (MESSAGES UIDNEXT)",
    ] {
        c.command(command);
    }
    farewell(site, c);
}

fn search(site: &mut Site) {
    let mut c = site.login();
    c.command("ENABLE CONDSTORE");
    c.command("SELECT INBOX");
    for command in [
        "SEARCH ALL",
        "UID SEARCH UNSEEN NOT DELETED",
        "SEARCH OR (FROM alice SUBJECT \"1\") (OR LARGER 100 NOT (OR SEEN DRAFT))",
        "SEARCH CHARSET UTF-8 FROM bob",
        "SEARCH CHARSET NOSUCH FROM bob",
        "SEARCH SINCE 1-Jan-2024 BEFORE 31-Dec-2024 SENTON 2-Feb-2024",
        "SEARCH HEADER Message-ID one@example.org",
        "SEARCH RETURN () ALL",
        "SEARCH RETURN (MIN MAX COUNT ALL) 1:*",
        "UID SEARCH RETURN (COUNT) UID 1:2",
        "SEARCH RETURN (SAVE) FROM alice",
        "FETCH $ (UID)",
        "UID SEARCH RETURN (SAVE COUNT) UID 1:2",
        "UID FETCH $ FLAGS",
        "SEARCH MODSEQ 1",
        "SEARCH YOUNGER 1",
        "SEARCH OLDER 3600",
        "SEARCH RETURN (UPDATE COUNT) SEEN",
        "CANCELUPDATE \"A16\"",
        "SEARCH",
        "SEARCH OR OR",
    ] {
        c.command(command);
    }
    c.parts(&["SEARCH CHARSET UTF-8 SUBJECT {7}", "Gr\u{fc}\u{df}e"]);
    c.command("SEARCH SUBJECT {5+}\r\nparts");
    farewell(site, c);
}

fn errors(site: &mut Site) {
    let mut c = site.login();
    for command in [
        "FROBNICATE",
        "UID",
        "UID FROBNICATE 1",
        "NOOP with arguments",
        "SELECT",
        "SELECT \"unbalanced",
        "SELECT (INBOX)",
        "STATUS INBOX",
        "LIST \"\"",
        "DONE",
        "X-GM-NONSENSE (a b {c)",
        "SELECT caf\u{e9}",
        " NOOP",
        "",
    ] {
        c.command(command);
    }
    for line in ["*", "+ NOOP", "* NOOP", "NOOP", "\u{fffd} NOOP", "(A1) NOOP", " A1 NOOP", ""] {
        c.line(line);
    }
    c.command("NOOP ");
    c.line("B1 NOOP\nB2 NOOP");
    c.wait_for("B2 ");
    farewell(site, c);
}

fn pipelining(site: &mut Site) {
    let mut c = site.login();
    // Dovecot may do several commands at a time, but does a NOOP alone: this keeps the order.
    let pipelined = [
        "SELECT INBOX",
        "UID FETCH 1:* (FLAGS BODY.PEEK[])",
        "APPEND Pieces {6+}\r\nA: b\r\n",
        "STATUS Pieces (MESSAGES)",
        "NONSENSE",
        "UID SEARCH ALL",
    ];
    let commands = pipelined.map(|command| format!("P1 {command}\r\nP2 NOOP\r\n"));
    c.line(commands.concat() + "P3 NOOP");
    c.wait_for("P3 ");
    let fetches = (0..250).map(|n| format!("Q{n} FETCH 1 (UID)\r\nR{n} NOOP\r\n"));
    c.line(fetches.collect::<Vec<_>>().concat() + "Q NOOP");
    c.wait_for("Q OK");
    farewell(site, c);
}

/// Logs out, and keeps what was said.
pub(crate) fn farewell(site: &mut Site, mut transcript: Transcript) {
    transcript.command("LOGOUT");
    transcript.end();
    site.keep(&transcript);
}
