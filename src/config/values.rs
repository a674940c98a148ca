//! The values of single keys, each parsed to a type that cannot hold a wrong one.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use tokio_rustls::rustls::pki_types::ServerName;
use tracing_subscriber::EnvFilter;

use super::{problem::Reported, suggest::suggest};
use crate::tls::Security;

/// `encryption`
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) enum Encryption {
    Insecure,
    StartTls,
    Tls,
}

impl Encryption {
    /// The registered port: RFC 9051 2.1, RFC 8314 3.2.
    pub(super) fn default_port(self) -> u16 {
        match self {
            Self::Insecure | Self::StartTls => 143,
            Self::Tls => 993,
        }
    }
}

impl Encryption {
    /// With what TLS needs, which must be there unless there is no TLS; else it is `missing`.
    pub(super) fn with<T>(
        self,
        tls: Option<T>,
        missing: impl FnOnce() -> Reported,
    ) -> Result<Security<T>, Reported> {
        Ok(match self {
            Self::Insecure => Security::Insecure,
            Self::StartTls => Security::StartTls(tls.ok_or_else(missing)?),
            Self::Tls => Security::Tls(tls.ok_or_else(missing)?),
        })
    }
}

impl TryFrom<String> for Encryption {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "Insecure" => Ok(Self::Insecure),
            "Tls" => Ok(Self::Tls),
            "StartTls" => Ok(Self::StartTls),
            _ => Err(unknown(&text, &["Insecure", "StartTls", "Tls"])),
        }
    }
}

/// `type` of an identity.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum IdentityType {
    CertificateChainAndLeafKey,
}

impl TryFrom<String> for IdentityType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "CertificateChainAndLeafKey" => Ok(Self::CertificateChainAndLeafKey),
            _ => Err(unknown(&text, &["CertificateChainAndLeafKey"])),
        }
    }
}

/// `name` of a service.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) Arc<str>);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            Err("the name is empty; every service needs one")
        } else if text.chars().any(char::is_control) {
            Err("the name holds a control character; use printable ones")
        } else {
            Ok(Self(text.into()))
        }
    }
}

/// `host`
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Host {
    pub(super) text: String,
    pub(super) name: ServerName<'static>,
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match ServerName::try_from(text.as_str()) {
            Ok(name) => Ok(Self { name: name.to_owned(), text }),
            Err(_) => Err(format!(
                "{text:?} is no host; expected a DNS name or an IP address, \
                 without port or brackets"
            )),
        }
    }
}

/// `port`, not below `MIN`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Integer")]
pub(super) struct Port<const MIN: u16>(pub(super) u16);

impl<const MIN: u16> TryFrom<Integer> for Port<MIN> {
    type Error = String;

    fn try_from(Integer(number): Integer) -> Result<Self, String> {
        match u16::try_from(number) {
            Ok(port) if port >= MIN => Ok(Self(port)),
            _ => Err(format!("{number} is no port; expected {MIN} to {}", u16::MAX)),
        }
    }
}

/// A number of something, not below `MIN`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Integer")]
pub(super) struct Size<const MIN: usize>(usize);

impl<const MIN: usize> TryFrom<Integer> for Size<MIN> {
    type Error = String;

    fn try_from(Integer(number): Integer) -> Result<Self, String> {
        match usize::try_from(number) {
            Ok(size) if size >= MIN => Ok(Self(size)),
            _ => Err(format!("{number} is too small; the least is {MIN}")),
        }
    }
}

impl<const MIN: usize> From<Size<MIN>> for usize {
    fn from(Size(size): Size<MIN>) -> Self {
        size
    }
}

impl<const MIN: usize> From<Size<MIN>> for u64 {
    fn from(Size(size): Size<MIN>) -> Self {
        // No machine has more than 64 bits.
        size.try_into().unwrap_or(Self::MAX)
    }
}

impl<const MIN: usize> From<Size<MIN>> for Option<u64> {
    fn from(size: Size<MIN>) -> Self {
        Some(size.into())
    }
}

/// A duration, longer than nothing and short enough to be added to any clock.
#[derive(Clone, Copy)]
pub(super) struct Time(Duration);

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl From<Time> for Duration {
    fn from(Time(duration): Time) -> Self {
        duration
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let AnyTime(duration) = AnyTime::deserialize(deserializer)?;
        if duration.is_zero() {
            Err(de::Error::custom("no time at all; the least is \"1ms\""))
        } else if duration > LONGEST {
            Err(de::Error::custom("too long; the most is \"365d\""))
        } else {
            Ok(Self(duration))
        }
    }
}

/// `idle`, after login.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Time")]
pub(super) struct IdleTime(Time);

impl TryFrom<Time> for IdleTime {
    type Error = &'static str;

    fn try_from(time: Time) -> Result<Self, Self::Error> {
        if time.0 < Duration::from_secs(30 * 60) {
            return Err("too short; RFC 9051 5.4 asks for at least \"30m\"");
        }
        Ok(Self(time))
    }
}

impl From<IdleTime> for Duration {
    fn from(IdleTime(time): IdleTime) -> Self {
        time.into()
    }
}

/// `login_delay`: nothing at all switches it off, and much would be a way to lock others out.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "AnyTime")]
pub(super) struct Delay(Duration);

impl TryFrom<AnyTime> for Delay {
    type Error = &'static str;

    fn try_from(AnyTime(duration): AnyTime) -> Result<Self, Self::Error> {
        if duration > Duration::from_secs(5 * 60) {
            return Err("too long; the most is \"5m\"");
        }
        Ok(Self(duration))
    }
}

impl From<Delay> for Duration {
    fn from(Delay(duration): Delay) -> Self {
        duration
    }
}

/// One of `allow_capabilities`: an atom (RFC 9051 9, `capability`).
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Capability(pub(super) String);

impl TryFrom<String> for Capability {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_atom_char = |c: char| c.is_ascii_graphic() && !"(){%*\"\\]".contains(c);
        if !text.is_empty() && text.chars().all(is_atom_char) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is no capability; expected an IMAP atom such as \"X-FOO\""))
        }
    }
}

/// One of `proxy_protocol_from`: an address, or a network with all bits behind its prefix zero.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Network(pub(super) IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = text.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        match address.or_else(|_| text.parse()) {
            Ok(network) if network.addr() == network.network() => Ok(Self(network)),
            Ok(network) => Err(format!(
                "{text:?} has bits behind its prefix; did you mean `{}` or `{}`?",
                network.trunc(),
                network.addr()
            )),
            Err(_) => Err(format!(
                "{text:?} is no address; expected one such as \"192.0.2.1\", or a network such as \
                 \"10.0.0.0/8\" or \"fd00::/8\""
            )),
        }
    }
}

/// `filter` of the log.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Filter(String);

impl TryFrom<String> for Filter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match log_filter(&text) {
            Ok(_) => Ok(Self(text)),
            Err(wrong) => Err(format!(
                "{text:?} is no filter: {wrong}; expected one such as \"info\" or \
                 \"info,imap_proxy::session=debug\""
            )),
        }
    }
}

/// Reads a filter of the log, or says what is wrong with it.
pub fn log_filter(text: &str) -> Result<EnvFilter, String> {
    // Some that are not in ASCII make tracing-subscriber panic, and no module has such a name.
    if !text.is_ascii() {
        return Err("it has characters beyond ASCII".to_owned());
    }
    EnvFilter::builder().parse(text).map_err(|error| error.to_string())
}

impl From<Filter> for String {
    fn from(Filter(text): Filter) -> Self {
        text
    }
}

fn unknown(text: &str, known: &[&str]) -> String {
    format!("unknown value `{text}`; {}", suggest(text, known))
}

/// Any TOML integer.
struct Integer(i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Integer, E> {
        Ok(Integer(number))
    }
}

/// Any duration.
struct AnyTime(Duration);

impl<'de> Deserialize<'de> for AnyTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor).map(Self)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"90s\" or \"35m\", or a whole number of seconds")
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
        u64::try_from(seconds)
            .map(Duration::from_secs)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        humantime::parse_duration(text)
            .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use toml::de::ValueDeserializer;

    use super::*;

    fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
        T::deserialize(ValueDeserializer::parse(text).unwrap()).ok()
    }

    #[test]
    fn filters_are_read_or_refused() {
        for (filter, is_one) in [
            ("info", true),
            ("info,imap_proxy::session=debug", true),
            ("info,imap_proxy=chatty", false),
            // Some of these make the parser panic.
            ("a\u{fffd}", false),
            ("info, client  \u{e9} ", false),
        ] {
            assert_eq!(log_filter(filter).is_ok(), is_one, "{filter:?}");
        }
    }

    #[test]
    fn times_are_strings_or_seconds_within_bounds() {
        let time = |text| parse::<Time>(text).map(Duration::from);
        assert_eq!(time("\"1m 30s\""), Some(Duration::from_secs(90)));
        assert_eq!(time("90"), Some(Duration::from_secs(90)));
        assert_eq!(time("\"1ms\""), Some(Duration::from_millis(1)));
        assert_eq!(time("\"365d\""), Some(LONGEST));
        for wrong in ["0", "-1", "\"0s\"", "\"366d\"", "9223372036854775807", "\"90\"", "1.5"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn half_an_hour_is_the_least_idle_time() {
        let idle = |text| parse::<IdleTime>(text).map(Duration::from);
        assert_eq!(idle("1800"), Some(Duration::from_secs(1800)));
        assert_eq!(idle("1799"), None);
    }

    #[test]
    fn delays_may_be_none() {
        let delay = |text| parse::<Delay>(text).map(Duration::from);
        assert_eq!(delay("\"0s\""), Some(Duration::ZERO));
        assert_eq!(delay("300"), Some(Duration::from_secs(300)));
        assert_eq!(delay("301"), None);
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for right in ["localhost", "imap.example.org", "127.0.0.1", "::1", "0.0.0.0", "a_b"] {
            assert_eq!(Host::try_from(right.to_owned()).unwrap().text, right);
        }
        for wrong in ["", " ", "*", "[::1]", "a:143", "imap://a", "-", "a b", "a..b", "\u{e9}"] {
            assert!(Host::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_are_addresses_or_have_a_prefix() {
        for (text, network) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("::1", "::1/128"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("fd00::/8", "fd00::/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(Network::try_from(text.to_owned()).unwrap().0.to_string(), network);
        }
        for wrong in ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10/8", "[::1]"] {
            assert!(Network::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn capabilities_are_atoms() {
        for right in ["X-FOO", "AUTH=X", "LITERAL+", "a"] {
            assert_eq!(Capability::try_from(right.to_owned()).unwrap().0, right);
        }
        for wrong in ["", "A B", "A]", "A\r\nB", "A*", "\u{e9}"] {
            assert!(Capability::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
