//! What clients and servers say to each other: a row of the table of speeds each.

use std::fmt::Write as _;

use imap_proxy::{
    config::TraceLevel,
    relay::Party::{self, Client, Server},
};

/// A dialogue: who said what, in turns.
pub struct Transcript {
    pub turns: Vec<(Party, Vec<u8>)>,
    /// Messages in it.
    pub messages: usize,
    /// Lines of a summary of it: responses of one name in a row have one.
    pub summary: usize,
}

pub const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE \
     LITERAL+ AUTH=PLAIN AUTH=LOGIN] Dovecot (Debian) ready.\r\n";

const LOGGED_IN: &str = "A1 OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT \
     SORT=DISPLAY THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL \
     CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC \
     ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY \
     PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE] Logged in\r\n";

/// From the greeting to the answer to LOGIN.
pub const LOGIN: &[(Party, &str)] =
    &[(Server, GREETING), (Client, "A1 LOGIN alice \"\"\r\n"), (Server, LOGGED_IN)];

/// After it.
pub const LOGOUT: &[(Party, &str)] = &[
    (Client, "A2 LOGOUT\r\n"),
    (Server, "* BYE Logging out\r\nA2 OK Logout completed (0.001 + 0.000 secs).\r\n"),
];

const NOOP: &[(Party, &str)] =
    &[(Client, "A3 NOOP\r\n"), (Server, "A3 OK NOOP completed (0.001 + 0.000 secs).\r\n")];

impl From<&[(Party, &str)]> for Transcript {
    fn from(turns: &[(Party, &str)]) -> Self {
        let messages = turns.iter().map(|(_, said)| said.lines().count()).sum();
        let turns = turns.iter().map(|(from, said)| (*from, said.as_bytes().to_vec())).collect();
        Self { turns, messages, summary: messages }
    }
}

impl Transcript {
    /// Bytes of all turns.
    pub fn size(&self) -> usize {
        self.turns.iter().map(|(_, said)| said.len()).sum()
    }

    /// Lines that the trace of it makes, after the login and with that of it.
    pub fn lines(&self, level: TraceLevel) -> usize {
        match level {
            TraceLevel::Off => 0,
            TraceLevel::Summary => LOGIN.len() + self.summary,
            TraceLevel::Full => LOGIN.len() + self.messages,
        }
    }

    /// A command and its answer: untagged responses and OK.
    fn command(command: &str, responses: Vec<u8>, count: usize) -> Self {
        let said = [responses, b"A4 OK done\r\n".to_vec()].concat();
        let turns = vec![(Client, format!("A4 {command}\r\n").into_bytes()), (Server, said)];
        Self { turns, messages: count + 2, summary: 3 }
    }

    /// The same for a response for each number from 1.
    fn responses(command: &str, count: usize, response: impl Fn(&mut String, usize)) -> Self {
        let mut said = String::new();
        (1..=count).for_each(|number| response(&mut said, number));
        Self::command(command, said.into_bytes(), count)
    }
}

/// NOOP, so many times.
pub fn noops(count: usize) -> Transcript {
    Transcript::from(NOOP.repeat(count).as_slice())
}

/// A whole session: greeting, LOGIN, LOGOUT.
pub fn login_logout() -> Transcript {
    Transcript::from([LOGIN, LOGOUT].concat().as_slice())
}

/// What of it the peers get: the greeting and the answer to LOGIN lose what does not pass.
pub fn login_logout_passed() -> usize {
    login_logout().size() - " LOGIN-REFERRALS".len() * 2
}

/// FETCH of one body.
pub fn body(size: usize) -> Transcript {
    let mut response = format!("* 1 FETCH (UID 1 BODY[] {{{size}}}\r\n").into_bytes();
    response.extend(content(size));
    response.extend(b")\r\n");
    Transcript::command("FETCH 1 BODY.PEEK[]", response, 1)
}

/// APPEND of one message, without waiting for the server (RFC 7888).
pub fn append(size: usize) -> Transcript {
    let mut command = format!("A5 APPEND INBOX {{{size}+}}\r\n").into_bytes();
    command.extend(content(size));
    command.extend(b"\r\n");
    let answer = b"A5 OK [APPENDUID 1700000000 4711] Append completed.\r\n".to_vec();
    Transcript { turns: vec![(Client, command), (Server, answer)], messages: 2, summary: 2 }
}

/// FETCH 1:count (UID FLAGS).
pub fn flags(count: usize) -> Transcript {
    Transcript::responses("FETCH 1:* (UID FLAGS)", count, |said, number| {
        let _ = write!(said, "* {number} FETCH (UID {number} FLAGS (\\Seen))\r\n");
    })
}

/// FETCH 1:count (ENVELOPE BODYSTRUCTURE), as Dovecot answers it.
pub fn envelopes(count: usize) -> Transcript {
    Transcript::responses("FETCH 1:* (ENVELOPE BODYSTRUCTURE)", count, |said, number| {
        let _ = write!(
            said,
            "* {number} FETCH (ENVELOPE (\"Mon, 6 Jul 2026 09:12:{:02} +0200\" \"Re: minutes of the \
             {number}th meeting\" ((\"Alice Example\" NIL \"alice\" \"example.org\")) ((\"Alice \
             Example\" NIL \"alice\" \"example.org\")) ((\"Alice Example\" NIL \"alice\" \
             \"example.org\")) ((\"Bob Example\" NIL \"bob\" \"example.com\")(NIL NIL \"team\" \
             \"example.com\")) NIL NIL \"<20260706071200.{number}@example.com>\" \
             \"<20260706091200.{number}@example.org>\") BODYSTRUCTURE ((\"text\" \"plain\" (\"charset\" \
             \"utf-8\") NIL NIL \"quoted-printable\" 2015 52 NIL NIL NIL NIL)(\"text\" \"html\" \
             (\"charset\" \"utf-8\") NIL NIL \"quoted-printable\" 9382 187 NIL NIL NIL NIL) \
             \"alternative\" (\"boundary\" \"b1_{number}\") NIL NIL NIL))\r\n",
            number % 60
        );
    })
}

/// FETCH of small literals: header fields.
pub fn headers(count: usize) -> Transcript {
    let fields = "From: Alice <alice@example.org>\r\nSubject: minutes\r\n\r\n";
    Transcript::responses("FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]", count, |said, n| {
        let size = fields.len();
        let _ = write!(
            said,
            "* {n} FETCH (BODY[HEADER.FIELDS (FROM SUBJECT)] {{{size}}}\r\n{fields})\r\n"
        );
    })
}

/// SEARCH with so many results, in one line.
pub fn search(count: usize) -> Transcript {
    let mut line = "* SEARCH".to_owned();
    for number in 1..=count {
        let _ = write!(line, " {number}");
    }
    line.push_str("\r\n");
    Transcript::command("SEARCH ALL", line.into_bytes(), 1)
}

/// Content of a message: lines of text.
fn content(size: usize) -> Vec<u8> {
    let line = b"The quick brown fox jumps over the lazy dog, and the dog does not mind it.\r\n";
    line.iter().copied().cycle().take(size).collect()
}
