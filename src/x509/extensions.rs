//! Certificate extensions (RFC 5280 §4.2): what those say that identities are built on.

use x509_parser::{
    asn1_rs::{Oid, oid},
    extensions::{
        AuthorityKeyIdentifier, BasicConstraints, GeneralName, KeyIdentifier,
        KeyUsage as UsageBits, SubjectAlternativeName, X509Extension,
    },
    oid_registry::{
        OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME,
        OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
    },
    prelude::FromDer,
};

/// The extensions that matter to identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// basicConstraints says CA:TRUE.
    pub is_ca: bool,
    /// The keyUsage bits; `None` when the extension is absent.
    pub key_usage: Option<KeyUsage>,
    /// Whether extendedKeyUsage lists serverAuth and clientAuth; `None` when it is absent.
    pub server_and_client_auth: Option<bool>,
    /// Every URI of subjectAltName, in order.
    pub uris: Vec<String>,
    /// Every DNS name of subjectAltName, in order.
    pub dns_names: Vec<String>,
    /// subjectKeyIdentifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// The key identifier of authorityKeyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
}

/// The bits of keyUsage that SPIFFE has rules about (X509-SVID §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key may sign handshakes.
    pub digital_signature: bool,
    /// The key may sign certificates.
    pub key_cert_sign: bool,
    /// The key may sign revocation lists.
    pub crl_sign: bool,
}

/// id-kp-serverAuth and id-kp-clientAuth (RFC 5280 §4.2.1.12).
static SERVER_AUTH: Oid<'_> = oid!(1.3.6.1.5.5.7.3.1);
static CLIENT_AUTH: Oid<'_> = oid!(1.3.6.1.5.5.7.3.2);

impl Extensions {
    /// Reads those that matter and leaves the others alone, whatever is in them. Nothing when one of
    /// those that matter is malformed.
    pub(super) fn read(all: &[X509Extension<'_>]) -> Option<Self> {
        let mut found = Self::default();
        for X509Extension { oid, value, .. } in all {
            if *oid == OID_X509_EXT_BASIC_CONSTRAINTS {
                found.is_ca = whole::<BasicConstraints, _>(value)?.ca;
            } else if *oid == OID_X509_EXT_KEY_USAGE {
                let bits: UsageBits = whole(value)?;
                found.key_usage = Some(KeyUsage {
                    digital_signature: bits.digital_signature(),
                    key_cert_sign: bits.key_cert_sign(),
                    crl_sign: bits.crl_sign(),
                });
            } else if *oid == OID_X509_EXT_EXTENDED_KEY_USAGE {
                let purposes: Vec<Oid<'_>> = whole(value)?;
                let both = [&SERVER_AUTH, &CLIENT_AUTH];
                let has_both = both.into_iter().all(|purpose| purposes.contains(purpose));
                found.server_and_client_auth = Some(has_both);
            } else if *oid == OID_X509_EXT_SUBJECT_ALT_NAME {
                for name in whole::<SubjectAlternativeName<'_>, _>(value)?.general_names {
                    match name {
                        GeneralName::URI(uri) => found.uris.push(uri.to_owned()),
                        GeneralName::DNSName(dns) => found.dns_names.push(dns.to_owned()),
                        _ => {}
                    }
                }
            } else if *oid == OID_X509_EXT_SUBJECT_KEY_IDENTIFIER {
                found.subject_key_id = Some(whole::<KeyIdentifier<'_>, _>(value)?.0.to_vec());
            } else if *oid == OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER {
                let id: AuthorityKeyIdentifier<'_> = whole(value)?;
                found.authority_key_id = id.key_identifier.map(|id| id.0.to_vec());
            }
        }
        Some(found)
    }
}

/// What an extension's value says, when nothing follows it.
fn whole<'a, T: FromDer<'a, E>, E>(value: &'a [u8]) -> Option<T> {
    match T::from_der(value) {
        Ok(([], found)) => Some(found),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(oid: &Oid<'_>, value: &[u8]) -> Option<Extensions> {
        use x509_parser::nom::Parser as _;
        let mut inner = oid.as_bytes().to_vec();
        inner.splice(..0, [0x06, u8::try_from(oid.as_bytes().len()).unwrap()]);
        inner.extend([0x04, u8::try_from(value.len()).unwrap()]);
        inner.extend(value);
        inner.splice(..0, [0x30, u8::try_from(inner.len()).unwrap()]);
        let mut parser =
            x509_parser::extensions::X509ExtensionParser::new().with_deep_parse_extensions(false);
        let (_, extension) = parser.parse(&inner).unwrap();
        Extensions::read(&[extension])
    }

    #[test]
    fn a_value_is_read_whole_or_not_at_all() {
        let is_ca = [0x30, 0x03, 0x01, 0x01, 0xff];
        assert!(read(&OID_X509_EXT_BASIC_CONSTRAINTS, &is_ca).unwrap().is_ca);
        let followed = [&is_ca[..], &[0x05, 0x00]].concat();
        assert_eq!(read(&OID_X509_EXT_BASIC_CONSTRAINTS, &followed), None);
        assert_eq!(read(&OID_X509_EXT_BASIC_CONSTRAINTS, &is_ca[..4]), None);
        assert_eq!(read(&OID_X509_EXT_KEY_USAGE, b"junk"), None);
    }

    #[test]
    fn an_extension_that_does_not_matter_may_hold_anything() {
        assert_eq!(read(&oid!(1.2.3.4), b"junk"), Some(Extensions::default()));
    }

    #[test]
    fn both_purposes_are_both_purposes() {
        let server = [0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 1];
        let client = [0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 2];
        let signing = [0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 3];
        for (purposes, has_both) in [
            (vec![server, client], true),
            (vec![client, signing, server], true),
            (vec![server, signing], false),
            (vec![client], false),
        ] {
            let purposes = purposes.concat();
            let value = [&[0x30, u8::try_from(purposes.len()).unwrap()], &purposes[..]].concat();
            let found = read(&OID_X509_EXT_EXTENDED_KEY_USAGE, &value).unwrap();
            assert_eq!(found.server_and_client_auth, Some(has_both), "{value:x?}");
        }
    }
}
