//! What both sides of a session say, from a seed. Everything in it passes the proxy unchanged.

use crate::common::dice::Dice;

/// Sizes of literals around the bounds of what is collected (4096), of a TLS record and of a buffer.
const SIZES: &[usize] = &[0, 1, 300, 4095, 4096, 4097, 16_384, 40_000];

/// A session after its greeting, to its LOGOUT.
pub(crate) struct Script {
    /// One after the other.
    pub(crate) rounds: Vec<Round>,
    /// Who ends it.
    pub(crate) last: Last,
}

/// The client speaks, and the server answers.
#[derive(Default)]
pub(crate) struct Round {
    /// What the client says.
    pub(crate) client: Vec<u8>,
    /// The server's messages.
    pub(crate) server: Vec<Vec<u8>>,
    /// Both speak at once.
    pub(crate) crossing: bool,
}

/// The end of a session that comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// The server closes after its BYE.
    Server,
    /// The client closes when it was told goodbye.
    Client,
}

impl Script {
    /// `small`: for peers that speak in tiny pieces, and take long for a TLS record. `login`: with a LOGIN, whose time-out is not
    /// one that a test can wait for.
    pub(crate) fn new(seed: u64, dice: &mut Dice, small: bool, login: bool) -> Self {
        // By this a server knows which session it is in.
        let mut rounds = vec![ask(&format!("S{seed} NOOP\r\n"), &format!("S{seed} OK\r\n"))];
        if login {
            rounds.push(ask("L LOGIN alice \"\"\r\n", "L OK logged in\r\n"));
        }
        let sizes = if small { &SIZES[..3] } else { SIZES };
        for number in 0..2 + dice.below(5) {
            let size = *dice.pick(sizes);
            rounds.extend(exchange(dice, number, size, small));
        }
        let mut logout = ask("Z LOGOUT\r\n", "* BYE until later\r\n");
        logout.server.push(b"Z OK done\r\n".to_vec());
        rounds.push(logout);
        Self { rounds, last: *dice.pick(&[Last::Server, Last::Client]) }
    }

    /// All that the client says.
    pub(crate) fn client(&self) -> Vec<u8> {
        self.rounds.iter().flat_map(|round| round.client.clone()).collect()
    }

    /// All that the server says.
    pub(crate) fn server(&self) -> Vec<u8> {
        self.messages().flatten().copied().collect()
    }

    /// After how many of those bytes a message of the server ends.
    pub(crate) fn boundaries(&self) -> impl Iterator<Item = usize> {
        let ends = self.messages().scan(0, |end, message| {
            *end += message.len();
            Some(*end)
        });
        std::iter::once(0).chain(ends)
    }

    fn messages(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.rounds.iter().flat_map(|round| &round.server)
    }
}

fn ask(command: &str, answer: &str) -> Round {
    Round { client: command.into(), server: vec![answer.into()], crossing: false }
}

/// Some rounds that belong together.
fn exchange(dice: &mut Dice, number: usize, size: usize, small: bool) -> Vec<Round> {
    let tag = format!("T{number}");
    let done = format!("{tag} OK done {{3}}\r\n");
    let content = content(dice, size);
    match dice.below(if small { 5 } else { 6 }) {
        0 => {
            let mut round = Round::default();
            for _ in 0..=dice.below(40) {
                round.client.extend(format!("{tag} NOOP\r\n").bytes());
                round.server.push(format!("* {} EXISTS\r\n", dice.below(1000)).into());
                round.server.push(done.clone().into());
            }
            vec![round]
        }
        1 => {
            let mut round = ask(&format!("{tag} FETCH 1 BODY[]\r\n"), "");
            round.server = vec![fetch(&content), done.into()];
            vec![round]
        }
        2 => {
            let mut round = ask(&format!("{tag} APPEND INBOX {{{size}+}}\r\n"), &done);
            round.client.extend([&content[..], b"\r\n"].concat());
            vec![round]
        }
        3 => {
            let mut push = ask("", "* 7 EXISTS\r\n");
            push.server.push(fetch(&content));
            vec![ask(&format!("{tag} IDLE\r\n"), "+ idling\r\n"), push, ask("DONE\r\n", &done)]
        }
        4 => {
            let command = format!("{tag} APPEND INBOX {{{size}+}}\r\n").into_bytes();
            let crossing = Round {
                client: [&command[..], &content, b"\r\n"].concat(),
                server: vec![fetch(&content), b"* 5 EXISTS\r\n".to_vec(), fetch(&content)],
                crossing: true,
            };
            vec![crossing, ask("", &done)]
        }
        _ => {
            // Above what the proxy collects, so that the `+` is the server's own.
            let content = [content, vec![b'x'; 4097]].concat();
            let announcement = format!("{tag} APPEND INBOX {{{}}}\r\n", content.len());
            let mut rest = ask("", &done);
            rest.client = [&content[..], b"\r\n"].concat();
            vec![ask(&announcement, "+ go on {3}\r\n"), rest]
        }
    }
}

fn fetch(content: &[u8]) -> Vec<u8> {
    let head = format!("* 1 FETCH (BODY[] {{{}}}\r\n", content.len()).into_bytes();
    [&head[..], content, b" UID 5)\r\n"].concat()
}

/// Bytes of all values, in which a lost, doubled or moved piece shows.
fn content(dice: &mut Dice, size: usize) -> Vec<u8> {
    std::iter::repeat_with(|| dice.below(256) as u8).take(size).collect()
}
