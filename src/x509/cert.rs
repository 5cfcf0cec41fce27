//! A parsed certificate: its DER, and the facts about it that identities are built on.
//!
//! Owns what a certificate says, not whether to believe it: `chain` verifies, `lint` judges.

use super::{
    extensions::Extensions,
    key::{PublicAlgorithm, PublicKey},
    name::{AttributeKind, Name},
};
use bytes::Bytes;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x509_parser::{
    asn1_rs::Oid,
    certificate::{X509Certificate, X509CertificateParser},
    nom::Parser as _,
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
        OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_ORGANIZATION_NAME,
        OID_X509_ORGANIZATIONAL_UNIT, OID_X509_SERIALNUMBER,
    },
    prelude::FromDer,
    x509::{SubjectPublicKeyInfo, X509Name},
};

/// A certificate. Cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<Facts>);

struct Facts {
    der: Bytes,
    serial: Serial,
    subject: Name,
    subject_der: Vec<u8>,
    issuer_der: Vec<u8>,
    not_before: SystemTime,
    not_after: SystemTime,
    public_key: PublicKey,
    extensions: Extensions,
}

/// A certificate's serial number: big-endian bytes without leading zeros. Prints in decimal, as SPIRE
/// compares it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Serial(Vec<u8>);

/// Bytes that are not a certificate finial can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not the DER of an X.509 certificate.
    #[error("not a DER-encoded X.509 certificate")]
    Malformed,
    /// Something follows the certificate.
    #[error("{0} bytes follow the certificate, expected none")]
    TrailingBytes(usize),
    /// A public key that finial can't verify with.
    #[error("public key algorithm is not supported: expected P-256, P-384 or RSA")]
    PublicKey,
    /// Larger than any certificate needs to be.
    #[error("certificate of {0} bytes, expected at most {MAX_BYTES}")]
    TooLarge(usize),
}

/// 64 KiB: bounds what a peer can make us parse; the largest SPIFFE chain certificates are a few KiB.
const MAX_BYTES: usize = 64 * 1024;

impl Certificate {
    /// Parses exactly one certificate.
    ///
    /// # Errors
    /// When the bytes are not one certificate with a public key of a supported kind.
    #[expect(clippy::needless_pass_by_value, reason = "keeps the buffer: parsing copies nothing")]
    pub fn parse(der: Bytes) -> Result<Self, CertificateError> {
        let owned = der.clone();
        let (rest, certificate) = parse_prefix(&der)?;
        if !rest.is_empty() {
            return Err(CertificateError::TrailingBytes(rest.len()));
        }
        Ok(Self(Arc::new(facts(owned, &certificate)?)))
    }

    /// Parses certificates that follow each other without separator, as the Workload API sends them.
    ///
    /// # Errors
    /// When any of them is malformed; an empty input gives an empty list.
    pub fn parse_concatenated(der: &Bytes) -> Result<Vec<Self>, CertificateError> {
        let mut found = Vec::new();
        let mut offset = 0;
        while offset < der.len() {
            let remaining = der.slice(offset..);
            let (rest, _) = parse_prefix(&remaining)?;
            let length = remaining.len() - rest.len();
            found.push(Self::parse(remaining.slice(..length))?);
            offset += length;
        }
        Ok(found)
    }

    /// The DER bytes.
    #[must_use]
    pub fn der(&self) -> &Bytes {
        &self.0.der
    }

    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> &Serial {
        &self.0.serial
    }

    /// The subject.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// The subject as it stands in the DER: what an issued certificate's issuer must equal.
    #[must_use]
    pub fn subject_der(&self) -> &[u8] {
        &self.0.subject_der
    }

    /// The issuer as it stands in the DER.
    #[must_use]
    pub fn issuer_der(&self) -> &[u8] {
        &self.0.issuer_der
    }

    /// Valid from then on (inclusive).
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.0.not_before
    }

    /// Valid until then (inclusive, RFC 5280 §4.1.2.5).
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// [`Certificate::not_after`] in whole seconds since the Unix epoch, as SPIRE's API counts.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.not_after()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |gap| i64::try_from(gap.as_secs()).unwrap_or(i64::MAX))
    }

    /// Whether `now` is within the validity.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before() <= now && now <= self.not_after()
    }

    /// The certified key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// The extensions that matter to identities.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }
}

fn parse_prefix(der: &[u8]) -> Result<(&[u8], X509Certificate<'_>), CertificateError> {
    if der.len() > MAX_BYTES {
        return Err(CertificateError::TooLarge(der.len()));
    }
    // Extensions that do not matter need not be well-formed, and to read them costs.
    X509CertificateParser::new()
        .with_deep_parse_extensions(false)
        .parse(der)
        .map_err(|_| CertificateError::Malformed)
}

fn facts(der: Bytes, certificate: &X509Certificate<'_>) -> Result<Facts, CertificateError> {
    let validity = certificate.validity();
    Ok(Facts {
        der,
        serial: Serial::from_bytes(certificate.raw_serial()),
        subject: name(certificate.subject()),
        subject_der: certificate.subject().as_raw().to_vec(),
        issuer_der: certificate.issuer().as_raw().to_vec(),
        not_before: wall(validity.not_before.timestamp()),
        not_after: wall(validity.not_after.timestamp()),
        public_key: public_key(certificate.public_key()).ok_or(CertificateError::PublicKey)?,
        extensions: Extensions::read(certificate.extensions())
            .ok_or(CertificateError::Malformed)?,
    })
}

fn wall(unix_secs: i64) -> SystemTime {
    let gap = Duration::from_secs(unix_secs.unsigned_abs());
    if unix_secs >= 0 { UNIX_EPOCH + gap } else { UNIX_EPOCH - gap }
}

fn name(name: &X509Name<'_>) -> Name {
    Name::new(
        name.iter_attributes()
            .map(|attribute| {
                let value = attribute.as_str().map(str::to_owned).unwrap_or_default();
                (attribute_kind(attribute.attr_type()), value)
            })
            .collect(),
    )
}

fn attribute_kind(oid: &Oid<'_>) -> AttributeKind {
    match oid {
        oid if *oid == OID_X509_COUNTRY_NAME => AttributeKind::Country,
        oid if *oid == OID_X509_ORGANIZATION_NAME => AttributeKind::Organization,
        oid if *oid == OID_X509_ORGANIZATIONAL_UNIT => AttributeKind::OrganizationalUnit,
        oid if *oid == OID_X509_COMMON_NAME => AttributeKind::CommonName,
        oid if *oid == OID_X509_SERIALNUMBER => AttributeKind::SerialNumber,
        other => AttributeKind::Other(other.to_id_string()),
    }
}

impl PublicKey {
    /// A key from a `SubjectPublicKeyInfo` alone (RFC 5280 §4.1.2.7), as bundles carry those that sign
    /// tokens; nothing when it is none of a kind that finial accepts.
    #[must_use]
    pub fn from_pkix(der: &[u8]) -> Option<Self> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        public_key(&info)
    }
}

/// The key of a SubjectPublicKeyInfo, if it is of a kind that finial accepts.
pub(super) fn public_key(info: &SubjectPublicKeyInfo<'_>) -> Option<PublicKey> {
    let bits = info.subject_public_key.data.as_ref();
    let kind = &info.algorithm.algorithm;
    let algorithm = if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
        match bits.len() {
            65 if curve == OID_EC_P256 => PublicAlgorithm::EcP256,
            97 if curve == OID_NIST_EC_P384 => PublicAlgorithm::EcP384,
            _ => return None,
        }
    } else if *kind == OID_PKCS1_RSAENCRYPTION {
        PublicAlgorithm::Rsa
    } else {
        return None;
    };
    Some(PublicKey::from_bits(algorithm, bits))
}

impl Serial {
    /// A serial from big-endian bytes; leading zeros do not count.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        Self(bytes.get(start..).unwrap_or_default().to_vec())
    }

    /// Big-endian bytes without leading zeros.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = vec![0_u8];
        for byte in &self.0 {
            let mut carry = u32::from(*byte);
            for digit in &mut digits {
                carry += u32::from(*digit) * 256;
                *digit = u8::try_from(carry % 10).unwrap_or_default();
                carry /= 10;
            }
            while carry > 0 {
                digits.push(u8::try_from(carry % 10).unwrap_or_default());
                carry /= 10;
            }
        }
        digits.iter().rev().try_for_each(|digit| write!(f, "{digit}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("serial", &self.0.serial)
            .field("subject", &self.0.subject.to_string())
            .field("uris", &self.0.extensions.uris)
            .finish_non_exhaustive()
    }
}

/// Two certificates are equal when their DER is.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_print_in_decimal_without_leading_zeros() {
        for (bytes, text) in [
            (&[][..], "0"),
            (&[0, 0, 1], "1"),
            (&[1, 0], "256"),
            (&[0xff; 16], "340282366920938463463374607431768211455"),
        ] {
            assert_eq!(Serial::from_bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn garbage_is_malformed_and_an_oversized_input_is_not_parsed() {
        let parse = |bytes: Vec<u8>| Certificate::parse(bytes.into()).unwrap_err();
        assert_eq!(parse(b"junk".to_vec()), CertificateError::Malformed);
        assert_eq!(parse(vec![0x30; 70_000]), CertificateError::TooLarge(70_000));
    }
}
