//! The client's address in the command ID (RFC 2971), as Dovecot's own proxies tell it.

use super::arrival::Origin;
use crate::trace::SessionId;

/// How many more proxies may follow, so that a loop ends. Dovecot allows five in a row, and this is
/// the first.
const PROXIES_BEHIND: u8 = 4;

/// The arguments of ID that a Dovecot reads whose `login_trusted_networks` holds our address. It
/// reads those of the first ID only, so a client's own, which comes later, forges nothing.
pub(super) fn arguments(origin: &Origin, session: &SessionId) -> String {
    let Origin { client, connected, tls, .. } = origin;
    let transport = if tls.is_some() { "TLS" } else { "insecure" };
    let fields = [
        ("x-originating-ip", client.ip().to_string()),
        ("x-originating-port", client.port().to_string()),
        ("x-connected-ip", connected.ip().to_string()),
        ("x-connected-port", connected.port().to_string()),
        ("x-session-id", session.to_string()),
        ("x-client-transport", transport.to_owned()),
        ("x-proxy-ttl", PROXIES_BEHIND.to_string()),
    ];
    // Nothing in the values needs an escape.
    let fields = fields.map(|(name, value)| format!("\"{name}\" \"{value}\""));
    format!("({})", fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families() {
        let session = SessionId::next();
        for (client, connected, tls, expected) in [
            (
                "192.0.2.1:49152",
                "198.51.100.2:143",
                None,
                "\"x-originating-ip\" \"192.0.2.1\" \"x-originating-port\" \"49152\" \
                 \"x-connected-ip\" \"198.51.100.2\" \"x-connected-port\" \"143\" \
                 \"x-session-id\" \"@\" \"x-client-transport\" \"insecure\" \"x-proxy-ttl\" \"4\"",
            ),
            (
                "[2001:db8::1]:1",
                "[::1]:993",
                Some("TLSv1.3"),
                "\"x-originating-ip\" \"2001:db8::1\" \"x-originating-port\" \"1\" \
                 \"x-connected-ip\" \"::1\" \"x-connected-port\" \"993\" \
                 \"x-session-id\" \"@\" \"x-client-transport\" \"TLS\" \"x-proxy-ttl\" \"4\"",
            ),
        ] {
            let origin = Origin {
                client: client.parse().unwrap(),
                connected: connected.parse().unwrap(),
                tls: tls.map(str::to_owned),
                subject: None,
                is_balancers: false,
            };
            let expected = format!("({})", expected.replace('@', &session.to_string()));
            assert_eq!(arguments(&origin, &session), expected);
        }
    }
}
