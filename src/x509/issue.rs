//! Issuing: template → lint → sign. Only what [`super::lint`] passed can be signed, once, and the
//! result is parsed and compared with its template before anyone sees it.
//!
//! Extension order, criticality and bits are Go's and so SPIRE's (server.md §2.1–2.2). What `encode`
//! writes here is read again by a parser that knows nothing of it.

use super::{
    cert::{Certificate, CertificateError, Serial},
    encode,
    key::{KeyError, KeyPair, PublicKey},
    lint::{self, LintError, Linted},
    name::{AttributeKind, Name},
    template::{AuthorityTemplate, LeafTemplate, Validity},
};
use aws_lc_rs::rand;

/// A certificate that may sign others, with its key.
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
    key_id: Vec<u8>,
}

/// A certificate that was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The system has no randomness for a serial number.
    #[error("cannot draw a serial number: the system gives no randomness")]
    Random,
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
        let mut subject_der = Vec::new();
        encode::name(&mut subject_der, &subject);
        let key_id = key.public_key().key_id();
        let certificate = Contents {
            serial: &serial,
            issuer_der: &subject_der,
            validity: template.validity,
            subject: &subject,
            public_key: key.public_key(),
        }
        .sign(&key, |to| authority_extensions(to, &key_id, &template.uri))?;
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
        let key_id = certificate
            .extensions()
            .subject_key_id
            .clone()
            .unwrap_or_else(|| certificate.public_key().key_id());
        Ok(Self { certificate, key, key_id })
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
        let certificate = Contents {
            serial: &serial,
            issuer_der: self.certificate.subject_der(),
            validity: template.validity,
            subject: &template.subject,
            public_key: &template.public_key,
        }
        .sign(&self.key, |to| leaf_extensions(to, &template, &self.key_id))?;
        lint::issued_leaf(&certificate, &template, &self.certificate, &self.key_id)?;
        Ok(certificate)
    }
}

/// What every certificate says (RFC 5280 §4.1).
struct Contents<'a> {
    serial: &'a Serial,
    issuer_der: &'a [u8],
    validity: Validity,
    subject: &'a Name,
    public_key: &'a PublicKey,
}

impl Contents<'_> {
    /// Signs it with the extensions that `extend` appends.
    fn sign(
        self,
        signer: &KeyPair,
        extend: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Certificate, IssueError> {
        let mut contents = Vec::with_capacity(TYPICAL_BYTES);
        encode::element(&mut contents, encode::SEQUENCE, |to| {
            // Version 3.
            encode::element(to, encode::context_constructed(0), |to| encode::unsigned(to, &[2]));
            encode::unsigned(to, self.serial.bytes());
            encode::signature_algorithm(to, signer);
            to.extend_from_slice(self.issuer_der);
            encode::element(to, encode::SEQUENCE, |to| {
                encode::time(to, self.validity.not_before);
                encode::time(to, self.validity.not_after);
            });
            encode::name(to, self.subject);
            encode::public_key(to, self.public_key);
            encode::element(to, encode::context_constructed(3), |to| {
                encode::element(to, encode::SEQUENCE, extend);
            });
        });
        let der = encode::signed(&contents, signer)?;
        Certificate::parse(der.into()).map_err(IssueError::Parse)
    }
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

/// Room for what a leaf says; a long name makes it grow.
const TYPICAL_BYTES: usize = 640;

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

/// The last number of each extension's identifier, below id-ce (2.5.29).
const SUBJECT_KEY_ID: u8 = 14;
const KEY_USAGE: u8 = 15;
const SUBJECT_ALT_NAME: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;
const AUTHORITY_KEY_ID: u8 = 35;
const EXTENDED_KEY_USAGE: u8 = 37;

fn leaf_extensions(to: &mut Vec<u8>, template: &LeafTemplate, authority_key_id: &[u8]) {
    encode::critical_extension(to, KEY_USAGE, &LEAF_KEY_USAGE);
    encode::extension(to, EXTENDED_KEY_USAGE, |to| to.extend_from_slice(&SERVER_AND_CLIENT_AUTH));
    encode::critical_extension(to, BASIC_CONSTRAINTS, &NOT_AN_AUTHORITY);
    subject_key_id(to, &template.public_key.key_id());
    encode::extension(to, AUTHORITY_KEY_ID, |to| {
        encode::element(to, encode::SEQUENCE, |to| {
            encode::primitive(to, encode::context(0), authority_key_id);
        });
    });
    subject_alt_name(to, &template.dns_names, &template.uri);
}

fn authority_extensions(to: &mut Vec<u8>, key_id: &[u8], uri: &str) {
    encode::critical_extension(to, KEY_USAGE, &AUTHORITY_KEY_USAGE);
    encode::critical_extension(to, BASIC_CONSTRAINTS, &AN_AUTHORITY);
    subject_key_id(to, key_id);
    subject_alt_name(to, &[], uri);
}

fn subject_key_id(to: &mut Vec<u8>, id: &[u8]) {
    encode::extension(to, SUBJECT_KEY_ID, |to| encode::primitive(to, encode::OCTET_STRING, id));
}

/// Appends subjectAltName with these names, URI last.
pub(super) fn subject_alt_name(to: &mut Vec<u8>, dns_names: &[String], uri: &str) {
    encode::extension(to, SUBJECT_ALT_NAME, |to| {
        encode::element(to, encode::SEQUENCE, |to| {
            // GeneralName (RFC 5280 §4.2.1.6): dNSName is [2], uniformResourceIdentifier is [6].
            for dns_name in dns_names {
                encode::primitive(to, encode::context(2), dns_name.as_bytes());
            }
            encode::primitive(to, encode::context(6), uri.as_bytes());
        });
    });
}

#[cfg(test)]
mod tests;
