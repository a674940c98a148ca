//! What may be shown of a client's message, and what was learnt from it. No secret gets past here.
//!
//! The rule: show what is known to be harmless, withhold the rest. Before login nearly
//! everything could be a password in the wrong place; after it, what has no sane shape.

use std::iter;

use zeroize::Zeroizing;

use super::{
    capture::Capture,
    command::{self, Head},
    render, sasl,
    secrets::contains,
    seen::{Content, Shown},
};
use crate::relay::{self, Kind};

/// What a client's message says of its credentials. No Debug: they are in it.
#[derive(Default)]
pub(super) struct Learnt {
    /// It starts a new login: whatever was learnt before is void.
    pub(super) login: bool,
    /// The user it would be.
    pub(super) user: Option<String>,
    /// The mechanism, when its first response is still to come.
    pub(super) awaits: Option<&'static str>,
    /// What the server must not be heard repeating.
    pub(super) secrets: Vec<Zeroizing<Vec<u8>>>,
}

/// A command, or what stood where one is due.
pub(super) fn command(
    capture: &Capture,
    authenticated: bool,
    max_body: Option<usize>,
) -> (Shown, Learnt) {
    let Some(head) = command::head(capture.first_line()) else { return withhold_all(capture) };
    if head.is("LOGIN") {
        return login(capture, &head, max_body.is_some());
    }
    if head.is("AUTHENTICATE") {
        return authenticate(capture, &head, max_body.is_some());
    }
    let harmless = if authenticated {
        let shown = capture.elided(max_body.unwrap_or(0));
        !mentions_login(&shown) || (!capture.is_cut() && decodes(&shown))
    } else {
        head.is_bare() || is_harmless_before_login(&head)
    };
    if harmless {
        return (named(&head, Content::of(capture, max_body)), Learnt::default());
    }
    if !head.is_known() {
        return withhold_all(capture);
    }
    (withheld(capture, &head), Learnt { secrets: arguments(capture), ..Learnt::default() })
}

/// A client's line within AUTHENTICATE; `first` names the mechanism when it is the first one.
pub(super) fn sasl_response(capture: &Capture, first: Option<&'static str>) -> (Shown, Learnt) {
    let line = relay::line_content(capture.kept());
    if line == b"*" {
        // RFC 9051 6.2.2: the client cancels.
        return (Shown::instead(None, None, "* (cancelled)".to_owned()), Learnt::default());
    }
    let (user, secrets) = credentials(line, first);
    let text = format!("SASL response <{} bytes withheld>", capture.line_size());
    (Shown::instead(None, None, text), Learnt { user, secrets, ..Learnt::default() })
}

/// The line that ends IDLE.
pub(super) fn idle_done(capture: &Capture, max_body: Option<usize>) -> (Shown, Learnt) {
    if relay::line_content(capture.kept()).eq_ignore_ascii_case(b"DONE") {
        let name = Some("DONE".into());
        return (
            Shown { tag: None, name, content: Content::of(capture, max_body) },
            Learnt::default(),
        );
    }
    withhold_all(capture)
}

/// The same commands and lines, with all their secrets.
pub(super) fn reveal(capture: &Capture, is_sasl: bool, max_body: Option<usize>) -> Shown {
    let head = command::head(capture.first_line()).filter(|_| !is_sasl);
    let credentials = |head: &Head<'_>| head.is("LOGIN") || head.is("AUTHENTICATE");
    // The codec's Debug print would hide them.
    let content = if is_sasl || head.as_ref().is_some_and(credentials) {
        Content::Revealed(capture.kept().to_vec())
    } else {
        Content::of(capture, max_body)
    };
    match head {
        Some(head) => named(&head, content),
        None => Shown { tag: None, name: None, content },
    }
}

fn login(capture: &Capture, head: &Head<'_>, is_shown: bool) -> (Shown, Learnt) {
    let parsed = capture.verbatim().and_then(command::login);
    let user = parsed.as_ref().and_then(|login| str::from_utf8(&login.user.value).ok());
    let (Some(login), Some(user)) = (&parsed, user) else {
        let secrets = arguments(capture);
        return (withheld(capture, head), Learnt { login: true, secrets, ..Learnt::default() });
    };
    let content = if is_shown {
        let mut bytes = format!("{} {} ", head.tag, head.verb).into_bytes();
        bytes.extend_from_slice(login.user.sent);
        bytes.extend_from_slice(b" \"***\"\r\n");
        Content::Whole { bytes, remark: None }
    } else {
        Content::Nothing
    };
    let secrets = [login.password.sent.trim_ascii(), &login.password.value]
        .map(|secret| Zeroizing::new(unquoted(secret).to_vec()));
    let learnt = Learnt {
        login: true,
        user: sasl::checked(user.as_bytes()).map(str::to_owned),
        awaits: None,
        secrets: secrets.into(),
    };
    (named(head, content), learnt)
}

fn authenticate(capture: &Capture, head: &Head<'_>, is_shown: bool) -> (Shown, Learnt) {
    let (name, rest) = command::word(head.arguments.strip_prefix(b" ").unwrap_or_default());
    let Some(mechanism) = sasl::mechanism(name) else {
        let secrets = arguments(capture);
        return (withheld(capture, head), Learnt { login: true, secrets, ..Learnt::default() });
    };
    let initial = rest.trim_ascii();
    let content = |remark| {
        if !is_shown {
            return Content::Nothing;
        }
        let bytes = format!("{} {} {mechanism}\r\n", head.tag, head.verb).into_bytes();
        Content::Whole { bytes, remark }
    };
    if rest.is_empty() && !capture.is_cut() {
        let learnt = Learnt { login: true, awaits: Some(mechanism), ..Learnt::default() };
        return (named(head, content(None)), learnt);
    }
    let shown = head.tag.len() + head.verb.len() + mechanism.len() + 3;
    let size = capture.line_size().saturating_sub(shown as u64);
    let remark = format!("initial response of {size} bytes withheld");
    let (user, mut secrets) = credentials(initial, Some(mechanism));
    if capture.kept().len() > capture.first_line().len() {
        // No initial response is a literal, but whoever sends one means it as such.
        secrets.extend(arguments(capture));
    }
    (named(head, content(Some(remark))), Learnt { login: true, user, awaits: None, secrets })
}

/// The user and the secrets in a response as sent.
fn credentials(
    sent: &[u8],
    first: Option<&'static str>,
) -> (Option<String>, Vec<Zeroizing<Vec<u8>>>) {
    let Some(decoded) = sasl::decode(sent) else { return (None, words(sent)) };
    let user = first.and_then(|mechanism| sasl::user(mechanism, &decoded));
    let name = user.as_deref().map(str::as_bytes);
    // A server may greet the user by name.
    let parts = sasl::parts(&decoded).filter(|part| Some(*part) != name);
    let secrets = iter::once(sent).chain(parts).map(|part| Zeroizing::new(part.to_vec())).collect();
    (user, secrets)
}

/// What the server would repeat of a command whose tag and verb are known.
fn arguments(capture: &Capture) -> Vec<Zeroizing<Vec<u8>>> {
    words(command::word(capture.kept()).1)
}

/// What the server would repeat of a line that makes no sense to it.
fn words(line: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !relay::is_verb(word));
    let mut secrets: Vec<_> = words
        .flat_map(|word| [word, unquoted(word)])
        .map(|word| Zeroizing::new(word.to_vec()))
        .collect();
    for decoded in sasl::encoded_in(line) {
        secrets.extend(sasl::parts(&decoded).map(|part| Zeroizing::new(part.to_vec())));
    }
    // Shorter ones are tags as a rule, or chance.
    secrets.retain(|secret| secret.len() > 2);
    secrets
}

fn unquoted(word: &[u8]) -> &[u8] {
    let word = word.strip_prefix(b"\"").unwrap_or(word);
    word.strip_suffix(b"\"").unwrap_or(word)
}

/// Arguments that name the client or an extension, and nothing else.
fn is_harmless_before_login(head: &Head<'_>) -> bool {
    let arguments = head.arguments.trim_ascii();
    if head.is("ID") {
        return arguments.eq_ignore_ascii_case(b"NIL")
            || arguments.starts_with(b"(") && !mentions_login(arguments);
    }
    let extensions: [&[u8]; 5] =
        [b"CONDSTORE", b"QRESYNC", b"UTF8=ACCEPT", b"IMAP4rev2", b"METADATA"];
    head.is("ENABLE")
        && arguments
            .split(|&b| b == b' ')
            .all(|word| extensions.iter().any(|extension| word.eq_ignore_ascii_case(extension)))
}

/// A mistyped LOGIN still has its password in it.
fn mentions_login(line: &[u8]) -> bool {
    contains(line, b"LOGIN") || contains(line, b"AUTHENTICATE")
}

/// Whether the codec knows what it is. Takes its time: only asked when in doubt.
fn decodes(command: &[u8]) -> bool {
    render::decodes(Kind::Command { authenticated: true }, command)
}

/// Nothing but the size.
fn withhold_all(capture: &Capture) -> (Shown, Learnt) {
    let text = format!("<{} bytes withheld>", capture.line_size());
    let learnt = Learnt { secrets: words(capture.kept()), ..Learnt::default() };
    (Shown::instead(None, None, text), learnt)
}

/// Tag and verb, and the size of the rest.
fn withheld(capture: &Capture, head: &Head<'_>) -> Shown {
    let verb = head.verb.to_ascii_uppercase();
    let size = capture.line_size().saturating_sub((head.tag.len() + verb.len() + 2) as u64);
    let text = format!("{} {verb} <{size} bytes withheld>", head.tag);
    Shown::instead(Some(head.tag.into()), Some(verb.into()), text)
}

fn named(head: &Head<'_>, content: Content) -> Shown {
    Shown { tag: Some(head.tag.into()), name: Some(head.name()), content }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{capture::captured, seen::text},
        *,
    };

    fn client(message: &str, authenticated: bool) -> String {
        let (shown, _) = command(&captured(message), authenticated, Some(0));
        let all = text(&shown);
        assert!(!format!("{shown:?}").contains("secret"), "{message:?}: {shown:?}");
        all
    }

    #[test]
    fn the_password_of_a_login_is_replaced_in_all_its_forms() {
        for (message, expected) in [
            ("A1 LOGIN bob secret\r\n", "A1 LOGIN bob \"***\""),
            ("A1 login \"bob x\" \"se\\\"cret secret\"\r\n", "A1 login \"bob x\" \"***\""),
            ("A1 LOGIN bob {6}\r\nsecret\r\n", "A1 LOGIN bob \"***\""),
            ("A1 LOGIN {3+}\r\nbob {6+}\r\nsecret\r\n", "A1 LOGIN {3+}\r\nbob \"***\""),
            ("A1 LOGIN bob \"\"\n", "A1 LOGIN bob \"***\""),
        ] {
            for authenticated in [false, true] {
                assert_eq!(client(message, authenticated), expected);
            }
        }
    }

    #[test]
    fn a_malformed_login_is_withheld() {
        for (message, expected) in [
            ("A1 LOGIN secret\r\n", "A1 LOGIN <6 bytes withheld>"),
            ("A1 LOGIN bob secret secret\r\n", "A1 LOGIN <17 bytes withheld>"),
            ("A1 LOGIN bob \"secret\r\n", "A1 LOGIN <11 bytes withheld>"),
            ("A1 LOGIN bob secr{et\r\n", "A1 LOGIN <11 bytes withheld>"),
            ("A1 LOGIN bob {99}\r\nsecret\r\n", "A1 LOGIN <16 bytes withheld>"),
            ("A1 LOGIN\r\n", "A1 LOGIN <0 bytes withheld>"),
            ("A1 LOGIN bob secret", "A1 LOGIN <10 bytes withheld>"),
        ] {
            for authenticated in [false, true] {
                assert_eq!(client(message, authenticated), expected, "{message:?}");
            }
        }
        let long = format!("A1 LOGIN bob {}\r\n", "secret".repeat(2000));
        assert_eq!(client(&long, false), "A1 LOGIN <12006 bytes withheld>");
    }

    #[test]
    fn authenticate_shows_registered_mechanisms_only() {
        for (message, expected) in [
            ("A1 AUTHENTICATE plain\r\n", "A1 AUTHENTICATE PLAIN"),
            (
                "A1 AUTHENTICATE PLAIN secretsecret\r\n",
                "A1 AUTHENTICATE PLAIN (initial response of 12 bytes withheld)",
            ),
            (
                "A1 AUTHENTICATE XOAUTH2 secret secret\r\n",
                "A1 AUTHENTICATE XOAUTH2 (initial response of 13 bytes withheld)",
            ),
            ("A1 AUTHENTICATE secret\r\n", "A1 AUTHENTICATE <6 bytes withheld>"),
            ("A1 AUTHENTICATE  PLAIN secret\r\n", "A1 AUTHENTICATE <13 bytes withheld>"),
        ] {
            for authenticated in [false, true] {
                assert_eq!(client(message, authenticated), expected, "{message:?}");
            }
        }
    }

    #[test]
    fn before_login_only_the_harmless_is_shown() {
        for (message, expected) in [
            ("A1 CAPABILITY\r\n", "A1 CAPABILITY"),
            ("a1 noop\n", "a1 noop"),
            ("A1 ID NIL\r\n", "A1 ID NIL"),
            ("A1 ID (\"name\" \"x\")\r\n", "A1 ID (\"name\" \"x\")"),
            ("A1 ENABLE CONDSTORE UTF8=ACCEPT\r\n", "A1 ENABLE CONDSTORE UTF8=ACCEPT"),
            ("A1 ENABLE secret\r\n", "A1 ENABLE <6 bytes withheld>"),
            ("A1 ID secret\r\n", "A1 ID <6 bytes withheld>"),
            ("A1 NOOP secret\r\n", "A1 NOOP <6 bytes withheld>"),
            ("A1 SELECT secret\r\n", "A1 SELECT <6 bytes withheld>"),
            ("A1 LOGN bob secret\r\n", "<18 bytes withheld>"),
            ("LOGIN bob secret\r\n", "<16 bytes withheld>"),
            ("secret\r\n", "<6 bytes withheld>"),
            ("bob secret\r\n", "<10 bytes withheld>"),
            ("A1 LOGIN\tbob\tsecret\r\n", "<19 bytes withheld>"),
            ("A1 SELECT {6}\r\nsecret\r\n", "A1 SELECT <11 bytes withheld>"),
            ("GET /secret HTTP/1.1\r\n", "<20 bytes withheld>"),
            ("\r\n", "<0 bytes withheld>"),
            ("", "<0 bytes withheld>"),
        ] {
            assert_eq!(client(message, false), expected, "{message:?}");
        }
    }

    #[test]
    fn after_login_what_may_be_a_late_or_mistyped_login_is_withheld() {
        for (message, expected) in [
            ("A1 LOGN bob x\r\n", "A1 LOGN bob x"),
            ("A1 SEARCH SUBJECT login\r\n", "A1 SEARCH SUBJECT login"),
            ("A1 uid fetch 1:* (FLAGS)\r\n", "A1 uid fetch 1:* (FLAGS)"),
            ("A1 A2 LOGIN bob secret\r\n", "<22 bytes withheld>"),
            ("LOGIN bob secret\r\n", "<16 bytes withheld>"),
            ("A1 NOOP A2 LOGIN bob secret\r\n", "A1 NOOP <19 bytes withheld>"),
            ("A1 UID LOGIN bob secret\r\n", "A1 UID <16 bytes withheld>"),
            ("A1 XAUTHENTICATE PLAIN secret\r\n", "<29 bytes withheld>"),
            ("AGJvYgBzZWNyZXQ=secret\r\n", "<22 bytes withheld>"),
            ("A1 APPEND x {6}\r\nsecret\r\n", "A1 APPEND x {9}\r\n<6 bytes>"),
        ] {
            assert_eq!(client(message, true), expected, "{message:?}");
        }
    }

    #[test]
    fn sasl_lines_are_withheld() {
        let (shown, learnt) = sasl_response(&captured("AGJvYgBzZWNyZXQ=\r\n"), Some("PLAIN"));
        assert_eq!(text(&shown), "SASL response <16 bytes withheld>");
        assert_eq!(learnt.user.as_deref(), Some("bob"));
        assert!(learnt.secrets.iter().any(|secret| secret.as_slice() == b"secret"));
        assert!(!learnt.secrets.iter().any(|secret| secret.as_slice() == b"bob"));
        assert_eq!(text(&sasl_response(&captured("*\r\n"), None).0), "* (cancelled)");
        assert_eq!(text(&idle_done(&captured("done\r\n"), Some(0)).0), "done");
        assert_eq!(text(&idle_done(&captured("secret\r\n"), Some(0)).0), "<6 bytes withheld>");
    }

    #[test]
    fn nothing_is_withheld_when_secrets_are_to_be_revealed() {
        let shown = |line, is_sasl| text(&reveal(&captured(line), is_sasl, Some(0)));
        assert_eq!(shown("A1 LOGIN bob pwd\r\n", false), "revealed A1 LOGIN bob pwd\r\n");
        assert_eq!(shown("AGJvYg==\r\n", true), "revealed AGJvYg==\r\n");
        assert_eq!(shown("A1 SELECT pwd\r\n", false), "A1 SELECT pwd");
    }

    /// Whatever a typing mistake makes of a login, the password does not show.
    #[test]
    fn a_mangled_login_shows_no_password() {
        // Well formed, but with the password where the user's name is due: that is shown.
        let is_user = |message: &str| {
            let login = command::login(message.as_bytes());
            login
                .is_some_and(|login| String::from_utf8_lossy(&login.user.value).contains("hunter2"))
        };
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let starts =
            ["A1 LOGIN bob ", "A1 AUTHENTICATE PLAIN ", "A1 LOGIN {3}\r\nbob \"", "LOGIN bob ", ""];
        for _ in 0..20_000 {
            let mut before = starts[random(starts.len())].as_bytes().to_vec();
            let mut after = [&b"\r\n"[..], b"\"\r\n", b" x\r\n", b""][random(4)].to_vec();
            for _ in 0..random(4) {
                let part = if random(3) == 0 { &mut after } else { &mut before };
                let at = random(part.len() + 1);
                let byte = b" \r\n\t\"\\{}()+*\0Aa1"[random(16)];
                match random(3) {
                    0 => part.insert(at, byte),
                    1 if at < part.len() => part[at] = byte,
                    _ if at < part.len() => drop(part.remove(at)),
                    _ => {}
                }
            }
            let message = format!(
                "{}hunter2{}",
                String::from_utf8(before).unwrap(),
                String::from_utf8(after).unwrap()
            );
            let (shown, learnt) = command(&captured(&message), false, Some(0));
            if !is_user(&message) {
                assert!(!text(&shown).contains("hunter2"), "{message:?}: {shown:?}");
                assert_eq!(learnt.user.filter(|user| user.contains("hunter2")), None);
            }
        }
    }
}
