//! Certificate signing requests (RFC 2986): made by agents, checked by the server.
//!
//! A request gives the server a public key and the proof that its sender holds the private one.
//! Nothing else in it is believed (CVE-2021-27098).

use super::{
    cert, der as framing, encode,
    issue::subject_alt_name,
    key::{KeyError, KeyPair, PublicAlgorithm, PublicKey},
    name::Name,
};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use x509_parser::{
    asn1_rs::Oid,
    certification_request::X509CertificationRequest,
    oid_registry::{
        OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
        OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
    },
    prelude::FromDer,
};

/// A request that proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// Not the DER of a PKCS#10 request.
    #[error("malformed CSR: expected a DER-encoded PKCS#10 request")]
    Malformed,
    /// Larger than a request needs to be.
    #[error("CSR of {0} bytes, expected at most {MAX_BYTES}")]
    TooLarge(usize),
    /// A key that must not be certified.
    #[error("CSR key is not supported: expected P-256, P-384 or RSA with 2048 to 4096 bits")]
    Key,
    /// A signature algorithm that does not fit the key, or is not to be trusted.
    #[error(
        "CSR signature algorithm {0} is not accepted: expected ECDSA with SHA-256 (P-256) or \
         SHA-384 (P-384), or RSA PKCS#1 v1.5 with SHA-256, SHA-384 or SHA-512"
    )]
    Algorithm(String),
    /// The sender does not hold the private key.
    #[error("failed to verify CSR signature: the sender does not hold the private key")]
    Signature,
    /// The request cannot be signed.
    #[error("cannot sign the CSR")]
    Sign(#[from] KeyError),
}

/// 16 KiB: SPIRE's agents send 300 bytes; a request of megabytes is an attack (B-CSR).
const MAX_BYTES: usize = 16 * 1024;

/// Room for a request with a SPIFFE ID of usual length.
const TYPICAL_BYTES: usize = 320;

/// extensionRequest (RFC 2985 §5.4.2), whole.
const EXTENSION_REQUEST: [u8; 11] =
    [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x0E];

/// Makes a request for `key` with `uri` as the only subject alternative name when given.
///
/// # Errors
/// When the request cannot be signed.
pub fn create(key: &KeyPair, subject: &Name, uri: Option<&str>) -> Result<Vec<u8>, CsrError> {
    let mut contents = Vec::with_capacity(TYPICAL_BYTES);
    encode::element(&mut contents, encode::SEQUENCE, |to| {
        // Version 1.
        encode::unsigned(to, &[]);
        encode::name(to, subject);
        encode::public_key(to, key.public_key());
        // Attributes; a request without any has an empty set (RFC 2986 §4.1).
        encode::element(to, encode::context_constructed(0), |to| {
            if let Some(uri) = uri {
                encode::element(to, encode::SEQUENCE, |to| {
                    to.extend_from_slice(&EXTENSION_REQUEST);
                    encode::element(to, encode::SET, |to| {
                        encode::element(to, encode::SEQUENCE, |to| subject_alt_name(to, &[], uri));
                    });
                });
            }
        });
    });
    Ok(encode::signed(&contents, key)?)
}

/// Checks a request's proof of possession and gives the key to certify.
///
/// # Errors
/// When it is malformed, its key or signature algorithm is not accepted, or the proof fails.
pub fn verify(der: &[u8]) -> Result<PublicKey, CsrError> {
    if der.len() > MAX_BYTES {
        return Err(CsrError::TooLarge(der.len()));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
    let is_version_1 = request.certification_request_info.version.0 == 0;
    if !rest.is_empty() || !is_version_1 || !framing::is_framed(der) {
        return Err(CsrError::Malformed);
    }
    let info = &request.certification_request_info;
    let key = cert::public_key(&info.subject_pki).ok_or(CsrError::Key)?;
    if key.algorithm() == PublicAlgorithm::Rsa && !(256..=544).contains(&key.bits().len()) {
        // PKCS#1 of 2048 to 4096 bits with the usual exponents is 270 to 526 bytes.
        return Err(CsrError::Key);
    }
    let oid = &request.signature_algorithm.algorithm;
    let algorithm = verification(key.algorithm(), oid)
        .ok_or_else(|| CsrError::Algorithm(oid.to_id_string()))?;
    UnparsedPublicKey::new(algorithm, key.bits())
        .verify(info.raw, request.signature_value.data.as_ref())
        .map_err(|_| CsrError::Signature)?;
    Ok(key)
}

/// The allow-list: which signature goes with which key. SHA-1 and MD5 are not in it.
fn verification(key: PublicAlgorithm, oid: &Oid<'_>) -> Option<&'static dyn VerificationAlgorithm> {
    match key {
        PublicAlgorithm::EcP256 if *oid == OID_SIG_ECDSA_WITH_SHA256 => {
            Some(&ECDSA_P256_SHA256_ASN1)
        }
        PublicAlgorithm::EcP384 if *oid == OID_SIG_ECDSA_WITH_SHA384 => {
            Some(&ECDSA_P384_SHA384_ASN1)
        }
        PublicAlgorithm::Rsa if *oid == OID_PKCS1_SHA256WITHRSA => {
            Some(&RSA_PKCS1_2048_8192_SHA256)
        }
        PublicAlgorithm::Rsa if *oid == OID_PKCS1_SHA384WITHRSA => {
            Some(&RSA_PKCS1_2048_8192_SHA384)
        }
        PublicAlgorithm::Rsa if *oid == OID_PKCS1_SHA512WITHRSA => {
            Some(&RSA_PKCS1_2048_8192_SHA512)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{KeyType, name::AttributeKind};

    #[test]
    fn a_request_of_each_key_type_verifies_and_yields_its_key() {
        for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
            let key = KeyPair::generate(key_type).unwrap();
            let der = create(&key, &Name::default(), Some("spiffe://example.org/w")).unwrap();
            assert_eq!(&verify(&der).unwrap(), key.public_key(), "{key_type:?}");
        }
    }

    #[test]
    fn a_request_says_in_the_same_bytes_what_another_writer_makes_it_say() {
        use rcgen::{CertificateParams, DnType, SanType};
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let id = "spiffe://example.org/w";
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let organization = rcgen::string::PrintableString::try_from("SPIRE").unwrap();
        params
            .distinguished_name
            .push(DnType::OrganizationName, rcgen::DnValue::PrintableString(organization));
        params.distinguished_name.push(DnType::CommonName, "a_b");
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        let signer = rcgen::KeyPair::try_from(key.secret_key().unwrap().pkcs8_der()).unwrap();
        let theirs = params.serialize_request(&signer).unwrap();
        let subject = Name::default()
            .with(AttributeKind::Organization, "SPIRE")
            .with(AttributeKind::CommonName, "a_b");
        let ours = create(&key, &subject, Some(id)).unwrap();
        let contents = |der| {
            let (_, request) = X509CertificationRequest::from_der(der).unwrap();
            request.certification_request_info.raw
        };
        assert_eq!(contents(&ours), contents(theirs.der()));
    }

    #[test]
    fn a_request_signed_by_another_key_is_refused() {
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let mut der = create(&key, &Name::default(), None).unwrap();
        let last = der.last_mut().unwrap();
        *last ^= 1;
        assert!(matches!(verify(&der), Err(CsrError::Signature | CsrError::Malformed)));
    }

    #[test]
    fn truncated_oversized_and_foreign_bytes_are_refused() {
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let der = create(&key, &Name::default(), None).unwrap();
        for end in 0..der.len() {
            assert!(verify(&der[..end]).is_err(), "accepted {end} of {} bytes", der.len());
        }
        let mut trailing = der;
        trailing.push(0);
        assert!(matches!(verify(&trailing), Err(CsrError::Malformed)));
        assert!(matches!(verify(&vec![0x30; 20_000]), Err(CsrError::TooLarge(20_000))));
        assert!(matches!(verify(b"-----BEGIN CERTIFICATE REQUEST-----"), Err(CsrError::Malformed)));
    }
}
