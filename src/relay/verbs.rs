//! The commands of IMAP: RFC 9051, RFC 3501 and the registered extensions.

use std::borrow::Cow;

/// Without arguments.
const BARE: &[&str] = &[
    "CAPABILITY",
    "CHECK",
    "CLOSE",
    "EXPUNGE",
    "IDLE",
    "LOGOUT",
    "NAMESPACE",
    "NOOP",
    "STARTTLS",
    "UNAUTHENTICATE",
    "UNSELECT",
];

/// With arguments.
const WITH_ARGUMENTS: &[&str] = &[
    "APPEND",
    "AUTHENTICATE",
    "CANCELUPDATE",
    "COMPARATOR",
    "COMPRESS",
    "CONVERSIONS",
    "CONVERT",
    "COPY",
    "CREATE",
    "DELETE",
    "DELETEACL",
    "ENABLE",
    "ESEARCH",
    "EXAMINE",
    "FETCH",
    "GENURLAUTH",
    "GETACL",
    "GETANNOTATION",
    "GETFILTER",
    "GETJMAPACCESS",
    "GETMETADATA",
    "GETQUOTA",
    "GETQUOTAROOT",
    "ID",
    "LANGUAGE",
    "LIST",
    "LISTRIGHTS",
    "LOGIN",
    "LSUB",
    "MOVE",
    "MYRIGHTS",
    "NOTIFY",
    "RENAME",
    "REPLACE",
    "RESETKEY",
    "RLIST",
    "RLSUB",
    "SEARCH",
    "SELECT",
    "SETACL",
    "SETANNOTATION",
    "SETFILTER",
    "SETMETADATA",
    "SETQUOTA",
    "SORT",
    "STATUS",
    "STORE",
    "SUBSCRIBE",
    "THREAD",
    "UID",
    "UIDBATCHES",
    "UNSUBSCRIBE",
    "URLFETCH",
    "XAPPLEPUSHSERVICE",
    "XLIST",
];

/// The name in upper case, as most are.
pub fn upper_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        name.to_ascii_uppercase().into()
    } else {
        name.into()
    }
}

/// Whether the word names a command, in any case of letters.
pub fn is_verb(word: &[u8]) -> bool {
    is_bare_verb(word) || is_in(WITH_ARGUMENTS, word)
}

/// Whether the word names a command that takes no arguments, in any case of letters.
pub fn is_bare_verb(word: &[u8]) -> bool {
    is_in(BARE, word)
}

fn is_in(table: &[&str], word: &[u8]) -> bool {
    table.iter().any(|verb| word.eq_ignore_ascii_case(verb.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_any_case() {
        assert!(is_verb(b"Noop") && is_bare_verb(b"noop"));
        assert!(is_verb(b"fetch") && !is_bare_verb(b"FETCH"));
        assert!(!is_verb(b"") && !is_verb(b"FETCHES"));
    }
}
