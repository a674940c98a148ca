//! The header of the PROXY protocol, which tells the next hop whose connection it is.
//!
//! Versions 1 (a line of text) and 2 (binary):
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader, SslInfo, Tlv};
use thiserror::Error;

use super::arrival::Origin;
use crate::config::ProxyProtocol;

/// How version 1 begins.
const TEXT: &[u8] = b"PROXY ";
/// Its shortest header: `PROXY UNKNOWN` CRLF. No header of either version is shorter.
const TEXT_SHORTEST: usize = 15;
/// Its longest header (2.1).
const TEXT_LONGEST: usize = 107;
/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Its part of fixed length, which ends with the length of the rest.
const BINARY_FIXED: usize = 16;
/// Version 2, and its commands (2.2).
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Longer than the name of any version of TLS.
const TLS_VERSION_LONGEST: usize = 16;

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Wrong {
    /// It is none at all.
    #[error("sent something else than a PROXY header")]
    None,
    /// It begins like one.
    #[error("sent a PROXY header that makes no sense")]
    Invalid,
    /// Version 1 without an end.
    #[error("sent a PROXY header of more than {TEXT_LONGEST} bytes")]
    TooLong,
}

/// How many bytes the header still has at least, after these; 0 when it is whole. What is read in
/// such steps is never more than the header.
pub(super) fn missing(head: &[u8]) -> Result<usize, Wrong> {
    let begins = |start: &[u8]| head.iter().zip(start).all(|(byte, expected)| byte == expected);
    if begins(TEXT) {
        missing_text(head)
    } else if begins(SIGNATURE) {
        missing_binary(head)
    } else {
        Err(Wrong::None)
    }
}

fn missing_text(head: &[u8]) -> Result<usize, Wrong> {
    let missing = if head.ends_with(b"\r\n") {
        0
    } else if head.contains(&b'\n') {
        return Err(Wrong::Invalid);
    } else if head.len() < TEXT_SHORTEST {
        TEXT_SHORTEST - head.len()
    } else if head.ends_with(b"\r") {
        1
    } else {
        2
    };
    if head.len() + missing > TEXT_LONGEST { Err(Wrong::TooLong) } else { Ok(missing) }
}

fn missing_binary(head: &[u8]) -> Result<usize, Wrong> {
    if head.get(SIGNATURE.len()).is_some_and(|command| !matches!(*command, LOCAL | PROXY)) {
        return Err(Wrong::Invalid);
    }
    let whole = match head.get(BINARY_FIXED - 2..BINARY_FIXED) {
        Some(&[high, low]) => BINARY_FIXED + usize::from(u16::from_be_bytes([high, low])),
        _ => BINARY_FIXED,
    };
    Ok(whole.saturating_sub(head.len()))
}

/// What a whole header says of the client; `None` where the connection is the balancer's own, as
/// for its health checks, or where it does not know.
pub(super) fn parse(head: &[u8]) -> Result<Option<Origin>, Wrong> {
    if head.starts_with(SIGNATURE) && head.get(SIGNATURE.len()) == Some(&LOCAL) {
        // The rest is to be discarded, whatever it is.
        return Ok(None);
    }
    let (header, length) =
        ProxyHeader::parse(head, ParseConfig::default()).map_err(|_| Wrong::Invalid)?;
    match header.proxied_address() {
        Some(ProxiedAddress { protocol: Protocol::Datagram, .. }) => Err(Wrong::Invalid),
        _ if length != head.len() => Err(Wrong::Invalid),
        None => Ok(None),
        Some(ProxiedAddress { source, destination, .. }) => {
            let ssl = header.ssl().filter(SslInfo::client_ssl);
            Ok(Some(Origin {
                client: canonical(*source),
                connected: canonical(*destination),
                tls: ssl.map(|ssl| tls_version(&ssl)),
                subject: None,
                is_balancers: false,
            }))
        }
    }
}

/// The name of the version of TLS; empty if there is no good one.
fn tls_version(ssl: &SslInfo<'_>) -> String {
    let is_good = |name: &&str| {
        name.len() <= TLS_VERSION_LONGEST && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    ssl.version().filter(is_good).unwrap_or_default().to_owned()
}

/// An IPv4 address as such, even where it was seen by a socket for both families.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The header that tells a server of the client.
pub(super) fn build(version: ProxyProtocol, origin: &Origin) -> Vec<u8> {
    let encode = |header: ProxyHeader<'_>| {
        let mut bytes = Vec::new();
        let encoded = match version {
            ProxyProtocol::V1 => header.encode_v1(&mut bytes),
            ProxyProtocol::V2 => header.encode_v2(&mut bytes),
        };
        encoded.map(|()| bytes)
    };
    // Version 1 has no room for more than addresses.
    let tls = origin.tls.as_deref().filter(|_| version == ProxyProtocol::V2);
    let address = ProxiedAddress::stream(origin.client, origin.connected);
    // Both addresses are of one connection, and so of one family; else nothing can be said of them.
    encode(ProxyHeader::with_tlvs(Some(address), tls.map(ssl)))
        .or_else(|_| encode(ProxyHeader::with_local()))
        .unwrap_or_default()
}

/// The client spoke TLS, and showed no certificate.
fn ssl(version: &str) -> Tlv<'static> {
    const NOT_VERIFIED: u32 = 1;
    let mut ssl = SslInfo::new(true, false, false, NOT_VERIFIED);
    if !version.is_empty() {
        ssl.append_tlv(Tlv::SslVersion(version.into()));
    }
    Tlv::Ssl(ssl.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(client: &str, connected: &str, tls: Option<&str>) -> Origin {
        Origin {
            client: client.parse().unwrap(),
            connected: connected.parse().unwrap(),
            tls: tls.map(str::to_owned),
            subject: None,
            is_balancers: false,
        }
    }

    /// Version 2: what follows the signature, with the length put in.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xC0, 0x00, 0x00, 0x8F];

    /// Reads a header as the session does: in the steps that `missing` asks for. Returns how many
    /// bytes it took.
    fn read(input: &[u8]) -> Result<(Option<Origin>, usize), Wrong> {
        let mut taken = 0;
        loop {
            match missing(&input[..taken])? {
                0 => return parse(&input[..taken]).map(|origin| (origin, taken)),
                more => taken += more,
            }
            assert!(taken <= input.len(), "more is asked for than there is");
        }
    }

    #[test]
    fn headers_come_in_and_nothing_behind_them() {
        let v4 = || Some(origin("192.0.2.1:49152", "198.51.100.2:143", None));
        let v6 = || Some(origin("[2001:db8::1]:1", "[2001:db8::2]:65535", None));
        let v6_bytes = [
            &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
            &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
            &[0, 1, 0xff, 0xff],
        ]
        .concat();
        let tls = [V4, &[0x20, 0, 16, 1, 0, 0, 0, 0, 0x21, 0, 8], b"TLSv1.3\x7f"].concat();
        let good_tls = [V4, &[0x20, 0, 15, 1, 0, 0, 0, 0, 0x21, 0, 7], b"TLSv1.3"].concat();
        let plain = [V4, &[0x20, 0, 5, 0, 0, 0, 0, 0]].concat();
        let with_tls = |version| Some(origin("192.0.2.1:49152", "198.51.100.2:143", Some(version)));
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 49152 143\r\n".to_vec(), v4()),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n".to_vec(), v6()),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 49152 143\r\n".to_vec(), v4()),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (format!("PROXY UNKNOWN {}\r\n", "x".repeat(91)).into_bytes(), None),
            (binary(0x21, 0x11, V4), v4()),
            (binary(0x21, 0x11, &[V4, &[4, 0, 3, 0, 0, 0]].concat()), v4()),
            (binary(0x21, 0x11, &[V4, &[0xE0, 0xFF]].concat()), v4()),
            (binary(0x21, 0x11, &[V4, &vec![0; 65_535 - 12]].concat()), v4()),
            (binary(0x21, 0x11, &good_tls), with_tls("TLSv1.3")),
            (binary(0x21, 0x11, &tls), with_tls("")),
            (binary(0x21, 0x11, &plain), v4()),
            (binary(0x21, 0x21, &v6_bytes), v6()),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x21, 0x00, b""), None),
            (binary(0x20, 0x00, b""), None),
            (binary(0x20, 0x11, V4), None),
            (binary(0x20, 0xFF, b"whatever"), None),
        ] {
            let whole = [&header[..], b"A1 NOOP\r\n"].concat();
            let shown = header.escape_ascii().to_string();
            assert_eq!(read(&whole), Ok((expected, header.len())), "{shown}");
        }
    }

    #[test]
    fn what_is_wrong_is_found_at_once() {
        let too_long = [b"PROXY UNKNOWN ", &[b'x'; 94][..]].concat();
        for (input, wrong) in [
            (&b"A1 NOOP\r\n      "[..], Wrong::None),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0", Wrong::None),
            (b"PROXYUNKNOWN\r\nA1", Wrong::None),
            (b"PROXY TCP4\r\nA1 CAPABILITY", Wrong::Invalid),
            (b"PROXY A\n        ", Wrong::Invalid),
            (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n", Wrong::Invalid),
            (b"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n", Wrong::Invalid),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", Wrong::Invalid),
            (b"PROXY TCP4 ::1 ::1 1 1\r\n", Wrong::Invalid),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Wrong::Invalid),
            (&too_long, Wrong::TooLong),
            (&binary(0x11, 0x11, V4), Wrong::Invalid),
            (&binary(0x22, 0x11, V4), Wrong::Invalid),
            (&binary(0x21, 0x12, V4), Wrong::Invalid),
            (&binary(0x21, 0x44, V4), Wrong::Invalid),
            (&binary(0x21, 0x11, &V4[..11]), Wrong::Invalid),
            (&binary(0x21, 0x21, V4), Wrong::Invalid),
        ] {
            assert_eq!(read(input), Err(wrong), "{}", input.escape_ascii());
        }
        // Before more was asked for than there is to see.
        assert_eq!(missing(b"Q"), Err(Wrong::None));
        assert_eq!(missing(&[SIGNATURE, &[0x31]].concat()), Err(Wrong::Invalid));
        assert_eq!(missing(b""), Ok(TEXT_SHORTEST));
    }

    #[test]
    fn headers_go_out() {
        use ProxyProtocol::{V1, V2};
        let v4 = |tls| origin("192.0.2.1:49152", "198.51.100.2:143", tls);
        let v6 = origin("[2001:db8::1]:1", "[2001:db8::2]:65535", None);
        let text = &b"PROXY TCP4 192.0.2.1 198.51.100.2 49152 143\r\n"[..];
        assert_eq!(build(V1, &v4(None)), text);
        assert_eq!(build(V1, &v4(Some("TLSv1.3"))), text);
        assert_eq!(build(V1, &v6), b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
        assert_eq!(build(V2, &v4(None)), binary(0x21, 0x11, V4));
        let tls = [V4, &[0x20, 0, 15, 1, 0, 0, 0, 1, 0x21, 0, 7], b"TLSv1.3"].concat();
        assert_eq!(build(V2, &v4(Some("TLSv1.3"))), binary(0x21, 0x11, &tls));
        let mixed = origin("192.0.2.1:1", "[::1]:2", None);
        assert_eq!(build(V1, &mixed), b"PROXY UNKNOWN\r\n");
        assert_eq!(build(V2, &mixed), binary(0x20, 0, b""));
        for origin in [v4(None), v6, v4(Some("")), v4(Some("TLSv1.2"))] {
            let header = build(V2, &origin);
            assert_eq!(read(&header), Ok((Some(origin), header.len())));
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = binary(0x21, 0x21, &[7; 64]);
        let text = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
        for sample in [&whole[..], text] {
            for position in 0..sample.len() {
                for byte in 0..=u8::MAX {
                    let mut changed = sample.to_vec();
                    changed[position] = byte;
                    for cut in [&changed[..], &changed[..position]] {
                        let _ = (missing(cut), parse(cut));
                    }
                }
            }
        }
    }
}
