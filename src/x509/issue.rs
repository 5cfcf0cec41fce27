//! Issuing: template → lint → sign. Only what [`super::lint`] passed can be signed, once, and the
//! result is parsed and compared with its template before anyone sees it.
//!
//! Extension order, criticality and bits are Go's and so SPIRE's (server.md §2.1–2.2), written as DER
//! here because rcgen's own order differs; rcgen writes everything around them.

use super::{
    cert::{Certificate, CertificateError, Serial},
    key::{KeyError, KeyPair, PublicAlgorithm, PublicKey},
    lint::{self, LintError, Linted},
    name::{AttributeKind, Name},
    template::{AuthorityTemplate, LeafTemplate, Validity},
};
use aws_lc_rs::rand;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, Issuer, PublicKeyData,
    SerialNumber, SignatureAlgorithm, SigningKey,
};
use std::time::{SystemTime, UNIX_EPOCH};
use yasna::{DERWriter, Tag, construct_der};

/// A certificate that may sign others, with its key.
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
    params: CertificateParams,
    key_id: Vec<u8>,
}

/// A certificate that was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The system has no randomness for a serial number.
    #[error("cannot draw a serial number: the system gives no randomness")]
    Random,
    /// The certificate cannot be encoded or signed.
    #[error("cannot encode or sign the certificate")]
    Encode(#[source] rcgen::Error),
    /// The finished certificate does not parse.
    #[error("the signed certificate does not parse")]
    Parse(#[source] CertificateError),
    /// The template or the finished certificate breaks a rule.
    #[error("refused to issue")]
    Lint(#[from] LintError),
    /// The authority's key does not belong to its certificate.
    #[error("the authority's private key does not match its certificate")]
    KeyMismatch,
    /// The authority's key is unusable.
    #[error("the authority's key is unusable")]
    Key(#[from] KeyError),
}

impl Authority {
    /// Makes a self-signed authority. Its subject gets the certificate's serial number as an
    /// attribute, so that no two authorities share a name (server.md §2.2).
    ///
    /// # Errors
    /// When the template breaks a rule or cannot be signed.
    pub fn self_sign(
        template: Linted<AuthorityTemplate>,
        key: KeyPair,
    ) -> Result<Self, IssueError> {
        let template = template.into_inner();
        let serial = random_serial()?;
        let subject = if template.subject.has(&AttributeKind::SerialNumber) {
            template.subject
        } else {
            template.subject.with(AttributeKind::SerialNumber, serial.to_string())
        };
        let mut params = base_params(&subject, &serial, template.validity)?;
        params.custom_extensions = authority_extensions(&key.public_key().key_id(), &template.uri);
        let issued = params.self_signed(&RcgenSigner(&key)).map_err(IssueError::Encode)?;
        let certificate = parse(issued.der())?;
        Self::load(certificate, key)
    }

    /// Pairs a stored authority certificate with its key.
    ///
    /// # Errors
    /// When it may not sign certificates or the key is another's.
    pub fn load(certificate: Certificate, key: KeyPair) -> Result<Self, IssueError> {
        lint::authority_certificate(&certificate)?;
        if certificate.public_key() != key.public_key() {
            return Err(IssueError::KeyMismatch);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name =
            distinguished_name(certificate.subject()).map_err(IssueError::Encode)?;
        let key_id = certificate
            .extensions()
            .subject_key_id
            .clone()
            .unwrap_or_else(|| certificate.public_key().key_id());
        Ok(Self { certificate, key, params, key_id })
    }

    /// The authority's own certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key identifier that issued certificates name as their authority's.
    #[must_use]
    pub fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    /// Signs a template that [`lint::leaf`] passed, and checks the result against it.
    ///
    /// # Errors
    /// When encoding or signing fails, or the result is not what the template says.
    pub fn sign(&self, template: Linted<LeafTemplate>) -> Result<Certificate, IssueError> {
        let template = template.into_inner();
        let serial = random_serial()?;
        let mut params = base_params(&template.subject, &serial, template.validity)?;
        params.custom_extensions = leaf_extensions(&template, &self.key_id);
        let issuer = Issuer::from_params(&self.params, RcgenSigner(&self.key));
        let issued = params
            .signed_by(&RcgenPublicKey(&template.public_key), &issuer)
            .map_err(IssueError::Encode)?;
        let certificate = parse(issued.der())?;
        lint::issued_leaf(&certificate, &template, &self.certificate, &self.key_id)?;
        Ok(certificate)
    }
}

fn parse(der: &[u8]) -> Result<Certificate, IssueError> {
    Certificate::parse(der.to_vec().into()).map_err(IssueError::Parse)
}

/// A serial in [1, 2^128 − 1], SPIRE's range.
fn random_serial() -> Result<Serial, IssueError> {
    loop {
        let mut bytes = [0_u8; 16];
        rand::fill(&mut bytes).map_err(|_| IssueError::Random)?;
        if bytes != [0; 16] {
            return Ok(Serial::from_bytes(&bytes));
        }
    }
}

fn base_params(
    subject: &Name,
    serial: &Serial,
    validity: Validity,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(subject).map_err(IssueError::Encode)?;
    params.serial_number = Some(SerialNumber::from_slice(serial.bytes()));
    params.not_before = whole_seconds(validity.not_before);
    params.not_after = whole_seconds(validity.not_after);
    Ok(params)
}

fn whole_seconds(wall: SystemTime) -> time::OffsetDateTime {
    let secs = wall.duration_since(UNIX_EPOCH).map_or(0, |gap| gap.as_secs());
    i64::try_from(secs)
        .ok()
        .and_then(|secs| time::OffsetDateTime::from_unix_timestamp(secs).ok())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

/// The name as rcgen writes it: PrintableString where the characters allow, else UTF8String, as Go.
pub(super) fn distinguished_name(name: &Name) -> Result<DistinguishedName, rcgen::Error> {
    let mut encoded = DistinguishedName::new();
    for (kind, value) in name.attributes() {
        let value = match rcgen::string::PrintableString::try_from(value.as_str()) {
            Ok(printable) => DnValue::PrintableString(printable),
            Err(_) => DnValue::Utf8String(value.clone()),
        };
        encoded.push(DnType::from_oid(&kind.arcs()), value);
    }
    Ok(encoded)
}

// Extension contents that never vary, as DER.
const LEAF_KEY_USAGE: [u8; 4] = [0x03, 0x02, 0x03, 0xA8];
const AUTHORITY_KEY_USAGE: [u8; 4] = [0x03, 0x02, 0x01, 0x06];
const NOT_AN_AUTHORITY: [u8; 2] = [0x30, 0x00];
const AN_AUTHORITY: [u8; 5] = [0x30, 0x03, 0x01, 0x01, 0xFF];
/// serverAuth, clientAuth.
const SERVER_AND_CLIENT_AUTH: [u8; 22] = [
    0x30, 0x14, 0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01, 0x06, 0x08, 0x2B, 0x06,
    0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
];

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const SUBJECT_KEY_ID: &[u64] = &[2, 5, 29, 14];
const AUTHORITY_KEY_ID: &[u64] = &[2, 5, 29, 35];
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];

fn leaf_extensions(template: &LeafTemplate, authority_key_id: &[u8]) -> Vec<CustomExtension> {
    vec![
        critical(KEY_USAGE, LEAF_KEY_USAGE.to_vec()),
        CustomExtension::from_oid_content(EXTENDED_KEY_USAGE, SERVER_AND_CLIENT_AUTH.to_vec()),
        critical(BASIC_CONSTRAINTS, NOT_AN_AUTHORITY.to_vec()),
        subject_key_id(&template.public_key.key_id()),
        CustomExtension::from_oid_content(
            AUTHORITY_KEY_ID,
            construct_der(|writer| {
                writer.write_sequence(|fields| {
                    fields.next().write_tagged_implicit(Tag::context(0), |id| {
                        id.write_bytes(authority_key_id);
                    });
                });
            }),
        ),
        subject_alt_name(&template.dns_names, &template.uri),
    ]
}

fn authority_extensions(key_id: &[u8], uri: &str) -> Vec<CustomExtension> {
    vec![
        critical(KEY_USAGE, AUTHORITY_KEY_USAGE.to_vec()),
        critical(BASIC_CONSTRAINTS, AN_AUTHORITY.to_vec()),
        subject_key_id(key_id),
        subject_alt_name(&[], uri),
    ]
}

fn critical(oid: &[u64], content: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content);
    extension.set_criticality(true);
    extension
}

fn subject_key_id(id: &[u8]) -> CustomExtension {
    let content = construct_der(|writer| writer.write_bytes(id));
    CustomExtension::from_oid_content(SUBJECT_KEY_ID, content)
}

fn subject_alt_name(dns_names: &[String], uri: &str) -> CustomExtension {
    // GeneralName (RFC 5280 §4.2.1.6): dNSName is [2], uniformResourceIdentifier is [6].
    let ascii = |writer: DERWriter<'_>, tag: u64, text: &str| {
        writer.write_tagged_implicit(Tag::context(tag), |value| {
            value.write_bytes(text.as_bytes());
        });
    };
    let content = construct_der(|writer| {
        writer.write_sequence(|names| {
            for dns_name in dns_names {
                ascii(names.next(), 2, dns_name);
            }
            ascii(names.next(), 6, uri);
        });
    });
    CustomExtension::from_oid_content(SUBJECT_ALT_NAME, content)
}

/// A key pair as rcgen wants to see it.
pub(super) struct RcgenSigner<'a>(pub(super) &'a KeyPair);

struct RcgenPublicKey<'a>(&'a PublicKey);

impl PublicKeyData for RcgenPublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.bits()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.0.algorithm() {
            PublicAlgorithm::EcP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            PublicAlgorithm::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            PublicAlgorithm::Rsa => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl PublicKeyData for RcgenSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().bits()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        RcgenPublicKey(self.0.public_key()).algorithm()
    }
}

impl SigningKey for RcgenSigner<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests;
