//! What the server remembers about its authorities across restarts: one record per slot, as JSON that
//! the store keeps as bytes.
//!
//! Holds certificates only; the keys are in the key store under the names of their slots.

use crate::x509::{Certificate, cert::CertificateError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt::{self, Write as _};

/// One of the two places for an authority and its key. They take turns, so that a new key never
/// replaces that of the authority that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SlotId {
    /// The first.
    A,
    /// The second.
    B,
}

/// Where an authority is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Made, and perhaps published, but does not sign for workloads yet.
    Prepared,
    /// Signs.
    Active,
    /// Has signed; what it signed may still be in use.
    Old,
}

/// What is remembered about one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub slot: SlotId,
    /// Where it is in its life.
    pub standing: Standing,
    /// When it was issued, in seconds since the Unix epoch.
    pub issued_at: i64,
    /// When the bundle with it was stored, in seconds since the Unix epoch, once that is known.
    pub published_at: Option<i64>,
    /// Its certificate.
    pub certificate: Certificate,
}

/// An authority's name towards operators: its subject key identifier in hexadecimal, as SPIRE's.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AuthorityId(String);

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Not JSON of the expected form.
    #[error("expected a JSON object with version and authorities")]
    Json(#[source] serde_json::Error),
    /// Written by a newer finial.
    #[error("version {0}, expected {VERSION}: it was written by a newer server")]
    Version(u32),
    /// A certificate is not base64.
    #[error("the certificate of slot {0} is not base64")]
    Base64(SlotId, #[source] base64::DecodeError),
    /// A certificate does not parse.
    #[error("the certificate of slot {0} does not parse")]
    Certificate(SlotId, #[source] CertificateError),
}

const VERSION: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct RawJournal {
    version: u32,
    authorities: Vec<RawRecord>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct RawRecord {
    slot: SlotId,
    standing: Standing,
    /// For people who read the journal; the certificate decides.
    authority_id: String,
    issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    published_at: Option<i64>,
    certificate: String,
}

/// The journal as bytes.
///
/// # Errors
/// When the JSON cannot be written.
pub fn encode<'a>(records: impl Iterator<Item = &'a Record>) -> Result<Vec<u8>, JournalError> {
    let authorities = records.map(|record| RawRecord {
        slot: record.slot,
        standing: record.standing,
        authority_id: record.authority_id().as_str().to_owned(),
        issued_at: record.issued_at,
        published_at: record.published_at,
        certificate: STANDARD.encode(record.certificate.der()),
    });
    let raw = RawJournal { version: VERSION, authorities: authorities.collect() };
    serde_json::to_vec(&raw).map_err(JournalError::Json)
}

/// The records of a journal.
///
/// # Errors
/// When it is not one that this server can read.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, JournalError> {
    let raw: RawJournal = serde_json::from_slice(bytes).map_err(JournalError::Json)?;
    if raw.version != VERSION {
        return Err(JournalError::Version(raw.version));
    }
    raw.authorities.iter().map(record).collect()
}

fn record(raw: &RawRecord) -> Result<Record, JournalError> {
    let RawRecord { slot, standing, issued_at, published_at, .. } = *raw;
    let der =
        STANDARD.decode(&raw.certificate).map_err(|source| JournalError::Base64(slot, source))?;
    let certificate =
        Certificate::parse(der.into()).map_err(|source| JournalError::Certificate(slot, source))?;
    Ok(Record { slot, standing, issued_at, published_at, certificate })
}

impl SlotId {
    /// The other place.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The name of this place's key in the key store, as SPIRE has it.
    #[must_use]
    pub const fn key_name(self) -> &'static str {
        match self {
            Self::A => "x509-CA-A",
            Self::B => "x509-CA-B",
        }
    }
}

impl Record {
    /// The authority's name towards operators.
    #[must_use]
    pub fn authority_id(&self) -> AuthorityId {
        AuthorityId::of(&self.certificate)
    }
}

impl AuthorityId {
    /// The name of the authority with this certificate.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        let key_id = match &certificate.extensions().subject_key_id {
            Some(key_id) => key_id.clone(),
            None => certificate.public_key().key_id(),
        };
        Self(key_id.iter().fold(String::with_capacity(40), |mut text, byte| {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{byte:02x}");
            text
        }))
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{
        KeyPair, KeyType,
        issue::Authority,
        lint,
        name::Name,
        template::{AuthorityTemplate, Validity},
    };
    use std::time::{Duration, UNIX_EPOCH};

    fn record(slot: SlotId, standing: Standing, published_at: Option<i64>) -> Record {
        let from = UNIX_EPOCH + Duration::from_secs(1_795_366_672);
        let validity = Validity { not_before: from, not_after: from + Duration::from_secs(60) };
        let uri = "spiffe://example.org".to_owned();
        let template = AuthorityTemplate { subject: Name::default(), uri, validity };
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let authority = Authority::self_sign(lint::authority(template).unwrap(), key).unwrap();
        let certificate = authority.certificate().clone();
        Record { slot, standing, issued_at: 1_795_366_682, published_at, certificate }
    }

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let records = [
            record(SlotId::A, Standing::Active, Some(7)),
            record(SlotId::B, Standing::Prepared, None),
        ];
        let bytes = encode(records.iter()).unwrap();
        assert_eq!(decode(&bytes).unwrap(), records);
        assert_eq!(decode(&encode([].iter()).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_journal_shows_no_more_than_certificates_and_names_each_authority() {
        let record = record(SlotId::A, Standing::Active, Some(7));
        let text = String::from_utf8(encode([&record].into_iter()).unwrap()).unwrap();
        let id = record.authority_id();
        assert_eq!(id.as_str().len(), 40, "SHA-1 in hexadecimal");
        let head = format!(
            "{{\"version\":1,\"authorities\":[{{\"slot\":\"A\",\"standing\":\"active\",\
             \"authority_id\":\"{id}\",\"issued_at\":1795366682,\"published_at\":7,\"certificate\":\""
        );
        assert!(text.starts_with(&head), "{text}");
    }

    #[test]
    fn a_journal_cut_at_any_byte_or_of_a_newer_server_is_refused() {
        let record = record(SlotId::A, Standing::Active, Some(7));
        let bytes = encode([&record].into_iter()).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        let newer = b"{\"version\":2,\"authorities\":[]}";
        assert!(matches!(decode(newer), Err(JournalError::Version(2))));
    }
}
