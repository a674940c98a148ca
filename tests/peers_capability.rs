//! Capability lists, and the commands that the proxy refuses, between scripted peers.

mod common;

use common::{
    bench::{Bench, COMBINATIONS, Encryption::Insecure, GREETING, exchange},
    peer::Peer,
};

/// Everything whose protocol stays lines and literals.
const KEPT: &str = "IMAP4rev1 IMAP4rev2 LOGINDISABLED UIDPLUS NAMESPACE SORT SORT=DISPLAY \
    THREAD=REFERENCES THREAD=ORDEREDSUBJECT THREAD=REFS SASL-IR LITERAL+ LITERAL- ID ENABLE IDLE \
    ACL RIGHTS=texk QUOTA QUOTA=RES-STORAGE QUOTASET MOVE UNSELECT CHILDREN BINARY CONDSTORE \
    QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-EXTENDED LIST-STATUS SPECIAL-USE \
    CREATE-SPECIAL-USE METADATA METADATA-SERVER NOTIFY MULTIAPPEND CATENATE URLAUTH REPLACE \
    I18NLEVEL=1 LANGUAGE FILTERS CONVERT PREVIEW SAVEDATE OBJECTID STATUS=SIZE APPENDLIMIT \
    APPENDLIMIT=35651584 UTF8=ACCEPT UTF8=ONLY SEARCH=FUZZY MULTISEARCH UIDONLY PARTIAL JMAPACCESS \
    X-GM-EXT-1 XLIST XAPPLEPUSHSERVICE AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=XOAUTH2 \
    AUTH=OAUTHBEARER AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256";

/// What cannot work through a proxy, or is not known.
const STRIPPED: &[&str] = &[
    "COMPRESS=DEFLATE",
    "COMPRESS=ZSTD",
    "STARTTLS",
    "UNAUTHENTICATE",
    "LOGIN-REFERRALS",
    "MAILBOX-REFERRALS",
    "AUTH=EXTERNAL",
    "AUTH=GSSAPI",
    "AUTH=NTLM",
    "AUTH=DIGEST-MD5",
    "AUTH=SCRAM-SHA-1-PLUS",
    "AUTH=SCRAM-SHA-256-PLUS",
    "AUTH=X-OWN",
    "X-FOO",
    "XNEW=1",
    "IDLES",
    "compress=deflate",
    "StartTls",
    "auth=gssapi",
    "caf\u{e9}",
];

#[test]
fn what_stays_lines_and_literals_is_kept() {
    let list = KEPT.split_whitespace().collect::<Vec<_>>().join(" ");
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.capable(&list);
    for line in [
        format!("* CAPABILITY {list}\r\n"),
        format!("* CAPABILITY {}\r\n", list.to_lowercase()),
        // In the order and with the blanks of the server.
        "* CAPABILITY  SORT IDLE IDLE  IMAP4rev1 \r\n".to_owned(),
        "* Capability IMAP4rev1\n".to_owned(),
    ] {
        server.send(&line);
        client.expect(&line);
    }
}

#[test]
fn what_cannot_work_is_stripped() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    for name in STRIPPED {
        server.send(format!("* CAPABILITY IMAP4rev1 {name} IDLE\r\n"));
        client.expect("* CAPABILITY IMAP4rev1 IDLE\r\n");
        server.send(format!("* CAPABILITY IMAP4rev1 {name}\r\n"));
        client.expect("* CAPABILITY IMAP4rev1\r\n");
    }
    server.send(format!("* CAPABILITY IMAP4rev1 {} IDLE\r\n", STRIPPED.join(" ")));
    client.expect("* CAPABILITY IMAP4rev1 IDLE\r\n");
}

#[test]
fn lists_are_filtered_wherever_they_stand() {
    let places = [
        ("* CAPABILITY IMAP4rev1 X-FOO IDLE\r\n", "* CAPABILITY IMAP4rev1 IDLE\r\n"),
        ("* capability X-FOO IDLE\r\n", "* capability IDLE\r\n"),
        ("A1 OK [CAPABILITY IDLE X-FOO] done\r\n", "A1 OK [CAPABILITY IDLE] done\r\n"),
        ("A1 NO [CAPABILITY IDLE X-FOO] no\r\n", "A1 NO [CAPABILITY IDLE] no\r\n"),
        ("A1 BAD [capability X-FOO IDLE] {3}\r\n", "A1 BAD [capability IDLE] {3}\r\n"),
        ("* OK [CAPABILITY X-FOO IDLE] now\r\n", "* OK [CAPABILITY IDLE] now\r\n"),
        ("* NO [CAPABILITY IDLE X-FOO] now\r\n", "* NO [CAPABILITY IDLE] now\r\n"),
        ("+ [CAPABILITY IDLE X-FOO] go on\r\n", "+ [CAPABILITY IDLE] go on\r\n"),
        // Not a single byte of the text is lost.
        ("A1 OK [CAPABILITY IDLE X-FOO]\r\n", "A1 OK [CAPABILITY IDLE]\r\n"),
        (
            "* OK [CAPABILITY X-FOO IDLE] \u{e4} [X-FOO]\r\n",
            "* OK [CAPABILITY IDLE] \u{e4} [X-FOO]\r\n",
        ),
    ];
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        for (sent, expected) in places {
            server.send(sent);
            client.expect(expected);
        }
    }
}

#[test]
fn greetings_are_filtered() {
    let bench = Bench::insecure();
    for status in ["OK", "PREAUTH", "ok"] {
        let (mut client, mut server) = bench.connect();
        server.send(format!("* {status} [CAPABILITY IMAP4rev1 STARTTLS IDLE X-FOO] hello\r\n"));
        client.expect(format!("* {status} [CAPABILITY IMAP4rev1 IDLE] hello\r\n"));
        exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    }
}

#[test]
fn other_mentions_are_no_lists() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    for line in [
        "* OK server offers CAPABILITY X-FOO STARTTLS\r\n",
        "* OK see [CAPABILITY X-FOO]\r\n",
        "A1 OK CAPABILITY X-FOO completed\r\n",
        "* LIST () \"/\" {27}\r\n* CAPABILITY X-FOO STARTTLS\r\n",
        "* 1 FETCH (BODY[] {21}\r\n* CAPABILITY X-FOO\r\n\0)\r\n",
        "* OK [X-CAPABILITY X-FOO] so\r\n",
        "* OK [ALERT] [CAPABILITY X-FOO]\r\n",
        "* CAPABILITIES X-FOO\r\n",
    ] {
        server.send(line);
        client.expect(line);
    }
}

#[test]
fn lists_that_come_in_pieces_are_filtered() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    server.send_bytewise("* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE\r\nA1 OK done\r\n");
    client.expect("* CAPABILITY IMAP4rev1 IDLE\r\nA1 OK done\r\n");
}

#[test]
fn long_lists_are_filtered() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    server.send(format!("* CAPABILITY IMAP4rev1{} IDLE\r\n", " X-NONSENSE".repeat(1000)));
    client.expect("* CAPABILITY IMAP4rev1 IDLE\r\n");
}

#[test]
fn config_allows_more() {
    let keys = "allow_capabilities = [\"X-FOO\", \"auth=x-own\"]";
    let bench = Bench::new(Insecure, Insecure, keys);
    let (mut client, mut server) = bench.session();
    server.send("* CAPABILITY IMAP4rev1 x-foo X-BAR AUTH=X-OWN AUTH=NTLM\r\n");
    client.expect("* CAPABILITY IMAP4rev1 x-foo AUTH=X-OWN\r\n");
    exchange(&mut client, &mut server, b"A1 AUTHENTICATE X-OWN\r\n", b"A1 NO not today\r\n");
}

/// Whatever the config allows, these commands would make the proxy blind or confused.
#[test]
fn config_cannot_allow_everything() {
    let keys = "allow_capabilities = [\"COMPRESS=DEFLATE\", \"STARTTLS\", \"UNAUTHENTICATE\"]";
    let bench = Bench::new(Insecure, Insecure, keys);
    let (mut client, mut server) = bench.session();
    server.send("* CAPABILITY IDLE COMPRESS=DEFLATE STARTTLS UNAUTHENTICATE\r\n");
    client.expect("* CAPABILITY IDLE\r\n");
    refused(&mut client, &mut server, "A1 COMPRESS DEFLATE\r\n", "A1 NO [CANNOT] proxy: ");
}

#[test]
fn refused_commands_are_never_forwarded() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        for (command, answer) in [
            ("A1 COMPRESS DEFLATE\r\n", "A1 NO [CANNOT] proxy: "),
            ("a.b compress deflate\r\n", "a.b NO [CANNOT] proxy: "),
            ("A1 COMPRESS\r\n", "A1 NO [CANNOT] proxy: "),
            ("A1 COMPRESS DEFLATE\n", "A1 NO [CANNOT] proxy: "),
            ("A1 COMPRESS {7}\r\n", "A1 NO [CANNOT] proxy: "),
            ("A1 COMPRESS {8+}\r\nDEFLATE\n {3+}\r\nx\r\n\r\n", "A1 NO [CANNOT] proxy: "),
            ("A1 AUTHENTICATE {8}\r\n", "A1 BAD proxy: "),
            ("A1 AUTHENTICATE {8+}\r\nEXTERNAL\r\n", "A1 BAD proxy: "),
            ("A2 UNAUTHENTICATE\r\n", "A2 NO [CANNOT] proxy: "),
            ("A3 STARTTLS\r\n", "A3 BAD proxy: "),
            ("A3 starttls \r\n", "A3 BAD proxy: "),
        ] {
            refused(&mut client, &mut server, command, answer);
        }
    }
}

/// Bytes behind a refused STARTTLS are commands, not the start of TLS.
#[test]
fn pipelined_commands_after_a_refusal() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    client.send("A1 NOOP\r\nA2 STARTTLS\r\nA3 COMPRESS DEFLATE\r\nA4 NOOP\r\n");
    server.expect("A1 NOOP\r\nA4 NOOP\r\n");
    client.expect_line_starting("A2 BAD proxy: ");
    client.expect_line_starting("A3 NO [CANNOT] proxy: ");
    server.send("A1 OK done\r\nA4 OK done\r\n");
    client.expect("A1 OK done\r\nA4 OK done\r\n");
}

/// An answer of the proxy's own never lands inside a message of the server.
#[test]
fn refusal_waits_for_the_end_of_a_message() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    for (begin, end) in [
        ("* 1 FETCH (BODY[] {10}\r\n01234", "56789 FLAGS ())\r\n"),
        ("* 1 FETCH (BODY[] {3}\r\n012 BODY[TEXT] {4}\r\n3", "456)\r\n"),
    ] {
        server.send(begin);
        client.expect(begin);
        client.send("A2 COMPRESS DEFLATE\r\nA3 NOOP\r\n");
        server.expect("A3 NOOP\r\n");
        server.send(end);
        client.expect(end);
        client.expect_line_starting("A2 NO [CANNOT] proxy: ");
        server.send("A3 OK done\r\n");
        client.expect("A3 OK done\r\n");
    }
}

#[test]
fn log_tells_once_what_is_stripped() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.connect();
    let list = "[CAPABILITY IDLE COMPRESS=DEFLATE X-FOO]";
    server.send(format!("* OK {list} ready\r\nA1 OK {list} done\r\n"));
    server.send("* CAPABILITY IDLE X-FOO X-LAST\r\n");
    client.expect("* OK [CAPABILITY IDLE] ready\r\nA1 OK [CAPABILITY IDLE] done\r\n");
    client.expect("* CAPABILITY IDLE\r\n");
    bench.proxy.wait_log("X-LAST");
    for name in ["COMPRESS=DEFLATE", "X-FOO", "X-LAST"] {
        let log = bench.proxy.log();
        let said = |line: &&str| line.contains("not passed on") && line.contains(name);
        assert_eq!(log.lines().filter(said).count(), 1, "{name} in:\n{log}");
    }
    // In another session it is said again.
    let (mut client, mut server) = bench.connect();
    server.send("* OK [CAPABILITY X-FOO X-AGAIN] ready\r\n");
    client.expect("* OK [CAPABILITY] ready\r\n");
    let line = bench.proxy.wait_log("X-AGAIN");
    assert!(line.contains("not passed on"), "{line}");
}

#[test]
fn greeting_without_a_list_has_none_added() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.greeted(GREETING);
    let list = b"* CAPABILITY IMAP4rev1\r\nA1 OK done\r\n";
    exchange(&mut client, &mut server, b"A1 CAPABILITY\r\n", list);
}

/// The command gets this answer, and the next command is the first that the server sees.
#[track_caller]
fn refused(client: &mut Peer, server: &mut Peer, command: &str, answer: &str) {
    client.send(command);
    client.expect_line_starting(answer);
    exchange(client, server, b"A9 NOOP\r\n", b"A9 OK done\r\n");
}
