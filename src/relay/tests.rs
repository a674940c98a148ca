//! Whole conversations through the relay, whatever pieces the bytes come in.

use bytes::Buf;

use super::*;

/// One step of a conversation: somebody speaks, and afterwards each side has got this.
struct Step {
    from: Party,
    sends: &'static str,
    client_gets: &'static str,
    server_gets: &'static str,
}

fn client(sends: &'static str) -> Step {
    Step { from: Party::Client, sends, client_gets: "", server_gets: "" }
}

fn server(sends: &'static str) -> Step {
    Step { from: Party::Server, sends, client_gets: "", server_gets: "" }
}

impl Step {
    /// What was said passes as it is.
    fn passes(mut self) -> Self {
        match self.from {
            Party::Client => self.server_gets = self.sends,
            _ => self.client_gets = self.sends,
        }
        self
    }

    fn client_gets(self, client_gets: &'static str) -> Self {
        Self { client_gets, ..self }
    }

    fn server_gets(self, server_gets: &'static str) -> Self {
        Self { server_gets, ..self }
    }
}

/// Everything that was shown of each side's messages.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    client: Vec<u8>,
    server: Vec<u8>,
    proxy: Vec<u8>,
    ends: Vec<(Party, Party, Kind)>,
    stripped: Vec<String>,
    logins: usize,
}

impl Seen {
    fn of(&mut self, from: Party) -> &mut Vec<u8> {
        match from {
            Party::Client => &mut self.client,
            Party::Server => &mut self.server,
            Party::Proxy => &mut self.proxy,
        }
    }
}

impl Tap for &mut Seen {
    fn line(&mut self, from: Party, bytes: &[u8]) {
        self.of(from).extend(bytes);
    }
    fn literal(&mut self, _: Party, _: u64) {}
    fn literal_bytes(&mut self, from: Party, bytes: &[u8]) {
        self.of(from).extend(bytes);
    }
    fn end(&mut self, from: Party, to: Party, kind: Kind) {
        self.ends.push((from, to, kind));
    }
    fn authenticated(&mut self) {
        self.logins += 1;
    }
    fn stripped(&mut self, name: &str) {
        self.stripped.push(name.to_owned());
    }
}

const LIMITS: Limits = Limits {
    command_line: 100,
    collect_literal: 10,
    literal_before_login: 500,
    literal: Some(1000),
    unanswered_commands: 100,
    bad_commands: 5,
    login_attempts: 3,
};
const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 LITERAL+] hello\r\n";

/// Runs the conversation in pieces of `size` bytes, with logins that are held and released at once
/// or not at all, and returns what was shown.
fn run(steps: &[Step], size: usize, holds: bool) -> Seen {
    let mut seen = Seen::default();
    let mut relay = Relay::new(LIMITS, Policy::default(), &mut seen);
    if holds {
        relay.hold_logins();
    }
    let mut waiting = BytesMut::new();
    for (number, step) in steps.iter().enumerate() {
        for piece in step.sends.as_bytes().chunks(size) {
            match step.from {
                Party::Client => waiting.extend_from_slice(piece),
                _ => relay.server_sent(piece).unwrap(),
            }
            loop {
                let taken = relay.client_sent(&waiting).unwrap();
                waiting.advance(taken);
                if !relay.login_waits() {
                    break;
                }
                relay.release_login();
            }
        }
        let text = |bytes: BytesMut| String::from_utf8(bytes.to_vec()).unwrap();
        let what = format!("after step {number} ({:?}) in pieces of {size}", step.sends);
        assert_eq!(text(relay.to_client().split()), step.client_gets, "the client, {what}");
        assert_eq!(text(relay.to_server().split()), step.server_gets, "the server, {what}");
    }
    seen
}

/// Checks the conversation in pieces of every size, and that all of it was shown.
fn check(steps: &[Step]) -> Seen {
    let mut steps_with_greeting = vec![server(GREETING).passes()];
    steps_with_greeting.extend(steps.iter().map(|step| Step { ..*step }));
    let whole = run(&steps_with_greeting, usize::MAX, false);
    for size in [1, 2, 3, 5, 8, 13, usize::MAX] {
        for holds in [false, true] {
            assert_eq!(run(&steps_with_greeting, size, holds), whole);
        }
    }
    whole
}

fn said(steps: &[Step], from: Party) -> String {
    steps.iter().filter(|step| step.from == from).map(|step| step.sends).collect()
}

#[test]
fn commands_and_responses_pass_as_they_are() {
    let steps = [
        client("A1 UID EXPUNGE 7:4294967295\r\n").passes(),
        server("* 1 EXPUNGE\r\nA1 OK\r\n").passes(),
        client("nonsense\r\n\r\nA2 NOOP\n").passes(),
        server("* OK text that ends in {5}\r\nA2 NO text {7+}\r\n").passes(),
        server("* 1 FETCH (BODY[] {4}\r\n\r\nA9 FLAGS ({0}\r\n))\r\n").passes(),
        server("+ unasked\r\n* BAD what\r\n").passes(),
    ];
    let seen = check(&steps);
    assert_eq!(seen.client, said(&steps, Party::Client).as_bytes());
    assert_eq!(seen.server, format!("{GREETING}{}", said(&steps, Party::Server)).as_bytes());
    assert_eq!(seen.proxy, b"");
}

#[test]
fn capabilities_are_filtered_and_said_once() {
    let seen = check(&[
        server("* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE\r\n")
            .client_gets("* CAPABILITY IMAP4rev1 IDLE\r\n"),
        server("A1 OK [CAPABILITY X-A COMPRESS=DEFLATE] ok\r\n")
            .client_gets("A1 OK [CAPABILITY] ok\r\n"),
    ]);
    assert_eq!(seen.stripped, ["COMPRESS=DEFLATE", "X-A"]);
}

#[test]
fn refused_commands_are_answered_and_go_nowhere() {
    const ANSWER: &str =
        "A1 NO [CANNOT] proxy: COMPRESS would hide the messages from the proxy\r\n";
    let seen = check(&[
        client("A1 COMPRESS DEFLATE\r\n").client_gets(ANSWER),
        client("A1 COMPRESS {9}\r\n").client_gets(ANSWER),
        client("A1 COMPRESS {3+}\r\nabc {2+}\r\nde").client_gets(""),
        client("\r\nA2 NOOP\r\n").client_gets(ANSWER).server_gets("A2 NOOP\r\n"),
        client("(( STARTTLS\r\n")
            .client_gets("* BAD proxy: STARTTLS is not available on this connection\r\n"),
    ]);
    let to_proxy = seen.ends.iter().filter(|(_, to, _)| *to == Party::Proxy).count();
    assert_eq!(to_proxy, 4);
}

#[test]
fn answers_wait_for_the_end_of_the_servers_message() {
    check(&[
        server("* 1 FETCH (BODY[] {6}\r\nabc").passes(),
        client("A1 UNAUTHENTICATE\r\n").client_gets(""),
        server("def").passes(),
        server(")\r\n* 2 EXISTS\r\n").client_gets(
            ")\r\nA1 NO [CANNOT] proxy: UNAUTHENTICATE is not supported, please reconnect\r\n* 2 EXISTS\r\n",
        ),
    ]);
}

#[test]
fn small_literals_are_collected() {
    const ACCEPTED: &str = "+ proxy: Literal accepted by proxy\r\n";
    let seen = check(&[
        client("A1 LOGIN {5}\r\n").client_gets(ACCEPTED),
        client("alice {4}\r\n").client_gets(ACCEPTED),
        client("pass\r\nA2 NOOP\r\n").server_gets("A1 LOGIN {5}\r\n"),
        server("* 1 EXISTS\r\n").passes(),
        server("+ go on\r\n").server_gets("alice {4}\r\n"),
        server("+\r\n").server_gets("pass\r\nA2 NOOP\r\n"),
        server("A1 OK in\r\n").passes(),
    ]);
    assert_eq!(seen.logins, 1);
}

#[test]
fn a_collected_literal_may_be_refused_by_the_server() {
    for refusal in ["A1 NO [TRYCREATE] no\r\n", "A1 BAD\r\n", "A1 OK what\r\n"] {
        check(&[
            client("A1 APPEND x {5}\r\n").client_gets("+ proxy: Literal accepted by proxy\r\n"),
            client("hello\r\nA2 NOOP\r\n").server_gets("A1 APPEND x {5}\r\n"),
            Step {
                from: Party::Server,
                sends: refusal,
                client_gets: refusal,
                server_gets: "A2 NOOP\r\n",
            },
        ]);
    }
}

#[test]
fn large_literals_stream() {
    check(&[
        client("A1 APPEND x {12}\r\n").passes(),
        server("+ ready\r\n").passes(),
        client("hello").passes(),
        client(" again!").passes(),
        client(" {3}\r\n").passes(),
        server("+ more\r\n").passes(),
        client("abc\r\nA2 NOOP\r\n").passes(),
        server("A1 OK\r\n").passes(),
        client("A3 APPEND x {12}\r\n").passes(),
        server("A3 NO [OVERQUOTA]\r\n").passes(),
        client("A4 NOOP\r\n").passes(),
    ]);
}

#[test]
fn an_untagged_bad_refuses_only_what_has_no_tag() {
    check(&[
        client("A1 NOOP\r\n{12}\r\n").passes(),
        server("* BAD no tag\r\n").passes(),
        client("A2 APPEND x {12}\r\n").passes(),
        server("* BAD what\r\n").passes(),
        client("A3 NOOP\r\n").server_gets(""),
        server("+ go on\r\n").client_gets("+ go on\r\n").server_gets("A3 NOOP\r\n"),
    ]);
}

#[test]
fn a_collected_literal_before_one_that_streams() {
    check(&[
        client("A1 APPEND {1}\r\n").client_gets("+ proxy: Literal accepted by proxy\r\n"),
        client("x {12}\r\n").server_gets("A1 APPEND {1}\r\n"),
        server("+ ready\r\n").server_gets("x {12}\r\n"),
        server("+ and more\r\n").passes(),
        client("hello again!\r\n").passes(),
        // One that is too long, too large, or refused by the server disturbs nothing either.
        client("A2 APPEND {1}\r\n").client_gets("+ proxy: Literal accepted by proxy\r\n"),
        client("x {1001}\r\n").client_gets("A2 NO [TOOBIG] proxy: the literal is larger than allowed\r\n"),
        client("A3 APPEND {1}\r\n").client_gets("+ proxy: Literal accepted by proxy\r\n"),
        client("x {12}\r\n").server_gets("A3 APPEND {1}\r\n"),
        server("A3 NO\r\n").passes(),
        client("A4 LOGIN {1}\r\n").client_gets("+ proxy: Literal accepted by proxy\r\n"),
        client("x 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n")
            .client_gets("A4 BAD proxy: the command line is longer than allowed\r\n"),
        client("A5 LOGIN {1}\r\n").client_gets("+ proxy: Literal accepted by proxy\r\n"),
        client("x y\r\n").server_gets("A5 LOGIN {1}\r\n"),
        server("+\r\n").server_gets("x y\r\n"),
        client("A6 IDLE\r\nDONE\r\n").server_gets("A6 IDLE\r\n"),
    ]);
}

#[test]
fn literals_that_do_not_wait() {
    check(&[
        // The server offers LITERAL+.
        client("A1 LOGIN {1+}\r\na {1+}\r\nb\r\n").passes(),
        server("A1 NO\r\n").passes(),
        client("A2 APPEND x {12+}\r\nhello again! ~{0+}\r\n\r\n").passes(),
        // It might not know the command.
        client("A3 XYZ {1+}\r\na\r\n").server_gets("A3 XYZ {1}\r\n"),
        server("A3 BAD unknown\r\n").passes(),
        // It changes its mind.
        server("* CAPABILITY IMAP4rev1\r\n").passes(),
        client("A4 LOGIN {1+}\r\na b\r\n").server_gets("A4 LOGIN {1}\r\n"),
        server("+\r\n").server_gets("a b\r\n"),
        client("A5 APPEND x {12+}\r\nhello").server_gets("A5 APPEND x {12}\r\n"),
        server("+\r\n").server_gets("hello"),
        client(" again!\r\n").passes(),
        // What the server refuses is swallowed.
        client("A6 APPEND x {12+}\r\nhello").server_gets("A6 APPEND x {12}\r\n"),
        server("A6 NO [TRYCREATE]\r\n").passes(),
        client(" again! {2+}\r\nab\r\nA7 NOOP\r\n").server_gets("A7 NOOP\r\n"),
    ]);
}

#[test]
fn too_much_is_refused() {
    const TOO_BIG: &str = "A1 NO [TOOBIG] proxy: the literal is larger than allowed\r\n";
    const LINE: &str = "A2 SEARCH 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n";
    check(&[
        client("A1 APPEND x {1001}\r\n").client_gets(TOO_BIG),
        client("A2 NOOP\r\n").passes(),
        server("A2 OK\r\n").passes(),
        client(LINE).client_gets("A2 BAD proxy: the command line is longer than allowed\r\n"),
        client("A3 NOOP\r\n").passes(),
    ]);
}

#[test]
fn a_partly_sent_command_cannot_be_refused() {
    let mut relay = Relay::new(LIMITS, Policy::default(), ());
    relay.server_sent(GREETING.as_bytes()).unwrap();
    let input = b"A1 APPEND x {12+}\r\nhello again! {1001+}\r\n";
    assert_eq!(relay.client_sent(input), Err(Fault::Client("a literal is larger than allowed")));
}

#[test]
fn authenticate_takes_one_line_for_each_challenge() {
    let seen = check(&[
        client("A1 AUTHENTICATE PLAIN\r\nAGEAYg==\r\nA2 NOOP\r\n")
            .server_gets("A1 AUTHENTICATE PLAIN\r\n"),
        server("+\r\n").client_gets("+\r\n").server_gets("AGEAYg==\r\n"),
        server("A1 OK\r\n").client_gets("A1 OK\r\n").server_gets("A2 NOOP\r\n"),
    ]);
    assert_eq!(seen.logins, 1);
    assert!(seen.ends.contains(&(Party::Client, Party::Server, Kind::SaslResponse)));
    assert!(seen.ends.contains(&(Party::Server, Party::Client, Kind::SaslChallenge)));
}

#[test]
fn idle_ends_by_either_side() {
    check(&[
        client("A1 IDLE\r\nDONE\r\nA2 NOOP\r\n").server_gets("A1 IDLE\r\n"),
        server("+ idling\r\n").client_gets("+ idling\r\n").server_gets("DONE\r\nA2 NOOP\r\n"),
        server("A1 OK\r\nA2 OK\r\n").passes(),
        client("A3 IDLE\r\n").passes(),
        server("+ idling\r\n").passes(),
        server("A3 OK enough\r\n").passes(),
        client("DONE\r\nA4 NOOP\r\n").passes(),
        server("A4 OK\r\n").passes(),
        client("A5 IDLE\r\n").passes(),
        server("A5 BAD\r\n").passes(),
        client("A6 NOOP\r\n").passes(),
    ]);
}

#[test]
fn a_client_is_not_read_while_the_server_owes_answers() {
    let limits = Limits { unanswered_commands: 4, ..LIMITS };
    let mut relay = Relay::new(limits, Policy::default(), ());
    relay.server_sent(GREETING.as_bytes()).unwrap();
    let input = b"A1 NOOP\r\n".repeat(6);
    let taken = relay.client_sent(&input).unwrap();
    assert_eq!(taken, 4 * 9);
    assert!(!relay.takes_from_client());
    relay.server_sent(b"A1 OK\r\n").unwrap();
    assert_eq!(relay.client_sent(&input[taken..]), Ok(9));
}

#[test]
fn long_lines_stream_and_are_not_held() {
    let mut relay = Relay::new(LIMITS, Policy::default(), ());
    relay.server_sent(GREETING.as_bytes()).unwrap();
    relay.to_client().clear();
    let search = [b"* SEARCH".to_vec(), b" 1234567".repeat(20_000)].concat();
    relay.server_sent(&search).unwrap();
    assert_eq!(relay.to_client().len(), search.len());
    relay.say_bye("not in the middle of a message");
    relay.server_sent(b" {3}\r\nabc\r\n* 1 EXISTS\r\n").unwrap();
    assert!(relay.to_client().ends_with(b"1234567 {3}\r\nabc\r\n* 1 EXISTS\r\n"));
    relay.server_finished();
    assert!(relay.to_client().ends_with(b"* BYE proxy: the server closed the connection\r\n"));
}

#[test]
fn an_endless_capability_list_ends_the_session() {
    let mut relay = Relay::new(LIMITS, Policy::default(), ());
    relay.server_sent(GREETING.as_bytes()).unwrap();
    let list = [b"* OK [CAPABILITY".to_vec(), b" X".repeat(40_000)].concat();
    assert_eq!(
        relay.server_sent(&list),
        Err(Fault::Server("the server's capability list is too long"))
    );
}

/// How long a line is was asked only of one that came in pieces.
#[test]
fn a_long_line_is_judged_the_same_in_any_pieces() {
    let tag = "A".repeat(9000);
    let list = [b"* OK [CAPABILITY".to_vec(), b" X".repeat(40_000), b"] x\r\n".to_vec()].concat();
    for size in [1000, 8192, 8193, usize::MAX] {
        let mut seen = Seen::default();
        let mut relay = Relay::new(Limits::default(), Policy::default(), &mut seen);
        relay.server_sent(GREETING.as_bytes()).unwrap();
        relay.client_sent(format!("{tag} LOGIN alice x\r\n").as_bytes()).unwrap();
        // It is told by its second word that this is a status, and that its text is no literal.
        let answer = format!("{tag} OK text {{3}}\r\n* SEARCH {{3}}\r\nabc\r\n");
        for piece in answer.as_bytes().chunks(size) {
            relay.server_sent(piece).unwrap();
        }
        assert!(relay.is_authenticated() && relay.is_idle(), "in pieces of {size}");
        let result = list.chunks(size).try_for_each(|piece| relay.server_sent(piece));
        let fault = Fault::Server("the server's capability list is too long");
        assert_eq!(result, Err(fault), "in pieces of {size}");
        let messages = seen.ends.iter().filter(|(from, ..)| *from == Party::Server);
        assert_eq!(messages.count(), 3, "in pieces of {size}");
    }
}

/// A server that always has new capabilities must not fill the memory, or the log.
#[test]
fn names_that_are_taken_out_are_told_within_bounds() {
    let mut seen = Seen::default();
    let mut relay = Relay::new(LIMITS, Policy::default(), &mut seen);
    relay.server_sent(GREETING.as_bytes()).unwrap();
    relay.server_sent(format!("* CAPABILITY X{}\r\n", "y".repeat(1000)).as_bytes()).unwrap();
    for number in 0..1000 {
        relay.server_sent(format!("* CAPABILITY X{number}\r\n").as_bytes()).unwrap();
    }
    assert!(relay.to_client().ends_with(b"\r\n* CAPABILITY\r\n* CAPABILITY\r\n"));
    assert_eq!(seen.stripped.len(), 100);
    assert_eq!(seen.stripped[0].len(), 100);
}

#[test]
fn greetings() {
    for greeting in ["* OK\r\n", "* PREAUTH hi\r\n", "* BYE overloaded\r\n", "* ok [ALERT] x\n"] {
        let mut relay = Relay::new(LIMITS, Policy::default(), ());
        assert!(!relay.takes_from_client());
        relay.server_sent(greeting.as_bytes()).unwrap();
        assert_eq!(&relay.to_client()[..], greeting.as_bytes());
        assert_eq!(relay.is_authenticated(), greeting.contains("PREAUTH"));
    }
    for nonsense in ["* NO x\r\n", "HTTP/1.1 400 Bad\r\n", "A1 OK\r\n", "+ x\r\n", "\r\n"] {
        let mut relay = Relay::new(LIMITS, Policy::default(), ());
        assert_eq!(
            relay.server_sent(nonsense.as_bytes()),
            Err(Fault::Server("the server does not speak IMAP"))
        );
    }
}
