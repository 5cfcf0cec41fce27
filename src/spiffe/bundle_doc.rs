//! The SPIFFE bundle document: a JWK set with one key per authority (SPIFFE Trust Domain and Bundle §4).
//!
//! Reading follows the standard where SPIRE is stricter: a key with unknown `use` or `kty` is skipped,
//! and only the first certificate of `x5c` counts.

use super::{
    bundle::{Bundle, JwtAuthority, X509Authority},
    id::TrustDomain,
};
use crate::x509::{
    Certificate,
    cert::CertificateError,
    key::{PublicAlgorithm, PublicKey},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};

/// A text that is not a bundle document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON of the expected shape.
    #[error("malformed SPIFFE bundle document: {0}")]
    Json(#[from] serde_json::Error),
    /// A certificate is not base64.
    #[error("key number {0} of the SPIFFE bundle document: x5c is not base64")]
    Base64(usize),
    /// A certificate is malformed.
    #[error("key number {number} of the SPIFFE bundle document holds no valid certificate")]
    Certificate {
        /// Which key, counted from 1.
        number: usize,
        /// What is wrong.
        source: CertificateError,
    },
    /// A key that signs tokens, of a kind that finial does not know.
    #[error(
        "JWT authority {0:?} is no public key of a supported kind: expected P-256, P-384 or RSA"
    )]
    JwtAuthority(String),
    /// More than any trust domain publishes.
    #[error("document of {0} bytes, expected at most {MAX_BYTES}")]
    TooLarge(usize),
}

/// 4 MiB (BN-9).
const MAX_BYTES: usize = 4 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Document {
    keys: Vec<Jwk>,
    #[serde(default, skip_serializing_if = "is_zero")]
    spiffe_sequence: u64,
    #[serde(default, skip_serializing_if = "is_zero_hint")]
    spiffe_refresh_hint: i64,
}

/// Field order is SPIRE's.
#[derive(Serialize, Deserialize, Default)]
struct Jwk {
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    #[serde(default)]
    kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x5c: Option<Vec<String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero_hint(value: &i64) -> bool {
    *value == 0
}

/// Writes the authorities of `bundle` as SPIRE does: those of X.509 before those of JWT, indented by four
/// spaces, with a final newline. A zero sequence or hint is left out.
///
/// # Errors
/// [`DocumentError::JwtAuthority`] when one cannot be written: a document without it would revoke it.
pub fn write(bundle: &Bundle) -> Result<String, DocumentError> {
    write_with(bundle, bundle.refresh_hint_secs())
}

/// As [`write()`], with another hint at how often a reader should look again, in seconds.
///
/// # Errors
/// As for [`write()`].
pub fn write_with(bundle: &Bundle, refresh_hint_secs: i64) -> Result<String, DocumentError> {
    let document = Document {
        keys: keys(bundle)?,
        spiffe_sequence: bundle.sequence(),
        spiffe_refresh_hint: refresh_hint_secs,
    };
    let mut text = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indented))?;
    text.push(b'\n');
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The authorities as a JWK set without what SPIFFE adds to one, on a single line (SPIRE's `jwks`).
///
/// # Errors
/// As for [`write()`].
pub fn write_jwks(bundle: &Bundle) -> Result<String, DocumentError> {
    let plain = |key| Jwk { purpose: None, ..key };
    let keys = keys(bundle)?.into_iter().map(plain).collect();
    Ok(serde_json::to_string(&Document { keys, spiffe_sequence: 0, spiffe_refresh_hint: 0 })?)
}

fn keys(bundle: &Bundle) -> Result<Vec<Jwk>, DocumentError> {
    let x509 = bundle.x509_authorities().iter().map(|a| Ok(x509_jwk(&a.certificate)));
    x509.chain(bundle.jwt_authorities().iter().map(jwt_jwk)).collect()
}

/// Reads the X.509 authorities of a document that is known to be of `trust_domain`.
///
/// # Errors
/// When it is not a document, or an `x509-svid` key holds no valid certificate.
pub fn read(trust_domain: TrustDomain, text: &[u8]) -> Result<Bundle, DocumentError> {
    if text.len() > MAX_BYTES {
        return Err(DocumentError::TooLarge(text.len()));
    }
    let document: Document = serde_json::from_slice(text)?;
    let mut authorities = Vec::new();
    for (index, key) in document.keys.iter().enumerate() {
        let number = index + 1;
        if key.purpose.as_deref() != Some("x509-svid") {
            continue;
        }
        let Some(encoded) = key.x5c.as_ref().and_then(|chain| chain.first()) else { continue };
        let der = STANDARD.decode(encoded).map_err(|_| DocumentError::Base64(number))?;
        let certificate = Certificate::parse(der.into())
            .map_err(|source| DocumentError::Certificate { number, source })?;
        authorities.push(X509Authority { certificate, tainted: false });
    }
    let sequence = document.spiffe_sequence;
    Ok(Bundle::new(trust_domain, authorities, Vec::new(), sequence, document.spiffe_refresh_hint))
}

fn x509_jwk(certificate: &Certificate) -> Jwk {
    let x5c = Some(vec![STANDARD.encode(certificate.der())]);
    Jwk { purpose: Some("x509-svid".to_owned()), x5c, ..public_jwk(certificate.public_key()) }
}

fn jwt_jwk(authority: &JwtAuthority) -> Result<Jwk, DocumentError> {
    let unknown = || DocumentError::JwtAuthority(authority.key_id.clone());
    let key = PublicKey::from_pkix(&authority.public_key_der).ok_or_else(unknown)?;
    let (purpose, kid) = (Some("jwt-svid".to_owned()), Some(authority.key_id.clone()));
    Ok(Jwk { purpose, kid, ..public_jwk(&key) })
}

/// RFC 7518 §6.2.1 and §6.3.1.
fn public_jwk(key: &PublicKey) -> Jwk {
    let encode = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
    let curve = match key.algorithm() {
        PublicAlgorithm::EcP256 => "P-256",
        PublicAlgorithm::EcP384 => "P-384",
        PublicAlgorithm::Rsa => {
            let (n, e) = rsa_parts(key.bits());
            return Jwk { kty: "RSA".to_owned(), n: encode(&n), e: encode(&e), ..Jwk::default() };
        }
    };
    // An uncompressed point is 0x04, x, y.
    let coordinates = key.bits().get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    let crv = Some(curve.to_owned());
    Jwk { kty: "EC".to_owned(), crv, x: encode(x), y: encode(y), ..Jwk::default() }
}

/// Modulus and exponent of a PKCS#1 `RSAPublicKey`, without leading zeros.
fn rsa_parts(pkcs1: &[u8]) -> (Vec<u8>, Vec<u8>) {
    yasna::parse_der(pkcs1, |reader| {
        reader.read_sequence(|fields| {
            let n = fields.next().read_bigint_bytes()?;
            let e = fields.next().read_bigint_bytes()?;
            Ok((n.0, e.0))
        })
    })
    .map(|(n, e): (Vec<u8>, Vec<u8>)| (without_leading_zeros(&n), without_leading_zeros(&e)))
    .unwrap_or_default()
}

fn without_leading_zeros(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    bytes.get(start..).map(<[u8]>::to_vec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// The bundle with one key that signs tokens.
    fn bundle(public_key_der: Vec<u8>) -> Bundle {
        let authority = JwtAuthority {
            key_id: "kid-1".to_owned(),
            public_key_der: Bytes::from(public_key_der),
            expires_at: 0,
            tainted: false,
        };
        let trust_domain = TrustDomain::parse("example.org").unwrap();
        Bundle::new(trust_domain, Vec::new(), vec![authority], 7, 0)
    }

    #[test]
    fn a_key_that_signs_tokens_is_written_as_spire_writes_it() {
        // A P-256 SubjectPublicKeyInfo up to its point.
        let mut der = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE").unwrap();
        der.extend([0xfb; 32]);
        der.extend([0; 32]);
        let expected = concat!(
            "{\n    \"keys\": [\n        {\n",
            "            \"use\": \"jwt-svid\",\n",
            "            \"kty\": \"EC\",\n",
            "            \"kid\": \"kid-1\",\n",
            "            \"crv\": \"P-256\",\n",
            "            \"x\": \"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s\",\n",
            "            \"y\": \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n",
            "        }\n    ],\n    \"spiffe_sequence\": 7\n}\n",
        );
        assert_eq!(write(&bundle(der)).unwrap(), expected);
    }

    #[test]
    fn a_jwk_set_has_no_word_of_spiffes() {
        let mut der = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE").unwrap();
        der.extend([0; 64]);
        let zeros = "A".repeat(43);
        let expected = format!(
            r#"{{"keys":[{{"kty":"EC","kid":"kid-1","crv":"P-256","x":"{zeros}","y":"{zeros}"}}]}}"#
        );
        assert_eq!(write_jwks(&bundle(der)).unwrap(), expected);
    }

    #[test]
    fn a_document_that_would_leave_an_authority_out_is_not_written() {
        let error = write(&bundle(vec![0x30, 0x00])).unwrap_err();
        assert!(
            error.to_string().starts_with("JWT authority \"kid-1\" is no public key"),
            "{error}"
        );
    }
}
