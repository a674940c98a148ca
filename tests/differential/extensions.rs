//! What a client says: the extensions.

use crate::{
    common::transcript::Transcript,
    script::{DATE, MAIL, PARTS, REPLY, farewell},
    site::Site,
};

pub(crate) fn sort(site: &mut Site) {
    let mut c = site.login();
    c.command("SELECT INBOX");
    for command in [
        "SORT (DATE) UTF-8 ALL",
        "UID SORT (REVERSE SUBJECT FROM) US-ASCII NOT DELETED",
        "SORT (DISPLAYFROM) UTF-8 ALL",
        "SORT RETURN (MIN MAX COUNT ALL) (SIZE) UTF-8 ALL",
        "SORT (NONSENSE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "THREAD REFS UTF-8 ALL",
        "UID THREAD ORDEREDSUBJECT US-ASCII ALL",
        "THREAD NONSENSE UTF-8 ALL",
    ] {
        c.command(command);
    }
    farewell(site, c);
}

pub(crate) fn resync(site: &mut Site) {
    let mut c = site.login();
    let uid_validity = uid_validity(&mut c);
    c.command("ENABLE QRESYNC CONDSTORE X-NOTHING");
    c.command(format!("SELECT INBOX (QRESYNC ({uid_validity} 1 1:100))"));
    for command in [
        "FETCH 1:* (FLAGS) (CHANGEDSINCE 1)",
        "UID FETCH 1:100 (FLAGS) (CHANGEDSINCE 1 VANISHED)",
        "STORE 1 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Flagged)",
        "STORE 1 (UNCHANGEDSINCE 4294967296) +FLAGS (\\Flagged)",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "STORE 3 +FLAGS (\\Deleted)",
        "EXPUNGE",
        "CLOSE",
        "SELECT INBOX (CONDSTORE)",
        "SELECT Copies",
    ] {
        c.command(command);
    }
    farewell(site, c);
}

pub(crate) fn list(site: &mut Site) {
    let mut c = site.login();
    for command in [
        "NAMESPACE",
        "CREATE Projects (USE (\\Archive))",
        "LIST (SPECIAL-USE) \"\" \"*\"",
        "LIST \"\" \"*\" RETURN (SPECIAL-USE CHILDREN SUBSCRIBED)",
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"%\" RETURN (CHILDREN)",
        "LIST \"\" (\"INBOX\" \"Work/%\" Sent) RETURN (STATUS (MESSAGES UNSEEN SIZE))",
        "LIST (NONSENSE) \"\" \"*\"",
        "LIST \"\" (\"a\" \"b\"",
        "LSUB \"\" \"*\"",
    ] {
        c.command(command);
    }
    c.parts(&["LIST {0}", " {4}", "Work"]);
    farewell(site, c);
}

pub(crate) fn catenate(site: &mut Site) {
    let mut c = site.login();
    c.command("CREATE Pieces");
    let first = format!("APPEND Pieces (\\Seen) {DATE} {{{}}}", MAIL.len());
    let second = format!("{MAIL} (\\Draft) {DATE} {{{}}}", REPLY.len());
    c.parts(&[&first, &second, REPLY]);
    c.command("APPEND Pieces {8+}\r\nA: b\r\n\r\n {6+}\r\nC: d\r\n");
    c.parts(&[
        "APPEND Pieces CATENATE (TEXT {12}",
        "Subject: x\r\n TEXT {2}",
        "\r\n URL \"/INBOX/;UID=1/;SECTION=TEXT\")",
    ]);
    c.command("APPEND Pieces CATENATE (URL \"/INBOX/;UID=1\" TEXT {4+}\r\nend.)");
    c.command("APPEND Pieces CATENATE (URL \"/INBOX/;UID=999\")");
    c.command("SELECT Pieces");
    c.command("FETCH 1:* (FLAGS RFC822.SIZE BODY[])");
    farewell(site, c);
}

pub(crate) fn binary(site: &mut Site) {
    let mut c = site.login();
    c.command("SELECT INBOX");
    c.command(format!("APPEND INBOX {DATE} {{{}+}}\r\n{PARTS}", PARTS.len()));
    c.command("NOOP");
    for command in [
        "FETCH * BINARY.SIZE[2]",
        "FETCH * BINARY.PEEK[2]",
        "FETCH * BINARY[2]<2.5>",
        "FETCH * BINARY.PEEK[1]",
        "FETCH 1 BINARY.PEEK[7]",
    ] {
        c.command(command);
    }
    let mail = "Content-Transfer-Encoding: binary\r\n\r\n\0\u{1}\r\n{3}\r\n";
    c.parts(&[&format!("APPEND INBOX ~{{{}}}", mail.len()), mail]);
    c.command(format!("APPEND INBOX ~{{{}+}}\r\n{mail}", mail.len()));
    c.command("NOOP");
    c.command("FETCH * (BODY.PEEK[] BINARY.PEEK[1])");
    farewell(site, c);
}

pub(crate) fn annotations(site: &mut Site) {
    let mut c = site.login();
    for command in [
        "SETMETADATA INBOX (/private/comment \"first\" /private/vendor/x/y NIL)",
        "SETMETADATA INBOX (/private/comment {12+}\r\nwith\r\nlines!)",
        "GETMETADATA INBOX (/private/comment)",
        "GETMETADATA (MAXSIZE 4) INBOX (/private/comment)",
        "GETMETADATA (DEPTH infinity) INBOX (/private)",
        "GETMETADATA \"\" /shared/admin",
        "SETMETADATA INBOX (/private/comment NIL)",
        "MYRIGHTS INBOX",
        "GETACL Work",
        "SETACL Work bob lrs",
        "SETACL Work bob nonsense",
        "GETACL Work",
        "LISTRIGHTS Work bob",
        "DELETEACL Work bob",
        "GETQUOTAROOT INBOX",
        "GETQUOTA \"User quota\"",
        "GETQUOTA nowhere",
        "SETQUOTA \"User quota\" (STORAGE 5)",
    ] {
        c.command(command);
    }
    c.parts(&["SETMETADATA INBOX (/private/comment {4}", "note)"]);
    farewell(site, c);
}

pub(crate) fn idle(site: &mut Site) {
    let mut other = site.login();
    let mut c = site.login();
    c.command("CREATE Watched");
    c.command("SELECT Watched");
    c.line("I1 IDLE");
    c.wait_for("+ idling");
    other.append("Watched", MAIL);
    c.wait_for(" EXISTS");
    c.wait_for(" RECENT");
    c.line("DONE");
    c.wait_for("I1 OK");
    c.line("I2 IDLE");
    c.wait_for("+ idling");
    c.line("done");
    c.wait_for("I2 ");
    // What is not DONE ends it, too.
    c.line("I3 IDLE");
    c.wait_for("+ idling");
    c.line("I4 NOOP");
    c.wait_for("I3 ");
    c.command("NOOP");
    farewell(site, other);
    farewell(site, c);
}

pub(crate) fn notify(site: &mut Site) {
    let mut other = site.login();
    let mut c = site.login();
    c.command("CREATE Elsewhere");
    c.command(
        "NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge)) \
         (mailboxes Elsewhere (MessageNew MessageExpunge))",
    );
    c.command("SELECT Watched");
    other.append("Elsewhere", MAIL);
    c.wait_for("* STATUS Elsewhere");
    other.append("Watched", REPLY);
    c.command("NOOP");
    c.command("NOTIFY NONE");
    c.command("NOTIFY SET (nonsense)");
    farewell(site, other);
    farewell(site, c);
}

/// INBOX's UIDVALIDITY, which is another on each server.
fn uid_validity(c: &mut Transcript) -> String {
    c.command("STATUS INBOX (UIDVALIDITY)");
    let [.., status, _] = c.messages() else { panic!("two messages at least") };
    status.chars().filter(char::is_ascii_digit).collect()
}
