//! Messages that pass byte for byte, decodable or not, between scripted peers.

mod common;

use std::ops::RangeInclusive;

use common::bench::{Bench, COMBINATIONS, Encryption::Insecure, exchange};

/// What the codec cannot decode, would change, or would refuse; all of it for the server to judge.
const COMMANDS: &[&[u8]] = &[
    // Sets that mean something else once they are normalised.
    b"A1 UID EXPUNGE 7:4294967295\r\n",
    b"A1 UID FETCH 4294967294:* (FLAGS)\r\n",
    b"A1 UID FETCH 9,3,5:4,3,1:2 (UID)\r\n",
    b"A1 UID STORE 7:4294967294 +FLAGS.SILENT (\\Deleted)\r\n",
    // Extensions.
    b"A1 NAMESPACE\r\n",
    b"A1 SELECT INBOX (CONDSTORE)\r\n",
    b"A1 SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))\r\n",
    b"A1 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)\r\n",
    b"A1 LIST (SPECIAL-USE) \"\" \"*\" RETURN (STATUS (MESSAGES) SPECIAL-USE)\r\n",
    b"A1 LIST (SUBSCRIBED) \"\" (\"a/%\" \"b/*\")\r\n",
    b"A1 XLIST \"\" \"*\"\r\n",
    b"A1 RLIST \"\" \"*\"\r\n",
    b"A1 UID SEARCH RETURN (MIN MAX COUNT SAVE) UNSEEN\r\n",
    b"A1 SEARCH MODSEQ 620162338\r\n",
    b"A1 SEARCH X-GM-RAW \"has:attachment\"\r\n",
    b"A1 SEARCH OR OR OR OR OR OR OR OR OR SEEN SEEN SEEN SEEN SEEN SEEN SEEN SEEN SEEN SEEN\r\n",
    b"A1 GETACL INBOX\r\n",
    b"A1 MYRIGHTS INBOX\r\n",
    b"A1 GETMETADATA INBOX (DEPTH 1) /private/comment\r\n",
    b"A1 NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge))\r\n",
    b"A1 FETCH 1 (X-GM-MSGID X-GM-THRID X-GM-LABELS)\r\n",
    b"A1 FETCH 1 (PREVIEW (LAZY))\r\n",
    b"A1 FETCH 1 BINARY[1]<0.10>\r\n",
    b"A1 STATUS INBOX (HIGHESTMODSEQ SIZE MAILBOXID)\r\n",
    b"A1 CREATE Sent (USE (\\Sent))\r\n",
    b"A1 STORE 1 (UNCHANGEDSINCE 5) FLAGS ()\r\n",
    b"A1 APPEND INBOX CATENATE (URL \"/INBOX/;UID=1\")\r\n",
    b"A1 ENABLE CONDSTORE QRESYNC UTF8=ACCEPT X-WHATEVER\r\n",
    b"A1 ID (\"name\" \"x\" \"name\" NIL)\r\n",
    // Nonsense, and what is nearly right.
    b"A1 FOO\r\n",
    b"A1 FOO bar \x01 baz\r\n",
    b"A1 NOOP \r\n",
    b"A1  NOOP\r\n",
    b" A1 NOOP\r\n",
    b"A1\tNOOP\r\n",
    b"A1 LOGIN a b%c\r\n",
    b"A1 LOGIN a \"caf\xc3\xa9\"\r\n",
    b"A1 SELECT \"caf\xe9\"\r\n",
    b"A1 SELECT a\0b\r\n",
    b"A1\r\n",
    b"A1 \r\n",
    b"\r\n",
    b" \r\n",
    b"*\r\n",
    b"+ OK\r\n",
    b"* 1 EXISTS\r\n",
    b"DONE\r\n",
    b"A1+ NOOP\r\n",
    b"\xff\xfe\x00\xff\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n",
    // Ends of lines.
    b"A1 NOOP\n",
    b"A1 NO\rOP\r\n",
    b"A1 NOOP\r\r\n",
    b"\n",
];

/// As above, from the server.
const RESPONSES: &[&[u8]] = &[
    b"A1 OK\r\n",
    b"A1 OK \r\n",
    b"A1 NO\r\n",
    b"A1 BAD\r\n",
    b"A1 OK caf\xc3\xa9\r\n",
    b"A1 OK caf\xe9\r\n",
    b"A1 ok Done\r\n",
    b"A1 OK [X-FOO bar] done\r\n",
    b"A1 OK [READ-WRITE]\r\n",
    b"A1 OK [unfinished\r\n",
    b"* OK hello {10}\r\nA1 OK done\r\n",
    b"A1 NO [ALERT] see {3}\r\n* OK next\r\n",
    b"* NO {4294967295}\r\n* OK next\r\n",
    b"+ {7}\r\n* OK next\r\n",
    b"B9 OK nobody asked\r\n",
    b"* 23 EXISTS\r\n",
    b"* 4294967296 EXISTS\r\n",
    b"* 1 FETCH (FLAGS (\\Seen) X-GM-MSGID 1278455344230334865 X-GM-LABELS (\\Inbox \"a b\"))\r\n",
    b"* 1 FETCH (MODSEQ (0) EMAILID (M6d99ac3275bb4e) THREADID NIL PREVIEW \"hi\")\r\n",
    b"* 1 FETCH (RFC822.SIZE 4294967296 UID 0)\r\n",
    b"* 1 FETCH (FLAGS (\\Seen) )\r\n",
    b"* 1 FETCH (ENVELOPE (NIL \"caf\xe9 \xc3\xa9\" NIL NIL NIL NIL NIL NIL NIL NIL))\r\n",
    b"* 1 FETCH (ENVELOPE (NIL NIL () () () () () () NIL NIL))\r\n",
    b"* 1 FETCH (BODY (\"text\" \"Plain\" (\"boundary\" NIL) NIL NIL \"7bit\" -1 -1))\r\n",
    b"* 1 FETCH (BODY[] {5}\r\n\0\xff\r\n\0 BODY[TEXT]<0> {0}\r\n UID 5)\r\n",
    b"* 1 FETCH (BINARY[1] ~{4}\r\n\0\0\0\0)\r\n",
    b"* 1 FETCH (BODY[] NIL X {2}\r\n{2 {3}\r\n}\r\n)\r\n",
    b"* ESEARCH (TAG \"A1\") UID MIN 7 MAX 3800 ALL 7:4294967295\r\n",
    b"* SEARCH 2 5 6 (MODSEQ 917162500)\r\n",
    b"* SORT 3 1 2 (MODSEQ 5)\r\n",
    b"* THREAD (1) (2)(((((((((3)))))))))\r\n",
    b"* VANISHED (EARLIER) 300:310,9:7,4294967295\r\n",
    b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n",
    b"* ACL INBOX alice lrswipkxtecda\r\n",
    b"* METADATA INBOX (/private/comment {2}\r\nhi)\r\n",
    b"* LIST (\\HasNoChildren \\Sent) \"/\" {4}\r\nSent (\"OLDNAME\" (\"Old\"))\r\n",
    b"* LIST () NIL \"caf\xc3\xa9\"\r\n",
    b"* STATUS INBOX (UIDNEXT 0 MAILBOXID (F1) SIZE 5)\r\n",
    b"* QUOTA \"\" ()\r\n",
    b"* FLAGS (\\Answered \"quoted\" a%b)\r\n",
    b"* LANGUAGE (DE)\r\n",
    b"* ID ()\r\n",
    b"* ENABLED QRESYNC X-WHATEVER\r\n",
    b"* X-NONSENSE \x01\x7f\r\n",
    b"* \r\n",
    b"*\r\n",
    b"\r\n",
    b" \r\n",
    b"nonsense\r\n",
    b"+\r\n",
    b"+ \r\n",
    b"+nonsense\r\n",
    b"* 1 EXISTS\n",
    b"* 1 EX\rISTS\r\n",
    b"A1 OK done\n",
    b"\xff\xfe\x00\xff\r\n",
];

#[test]
fn commands_pass_unchanged() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "trace = \"full\"");
        let (mut client, mut server) = bench.session();
        for command in COMMANDS {
            // Too many answers BAD would end the session.
            exchange(&mut client, &mut server, command, b"A1 NO [UNAVAILABLE] later\r\n");
        }
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

#[test]
fn responses_pass_unchanged() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "trace = \"full\"");
        let (mut client, mut server) = bench.session();
        for response in RESPONSES {
            exchange(&mut client, &mut server, b"A1 NOOP\r\n", response);
        }
        exchange(&mut client, &mut server, b"A2 NOOP\r\n", b"A2 OK done\r\n");
    }
}

/// Whatever pieces the bytes come in, they make the same messages.
#[test]
fn pieces_do_not_matter() {
    let bench = Bench::insecure();
    // Before login a LOGIN would wait for the answer to the one before it.
    let (mut client, mut server) = bench.greeted("* PREAUTH in\r\n");
    let commands = COMMANDS.concat();
    client.send_bytewise(&commands);
    server.expect(&commands);
    let responses = RESPONSES.concat();
    server.send_bytewise(&responses);
    client.expect(&responses);
}

#[test]
fn pipelining() {
    for (bind, connect) in COMBINATIONS {
        let bench = Bench::new(bind, connect, "");
        let (mut client, mut server) = bench.session();
        let commands = numbered(1..=500, |n| format!("A{n} UID FETCH {n} FLAGS\r\n"));
        let answers = numbered(1..=500, |n| format!("* {n} FETCH (UID {n})\r\nA{n} OK\r\n"));
        client.send(&commands);
        server.expect(&commands);
        server.send(&answers);
        client.expect(&answers);
    }
}

/// The server is asked no more than it can answer; nothing is lost by that.
#[test]
fn more_unanswered_commands_than_allowed() {
    let keys = "limits = { unanswered_commands = 10 }";
    let bench = Bench::new(Insecure, Insecure, keys);
    let (mut client, mut server) = bench.session();
    let commands = numbered(1..=200, |n| format!("A{n} NOOP\r\n"));
    client.send(commands);
    for n in 1..=200 {
        server.expect(format!("A{n} NOOP\r\n"));
        server.send(format!("A{n} OK\r\n"));
        client.expect(format!("A{n} OK\r\n"));
    }
}

/// Commands that no answer names must not fill the queue of unanswered ones for good.
#[test]
fn commands_that_are_never_answered_by_tag() {
    let keys = "limits = { unanswered_commands = 10 }";
    let bench = Bench::new(Insecure, Insecure, keys);
    let (mut client, mut server) = bench.session();
    for _ in 0..50 {
        exchange(&mut client, &mut server, b"\xff NOOP\r\n", b"* BAD what?\r\n");
        exchange(&mut client, &mut server, b"\r\n", b"* BAD what?\r\n");
        exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK\r\n");
    }
}

/// Nothing asked for, in any order, with tags that nobody used.
#[test]
fn unsolicited_responses() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let push =
        b"* 5 EXISTS\r\n* 1 EXPUNGE\r\nZ1 OK what?\r\nA1 OK early\r\n+ go on\r\n* 4 EXISTS\r\n";
    server.send(push);
    client.expect(push);
    exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK done\r\n");
    exchange(&mut client, &mut server, b"A1 NOOP\r\n", b"A1 OK a tag may come again\r\n");
}

/// What ends in `{n}` there is text: the proxy must not take what follows for content.
#[test]
fn text_that_looks_like_a_literal() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    for text in ["* OK", "* NO [ALERT]", "* BAD", "* BYE", "A0 OK", "+"] {
        let line = format!("{text} {{500}}\r\n");
        exchange(&mut client, &mut server, b"A1 IDLE\r\n", line.as_bytes());
        server.send("A1 NO {500}\r\n");
        client.expect("A1 NO {500}\r\n");
        // The proxy has seen the end of IDLE, for this is a command to it.
        client.send("A2 COMPRESS DEFLATE\r\n");
        client.expect_line_starting("A2 NO [CANNOT] proxy: ");
    }
}

#[test]
fn deep_body_structures_pass() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let text = "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 1 1)";
    let deep = format!("{}{text}{}", "(".repeat(5000), " \"MIXED\")".repeat(5000));
    let response = format!("* 1 FETCH (BODYSTRUCTURE {deep})\r\nA1 OK done\r\n");
    exchange(&mut client, &mut server, b"A1 FETCH 1 BODYSTRUCTURE\r\n", response.as_bytes());
}

/// Sets whose normalisation would take seconds.
#[test]
fn sparse_sets_pass() {
    let bench = Bench::insecure();
    let (mut client, mut server) = bench.session();
    let set = (1..10_000).rev().map(|n| (n * 2).to_string()).collect::<Vec<_>>().join(",");
    let command = format!("A1 UID FETCH {set} FLAGS\r\n");
    let response = format!("* VANISHED {set}\r\nA1 OK done\r\n");
    exchange(&mut client, &mut server, command.as_bytes(), response.as_bytes());
}

/// The lines for each number, one after the other.
fn numbered(range: RangeInclusive<u32>, line: impl Fn(u32) -> String) -> Vec<u8> {
    range.flat_map(|n| line(n).into_bytes()).collect()
}
