//! What passes: one table of capabilities, SASL mechanisms and commands, for both directions.

use std::sync::Arc;

use memchr::memchr;

use super::head::{CommandHead, word};

/// Capabilities whose protocol stays lines and literals, so that the relay carries it as it is.
/// A name that ends in `=` stands for all of its family. Sorted, as are the other tables.
const KEPT: &[&str] = &[
    "ACL",
    "ANNOTATE-EXPERIMENT-1",
    "APPENDLIMIT",
    "APPENDLIMIT=",
    "BINARY",
    "CATENATE",
    "CHILDREN",
    "CONDSTORE",
    "CONTEXT=",
    "CONVERT",
    "CREATE-SPECIAL-USE",
    "ENABLE",
    "ESEARCH",
    "ESORT",
    "FILTERS",
    "I18NLEVEL=",
    "ID",
    "IDLE",
    "IMAP4",
    "IMAP4REV1",
    "IMAP4REV2",
    "IMAPSIEVE=",
    "INPROGRESS",
    "JMAPACCESS",
    "LANGUAGE",
    "LIST-EXTENDED",
    "LIST-METADATA",
    "LIST-MYRIGHTS",
    "LIST-STATUS",
    "LITERAL+",
    "LITERAL-",
    "LOGINDISABLED",
    "MESSAGELIMIT=",
    "METADATA",
    "METADATA-SERVER",
    "MOVE",
    "MULTIAPPEND",
    "MULTISEARCH",
    "NAMESPACE",
    "NOTIFY",
    "OBJECTID",
    "PARTIAL",
    "PREVIEW",
    "PREVIEW=",
    "QRESYNC",
    "QUOTA",
    "QUOTA=",
    "QUOTASET",
    "REPLACE",
    "RIGHTS=",
    "SASL-IR",
    "SAVEDATE",
    "SAVELIMIT=",
    "SEARCH=",
    "SEARCHRES",
    "SNIPPET=",
    "SORT",
    "SORT=",
    "SPECIAL-USE",
    "STATUS=",
    "THREAD=",
    "UIDBATCHES",
    "UIDONLY",
    "UIDPLUS",
    "UNSELECT",
    "URL-PARTIAL",
    "URLAUTH",
    "URLAUTH=",
    "UTF8=",
    "WITHIN",
    "X-GM-EXT-1",
    "XAPPLEPUSHSERVICE",
    "XLIST",
    "XMOVE",
    "XYMHIGHESTMODSEQ",
];

/// Capabilities whose commands are refused, whatever the config says: they end lines and literals
/// (COMPRESS), belong to one leg only (STARTTLS), or turn a session back (UNAUTHENTICATE).
const NEVER: &[&str] = &["COMPRESS=", "STARTTLS", "UNAUTHENTICATE"];

/// Mechanisms that neither bind to the TLS channel nor add a security layer (RFC 4422 3.7).
const MECHANISMS: &[&str] = &[
    "ANONYMOUS",
    "CRAM-MD5",
    "LOGIN",
    "OAUTHBEARER",
    "PLAIN",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "SCRAM-SHA-512",
    "XOAUTH2",
];

/// The table, with the names that the config adds to it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    allowed: Arc<[String]>,
}

impl Policy {
    /// `allowed`: capability names that pass although the table does not know them, in any case of
    /// letters; `AUTH=X` lets the SASL mechanism X pass.
    pub fn new<S: AsRef<str>>(allowed: impl IntoIterator<Item = S>) -> Self {
        Self { allowed: allowed.into_iter().map(|name| name.as_ref().to_owned()).collect() }
    }

    /// Whether a server's capability is passed on to the client.
    pub(super) fn keeps(&self, capability: &[u8]) -> bool {
        let is = |name: &str| name.as_bytes().eq_ignore_ascii_case(capability);
        let family = memchr(b'=', capability).and_then(|at| capability.split_at_checked(at + 1));
        let is_in = |table| {
            contains(table, capability) || family.is_some_and(|(name, _)| contains(table, name))
        };
        let known = match family {
            Some((name, mechanism)) if name.eq_ignore_ascii_case(b"AUTH=") => {
                contains(MECHANISMS, mechanism)
            }
            _ => is_in(KEPT),
        };
        known || self.allowed.iter().any(|name| is(name)) && !is_in(NEVER)
    }

    /// The answer, without its tag, to a command that is not forwarded.
    pub(super) fn refusal(&self, head: &CommandHead<'_>) -> Option<&'static str> {
        if head.is("COMPRESS") {
            Some("NO [CANNOT] proxy: COMPRESS would hide the messages from the proxy")
        } else if head.is("UNAUTHENTICATE") {
            Some("NO [CANNOT] proxy: UNAUTHENTICATE is not supported, please reconnect")
        } else if head.is("STARTTLS") {
            Some("BAD proxy: STARTTLS is not available on this connection")
        } else if (head.is("LOGIN") || head.is("AUTHENTICATE")) && head.proper_tag().is_none() {
            // The answer could not be told from others, nor that a password was wrong.
            Some("BAD proxy: a login needs a proper tag")
        } else if head.is("AUTHENTICATE") {
            self.mechanism_refusal(head.arguments)
        } else {
            None
        }
    }

    fn mechanism_refusal(&self, arguments: &[u8]) -> Option<&'static str> {
        let (mechanism, _) = word(arguments);
        if mechanism.starts_with(b"{") || mechanism.starts_with(b"~") {
            return Some("BAD proxy: the SASL mechanism must be an atom");
        }
        // Some servers read the mechanism as an astring.
        let mechanism = mechanism.strip_prefix(b"\"").unwrap_or(mechanism);
        let mechanism = mechanism.strip_suffix(b"\"").unwrap_or(mechanism);
        // Without a mechanism the server's own complaint is the better one.
        let passes = mechanism.is_empty() || self.keeps(&[b"AUTH=", mechanism].concat());
        (!passes).then_some("NO [CANNOT] proxy: this SASL mechanism cannot work through a proxy")
    }
}

/// Whether the name is in the table, in any case of letters.
fn contains(table: &[&str], name: &[u8]) -> bool {
    let first = name.first().map(u8::to_ascii_uppercase);
    let first_of = |known: &&str| known.bytes().next();
    // Few names share a letter, and most of these differ in their length.
    let begin = table.partition_point(|known| first_of(known) < first);
    let candidates = table.iter().skip(begin).take_while(|known| first_of(known) == first);
    candidates.copied().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        for table in [KEPT, NEVER, MECHANISMS] {
            assert!(table.is_sorted());
        }
        assert!(NEVER.iter().all(|name| !contains(KEPT, name.as_bytes())));
    }

    #[test]
    fn capabilities() {
        let policy = Policy::new(["x-foo", "AUTH=GSSAPI", "COMPRESS=DEFLATE"]);
        for kept in [
            "IMAP4rev1",
            "literal+",
            "AUTH=plain",
            "AUTH=SCRAM-SHA-256",
            "LOGINDISABLED",
            "THREAD=REFS",
            "X-FOO",
            "AUTH=GSSAPI",
        ] {
            assert!(policy.keeps(kept.as_bytes()), "{kept}");
        }
        for stripped in [
            "COMPRESS=DEFLATE",
            "STARTTLS",
            "UNAUTHENTICATE",
            "AUTH=EXTERNAL",
            "AUTH=SCRAM-SHA-256-PLUS",
            "AUTH=NTLM",
            "LOGIN-REFERRALS",
            "MAILBOX-REFERRALS",
            "X-BAR",
            "THREAD",
            "AUTH=",
            "",
        ] {
            assert!(!policy.keeps(stripped.as_bytes()), "{stripped}");
        }
        assert!(!policy.keeps(b"\xff"));
    }

    #[test]
    fn commands() {
        let policy = Policy::default();
        let refusal = |line: &[u8]| policy.refusal(&CommandHead::parse(line));
        for refused in [
            &b"A compress DEFLATE\r\n"[..],
            b"A UNAUTHENTICATE\r\n",
            b"A AUTHENTICATE EXTERNAL =\r\n",
            b"A AUTHENTICATE \"GSSAPI\"\r\n",
            b"A authenticate scram-sha-1-plus\r\n",
        ] {
            assert!(
                refusal(refused).is_some_and(|answer| answer.starts_with("NO [CANNOT] proxy: "))
            );
        }
        for bad in [
            &b"A STARTTLS\r\n"[..],
            b"A AUTHENTICATE {5}\r\n",
            b"A% LOGIN a b\r\n",
            b"+A authenticate PLAIN\r\n",
        ] {
            assert!(refusal(bad).is_some_and(|answer| answer.starts_with("BAD proxy: ")));
        }
        for passes in [
            &b"A NOOP\r\n"[..],
            b"A AUTHENTICATE\r\n",
            b"A AUTHENTICATE PLAIN AA==\r\n",
            b"\r\n",
            b"COMPRESS\r\n",
        ] {
            assert_eq!(refusal(passes), None);
        }
    }
}
