//! `spire.api.types.Bundle` ⇄ [`Bundle`].

use super::proto::spire::api::types;
use crate::{
    spiffe::{
        Bundle, TrustDomain,
        bundle::{JwtAuthority, X509Authority},
        id,
    },
    x509::{Certificate, cert::CertificateError},
};
use bytes::Bytes;

/// A bundle that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Its trust domain is broken.
    #[error("bundle has an invalid trust domain {name:?}: {source}")]
    TrustDomain {
        /// What it says.
        name: String,
        /// The broken rule.
        source: id::Error,
    },
    /// One of its certificates is broken.
    #[error("bundle of {trust_domain}: X.509 authority number {number}: {source}")]
    Certificate {
        /// Whose bundle.
        trust_domain: TrustDomain,
        /// Which authority, counted from 1.
        number: usize,
        /// What is wrong.
        source: CertificateError,
    },
}

/// Reads a bundle. An authority may hold several concatenated certificates (server.md §1.9).
///
/// # Errors
/// The first part that is broken.
pub fn bundle(wire: &types::Bundle) -> Result<Bundle, BundleError> {
    let trust_domain = TrustDomain::parse_name_or_id(&wire.trust_domain)
        .map_err(|source| BundleError::TrustDomain { name: wire.trust_domain.clone(), source })?;
    let mut x509_authorities = Vec::with_capacity(wire.x509_authorities.len());
    for (index, authority) in wire.x509_authorities.iter().enumerate() {
        // Copied out: a slice would keep the whole message that it came in alive with the bundle.
        let der = Bytes::copy_from_slice(&authority.asn1);
        let certificates = Certificate::parse_concatenated(&der).map_err(|source| {
            let trust_domain = trust_domain.clone();
            BundleError::Certificate { trust_domain, number: index + 1, source }
        })?;
        let tainted = authority.tainted;
        x509_authorities.extend(
            certificates.into_iter().map(|certificate| X509Authority { certificate, tainted }),
        );
    }
    let jwt_authorities = wire.jwt_authorities.iter().map(jwt_authority).collect();
    let (sequence, hint) = (wire.sequence_number, wire.refresh_hint);
    Ok(Bundle::new(trust_domain, x509_authorities, jwt_authorities, sequence, hint))
}

fn jwt_authority(wire: &types::JwtKey) -> JwtAuthority {
    JwtAuthority {
        key_id: wire.key_id.clone(),
        public_key_der: wire.public_key.clone(),
        expires_at: wire.expires_at,
        tainted: wire.tainted,
    }
}

impl From<&Bundle> for types::Bundle {
    fn from(bundle: &Bundle) -> Self {
        let x509_authorities =
            bundle.x509_authorities().iter().map(|authority| types::X509Certificate {
                asn1: authority.certificate.der().clone(),
                tainted: authority.tainted,
            });
        let jwt_authorities = bundle.jwt_authorities().iter().map(|authority| types::JwtKey {
            public_key: authority.public_key_der.clone(),
            key_id: authority.key_id.clone(),
            expires_at: authority.expires_at,
            tainted: authority.tainted,
        });
        Self {
            trust_domain: bundle.trust_domain().name().to_owned(),
            x509_authorities: x509_authorities.collect(),
            jwt_authorities: jwt_authorities.collect(),
            refresh_hint: bundle.refresh_hint_secs(),
            sequence_number: bundle.sequence(),
            wit_authorities: Vec::new(),
        }
    }
}

/// Clears every field that `mask` does not ask for; no mask asks for all. The trust domain is kept.
pub fn apply_mask(bundle: &mut types::Bundle, mask: Option<&types::BundleMask>) {
    let Some(mask) = mask else { return };
    if !mask.x509_authorities {
        bundle.x509_authorities.clear();
    }
    if !mask.jwt_authorities {
        bundle.jwt_authorities.clear();
    }
    if !mask.wit_authorities {
        bundle.wit_authorities.clear();
    }
    if !mask.refresh_hint {
        bundle.refresh_hint = 0;
    }
    if !mask.sequence_number {
        bundle.sequence_number = 0;
    }
}
