//! The subject of a client's certificate, as text that is safe to log.

use std::fmt::Write;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::ToDer,
    certificate::X509Certificate,
    extensions::GeneralName,
    parse_x509_certificate,
    x509::{AttributeTypeAndValue, X509Name},
};

use super::escape;

/// Of a subject, in bytes: enough for any that is well meant.
const MAX_SUBJECT: usize = 512;

/// The subject as an RFC 4514 string, such as `CN=alice,O=Example`. If it is empty, the first
/// subjectAltName that is text, such as `email:alice@example.org`. Whatever could harm a log is
/// escaped as `\NN`, and what is too long is cut.
pub fn client_subject(certificate: &CertificateDer<'_>) -> String {
    let subject = match parse_x509_certificate(certificate) {
        Ok((_, certificate)) => match distinguished_name(certificate.subject()) {
            name if name.is_empty() => alternative_name(&certificate),
            name => Some(name),
        },
        Err(_) => None,
    };
    let subject = subject.as_deref().unwrap_or("(no name)");
    escape::bounded(MAX_SUBJECT, format_args!("{subject}"))
}

/// RFC 4514 2: the last part first.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let part = |part: Vec<String>| part.join("+");
    let parts = name.iter_rdn().map(|rdn| part(rdn.iter().map(attribute).collect()));
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    parts.join(",")
}

/// RFC 4514 2.3 and 2.4: `TYPE=text`, or `OID=#hex` where the type is not well known or the value
/// is no text.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    match (short_name(&oid), attribute.as_str()) {
        (Some(name), Ok(value)) => format!("{name}={}", escaped(value)),
        (name, _) => {
            let der = attribute.attr_value().to_der_vec().unwrap_or_default();
            let mut text = format!("{}=#", name.unwrap_or(&oid));
            for byte in der {
                hex(&mut text, byte);
            }
            text
        }
    }
}

/// The table of RFC 4514 3, and what else is common in certificates.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

fn alternative_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::RFC822Name(name) => Some(format!("email:{}", escaped(name))),
        GeneralName::DNSName(name) => Some(format!("DNS:{}", escaped(name))),
        GeneralName::URI(name) => Some(format!("URI:{}", escaped(name))),
        GeneralName::DirectoryName(name) => Some(format!("dirName:{}", distinguished_name(name))),
        GeneralName::IPAddress(bytes) => ip_address(bytes).map(|address| format!("IP:{address}")),
        _ => None,
    })
}

fn ip_address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        Some(v4.into())
    } else {
        <[u8; 16]>::try_from(bytes).ok().map(std::net::IpAddr::from)
    }
}

/// RFC 4514 2.4, and of what a log does not bear every byte as `\NN`.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', c]),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            '#' if at == 0 => text.push_str("\\#"),
            _ if escape::is_unsafe(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    text.push('\\');
                    hex(&mut text, byte);
                }
            }
            _ => text.push(c),
        }
    }
    text
}

fn hex(text: &mut String, byte: u8) {
    // Writing to a String does not fail.
    let _ = write!(text, "{byte:02X}");
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn of(params: &CertificateParams) -> String {
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        client_subject(certificate.der())
    }

    fn named(attributes: &[(DnType, DnValue)]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params
    }

    fn common_name(name: &str) -> String {
        of(&named(&[(DnType::CommonName, DnValue::Utf8String(name.to_owned()))]))
    }

    #[test]
    fn names_are_those_of_rfc_4514() {
        let text = |text: &str| DnValue::Utf8String(text.to_owned());
        let uid = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]);
        let params = named(&[
            (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
            (DnType::OrganizationName, text("Müller, Söhne + Co")),
            (DnType::OrganizationalUnitName, text("#1 ")),
            (uid, text("alice")),
            (DnType::CommonName, text(" Alice \"A\" \\ <x;y>")),
        ]);
        assert_eq!(
            of(&params),
            r#"CN=\ Alice \"A\" \\ \<x\;y\>,UID=alice,OU=\#1\ ,O=Müller\, Söhne \+ Co,C=DE"#
        );
    }

    #[test]
    fn what_is_no_text_or_not_known_is_hex() {
        let bmp = DnValue::BmpString("é".try_into().unwrap());
        let title = DnType::CustomDnType(vec![2, 5, 4, 12]);
        let params = named(&[
            (DnType::CommonName, bmp),
            (title, DnValue::PrintableString("Dr".try_into().unwrap())),
        ]);
        assert_eq!(of(&params), "2.5.4.12=#13024472,CN=#1E0200E9");
    }

    #[test]
    fn nothing_harms_a_log() {
        assert_eq!(
            common_name("a\r\nERROR\u{1b}[2J\u{202e}\u{0}b"),
            r"CN=a\0D\0AERROR\1B[2J\E2\80\AE\00b"
        );
        let long = common_name(&"x".repeat(2000));
        assert_eq!(long, format!("CN={}… (+1491 bytes)", "x".repeat(509)));
        assert_eq!(client_subject(&CertificateDer::from(&b"no certificate"[..])), "(no name)");
    }

    #[test]
    fn without_a_subject_the_first_alternative_name_counts() {
        let with = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name = DistinguishedName::new();
            of(&params)
        };
        assert_eq!(with(&["alice.example", "192.0.2.1"]), "DNS:alice.example");
        assert_eq!(with(&["192.0.2.1", "alice.example"]), "IP:192.0.2.1");
        assert_eq!(with(&["2001:db8::1"]), "IP:2001:db8::1");
        assert_eq!(with(&[]), "(no name)");

        // GeneralNames with one rfc822Name, of which nobody checks the characters.
        let mut params = named(&[]);
        let name = b"a\n,b@example.org";
        let length = u8::try_from(name.len()).unwrap();
        let content = [&[0x30, length + 2, 0x81, length], &name[..]].concat();
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content);
        params.custom_extensions.push(extension);
        assert_eq!(of(&params), r"email:a\0A\,b@example.org");
    }
}
