//! Path validation (RFC 5280 §6) of a leaf against a set of authorities, by webpki.

use super::Certificate;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, anchor_from_trusted_cert,
};

/// Authorities prepared for verification; build once per bundle, use for every leaf.
#[derive(Clone, Debug, Default)]
pub struct TrustAnchors(Vec<TrustAnchor<'static>>);

/// A chain that does not lead from its leaf to an authority.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// There is no leaf.
    #[error("the certificate chain is empty")]
    Empty,
    /// Longer than any SPIFFE deployment nests; bounds the work of path building.
    #[error("the certificate chain has {0} certificates, expected at most {MAX_LENGTH}")]
    TooLong(usize),
    /// webpki's verdict.
    #[error("the certificate chain does not verify: {0}")]
    Invalid(webpki::Error),
}

/// Leaf, and up to five intermediates (reliability: RUSTSEC-2023-0052, path building costs CPU).
const MAX_LENGTH: usize = 6;

impl TrustAnchors {
    /// Prepares authorities. One that webpki cannot use as an anchor is left out: it could verify
    /// nothing.
    #[must_use]
    pub fn new<'a>(authorities: impl IntoIterator<Item = &'a Certificate>) -> Self {
        let anchors = authorities.into_iter().filter_map(|authority| {
            let der = CertificateDer::from(authority.der().as_ref());
            anchor_from_trusted_cert(&der).ok().map(|anchor| anchor.to_owned())
        });
        Self(anchors.collect())
    }

    /// Whether no leaf can verify.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies `chain` (leaf first) at `now`, for a peer that acts as a client and as a server.
    ///
    /// # Errors
    /// When there is no valid path from the leaf to one of the authorities.
    pub fn verify(&self, chain: &[Certificate], now: SystemTime) -> Result<(), ChainError> {
        let (leaf, intermediates) = chain.split_first().ok_or(ChainError::Empty)?;
        let intermediates: Vec<_> =
            intermediates.iter().map(|c| CertificateDer::from(c.der().as_ref())).collect();
        self.verify_der(&CertificateDer::from(leaf.der().as_ref()), &intermediates, now)
    }

    /// As [`TrustAnchors::verify`], for certificates as they come out of a TLS handshake.
    ///
    /// # Errors
    /// When there is no valid path from the leaf to one of the authorities.
    pub fn verify_der(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), ChainError> {
        if intermediates.len() + 1 > MAX_LENGTH {
            return Err(ChainError::TooLong(intermediates.len() + 1));
        }
        let at =
            UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO));
        let leaf = EndEntityCert::try_from(leaf).map_err(ChainError::Invalid)?;
        leaf.verify_for_usage(ALGORITHMS, &self.0, intermediates, at, BothSides, None, None)
            .map_err(ChainError::Invalid)?;
        Ok(())
    }
}

/// id-kp-serverAuth and id-kp-clientAuth (RFC 5280 §4.2.1.12).
const SERVER_AUTH: KeyPurposeId<'_> = KeyPurposeId::new(&[0x2B, 6, 1, 5, 5, 7, 3, 1]);
const CLIENT_AUTH: KeyPurposeId<'_> = KeyPurposeId::new(&[0x2B, 6, 1, 5, 5, 7, 3, 2]);

/// A peer that acts as a client and as a server, asked of each certificate in one pass: webpki's own
/// [`KeyUsage`] asks for one of the two, and to ask twice is to check every signature twice.
struct BothSides;

impl ExtendedKeyUsageValidator for BothSides {
    /// As RFC 5280 §4.2.1.12 has it: without the extension every use is allowed, with it what it names.
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let present: Vec<_> = purposes.collect::<Result<_, _>>()?;
        let lacks = |wanted| !present.is_empty() && !present.contains(&wanted);
        let required = if lacks(SERVER_AUTH) {
            KeyUsage::server_auth()
        } else if lacks(CLIENT_AUTH) {
            KeyUsage::client_auth()
        } else {
            return Ok(());
        };
        let present = present.iter().map(KeyPurposeId::to_decoded_oid).collect();
        Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
            required,
            present,
        }))
    }
}

/// What an authority may sign with. No SHA-1, no Ed25519: Envoy's TLS stack refuses such peers.
static ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ECDSA_P256_SHA384,
    webpki::aws_lc_rs::ECDSA_P384_SHA256,
    webpki::aws_lc_rs::ECDSA_P384_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA512,
];

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer,
        KeyPair,
    };

    #[test]
    fn a_leaf_must_do_for_a_client_and_for_a_server_unless_it_names_no_purpose() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority =
            Certificate::parse(params.self_signed(&key).unwrap().der().to_vec().into()).unwrap();
        let issuer = Issuer::new(params, key);
        let anchors = TrustAnchors::new([&authority]);
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (purposes, verifies) in [
            (vec![], true),
            (vec![Purpose::ServerAuth, Purpose::ClientAuth], true),
            (vec![Purpose::CodeSigning, Purpose::ClientAuth, Purpose::ServerAuth], true),
            (vec![Purpose::ServerAuth], false),
            (vec![Purpose::ClientAuth], false),
            (vec![Purpose::CodeSigning], false),
        ] {
            let mut leaf = CertificateParams::default();
            leaf.extended_key_usages.clone_from(&purposes);
            let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            let verified = anchors.verify_der(leaf.der(), &[], now);
            assert_eq!(verified.is_ok(), verifies, "{purposes:?}: {verified:?}");
        }
    }
}
