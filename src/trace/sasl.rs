//! What SASL exchanges say of the user (RFC 4422): its name may be shown, the rest never.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// The registered mechanisms (IANA), and those in common use. Whatever else follows AUTHENTICATE
/// may be a password in the wrong place.
const MECHANISMS: &[&str] = &[
    "9798-M-DSA-SHA1",
    "9798-M-ECDSA-SHA1",
    "9798-M-RSA-SHA1-ENC",
    "9798-U-DSA-SHA1",
    "9798-U-ECDSA-SHA1",
    "9798-U-RSA-SHA1-ENC",
    "ANONYMOUS",
    "CRAM-MD5",
    "DIGEST-MD5",
    "EAP-AES128",
    "EAP-AES128-PLUS",
    "ECDH-X25519-CHALLENGE",
    "ECDSA-NIST256P-CHALLENGE",
    "EXTERNAL",
    "GS2-KRB5",
    "GS2-KRB5-PLUS",
    "GSS-SPNEGO",
    "GSSAPI",
    "KERBEROS_V4",
    "KERBEROS_V5",
    "LOGIN",
    "NMAS-SAMBA-AUTH",
    "NMAS_AUTHEN",
    "NMAS_LOGIN",
    "NTLM",
    "OAUTH10A",
    "OAUTHBEARER",
    "OPENID20",
    "OTP",
    "PLAIN",
    "SAML20",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-224",
    "SCRAM-SHA-224-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-384",
    "SCRAM-SHA-384-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA3-512",
    "SCRAM-SHA3-512-PLUS",
    "SECURID",
    "SKEY",
    "SPNEGO",
    "SPNEGO-PLUS",
    "SXOVER-PLUS",
    "XOAUTH",
    "XOAUTH2",
];

/// Longer names of users are not taken for such, in bytes.
const MAX_USER: usize = 256;

/// The mechanism of that name, compared without case.
pub(super) fn mechanism(name: &[u8]) -> Option<&'static str> {
    MECHANISMS.iter().copied().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A response as sent, decoded; `None` when it is not base64.
pub(super) fn decode(sent: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config).decode(sent).ok().map(Zeroizing::new)
}

/// Whatever in a line may be base64, decoded.
pub(super) fn encoded_in(line: &[u8]) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    // Shorter ones are common words.
    const SHORTEST: usize = 8;
    line.split(|b| !(b.is_ascii_alphanumeric() || b"+/=".contains(b)))
        .filter(|word| word.len() >= SHORTEST)
        .filter_map(|word| decode(word.get(..word.len() / 4 * 4)?))
}

/// The user that the client's first (decoded) response names.
pub(super) fn user(mechanism: &str, response: &[u8]) -> Option<String> {
    let name = match mechanism {
        // RFC 4616: [authzid] NUL authcid NUL passwd
        "PLAIN" => {
            let mut parts = response.split(|&b| b == 0);
            let (act_as, login) = (parts.next()?, parts.next()?);
            parts.next()?;
            if act_as.is_empty() { login } else { act_as }
        }
        "LOGIN" => response,
        // RFC 2195: user SP digest
        "CRAM-MD5" => {
            response.get(..response.iter().rposition(|&b| b == b' ')?).unwrap_or_default()
        }
        "XOAUTH2" => response.split(|&b| b == 1).find_map(|part| part.strip_prefix(b"user="))?,
        // RFC 7628: the GS2 header n,a=user, then key-value pairs
        "OAUTHBEARER" => {
            let header = response.split(|&b| b == 1).next()?;
            header.split(|&b| b == b',').find_map(|part| part.strip_prefix(b"a="))?
        }
        // RFC 5802: n,,n=user,r=nonce
        scram if scram.starts_with("SCRAM-") => {
            response.split(|&b| b == b',').skip(2).find_map(|part| part.strip_prefix(b"n="))?
        }
        _ => return None,
    };
    let name = checked(name)?;
    // RFC 5801: commas and equal signs within a name.
    let gs2 = matches!(mechanism, "OAUTHBEARER") || mechanism.starts_with("SCRAM-");
    Some(if gs2 { name.replace("=2C", ",").replace("=3D", "=") } else { name.to_owned() })
}

/// `name` as the name of a user, when it could be one.
pub(super) fn checked(name: &[u8]) -> Option<&str> {
    let name = str::from_utf8(name).ok()?;
    ((1..=MAX_USER).contains(&name.len()) && !name.contains('\0')).then_some(name)
}

/// The parts of a decoded response that a server might repeat in clear.
pub(super) fn parts(response: &[u8]) -> impl Iterator<Item = &[u8]> {
    response.split(|&b| b <= 1).flat_map(|part| {
        // RFC 6750: auth=Bearer TOKEN
        let token = part.strip_prefix(b"auth=").and_then(|auth| auth.split(|&b| b == b' ').nth(1));
        [Some(part), token].into_iter().flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found() {
        for (mechanism, response, expected) in [
            ("PLAIN", &b"\0bob\0secret"[..], Some("bob")),
            ("PLAIN", b"alice\0bob\0secret", Some("alice")),
            ("PLAIN", b"\0bob", None),
            ("PLAIN", b"secret", None),
            ("LOGIN", b"bob", Some("bob")),
            ("LOGIN", b"", None),
            ("CRAM-MD5", b"bob b913a602c7eda7a495b4e6e7334d3890", Some("bob")),
            ("CRAM-MD5", b"secret", None),
            ("XOAUTH2", b"user=bob@x.org\x01auth=Bearer ya29.token\x01\x01", Some("bob@x.org")),
            ("XOAUTH2", b"auth=Bearer ya29.token\x01\x01", None),
            ("OAUTHBEARER", b"n,a=bob=2Cx,\x01host=h\x01auth=Bearer t\x01\x01", Some("bob,x")),
            ("OAUTHBEARER", b"n,,\x01auth=Bearer a=b,a=c\x01\x01", None),
            ("SCRAM-SHA-256", b"n,,n=bob=3D1,r=nonce", Some("bob=1")),
            ("SCRAM-SHA-1", b"n,a=adm,n=bob,r=nonce", Some("bob")),
            ("GSSAPI", b"whatever", None),
            ("LOGIN", b"\xff\xfe", None),
        ] {
            assert_eq!(user(mechanism, response).as_deref(), expected, "{mechanism} {response:?}");
        }
        assert_eq!(user("LOGIN", &[b'x'; 257]), None);
    }

    #[test]
    fn mechanisms_are_compared_without_case() {
        assert_eq!(mechanism(b"plain"), Some("PLAIN"));
        assert_eq!(mechanism(b"AGJvYgBzZWNyZXQ="), None);
        assert_eq!(mechanism(b""), None);
    }

    #[test]
    fn base64_with_or_without_padding() {
        assert_eq!(**decode(b"AGJvYgB4").unwrap(), *b"\0bob\0x");
        assert_eq!(**decode(b"Ym9i").unwrap(), *b"bob");
        assert_eq!(**decode(b"Ym8").unwrap(), **decode(b"Ym8=").unwrap());
        assert!(decode(b"s3cr$t").is_none());
    }

    #[test]
    fn base64_is_found_in_a_line() {
        let found: Vec<_> = encoded_in(b"A1 BAD (AGJvYgBodW50ZXIy) no \"aHVudGVyMg==\"").collect();
        assert_eq!(found.len(), 2);
        assert_eq!((&**found[0], &**found[1]), (&b"\0bob\0hunter2"[..], &b"hunter2"[..]));
    }

    #[test]
    fn tokens_are_parts() {
        let parts: Vec<_> = parts(b"user=bob\x01auth=Bearer tok\x01\x01").collect();
        assert!(parts.contains(&&b"tok"[..]) && parts.contains(&&b"auth=Bearer tok"[..]));
    }
}
