//! How one side of a session is secured.

/// `encryption` of the config, with what TLS needs where there is TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security<T> {
    /// No TLS at all.
    Insecure,
    /// TLS after the command STARTTLS (RFC 9051 6.2.1), and nothing else before it.
    StartTls(T),
    /// TLS from the first byte (RFC 8314 3).
    Tls(T),
}

impl<T> Security<T> {
    /// What TLS needs; `None` without TLS.
    pub fn tls(&self) -> Option<&T> {
        match self {
            Self::Insecure => None,
            Self::StartTls(tls) | Self::Tls(tls) => Some(tls),
        }
    }

    /// The same with something else for TLS.
    pub fn map<U>(&self, map: impl FnOnce(&T) -> U) -> Security<U> {
        match self {
            Self::Insecure => Security::Insecure,
            Self::StartTls(tls) => Security::StartTls(map(tls)),
            Self::Tls(tls) => Security::Tls(map(tls)),
        }
    }

    /// The same with something else for TLS, if there is such a thing.
    pub fn try_map<U, E>(&self, map: impl FnOnce(&T) -> Result<U, E>) -> Result<Security<U>, E> {
        Ok(match self {
            Self::Insecure => Security::Insecure,
            Self::StartTls(tls) => Security::StartTls(map(tls)?),
            Self::Tls(tls) => Security::Tls(map(tls)?),
        })
    }

    /// URL scheme and words for it.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Insecure => ("imap", "insecure"),
            Self::StartTls(_) => ("imap", "STARTTLS"),
            Self::Tls(_) => ("imaps", "TLS"),
        }
    }
}
