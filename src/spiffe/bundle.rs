//! Trust bundles: the authorities of one trust domain, whose certificates its members' SVIDs chain to.

use super::id::TrustDomain;
use crate::x509::{Certificate, chain::TrustAnchors};
use bytes::Bytes;
use std::{sync::OnceLock, time::SystemTime};

/// The authorities of one trust domain. Never merged with another domain's.
#[derive(Clone, Debug)]
pub struct Bundle {
    trust_domain: TrustDomain,
    x509_authorities: Vec<X509Authority>,
    jwt_authorities: Vec<JwtAuthority>,
    sequence: u64,
    refresh_hint_secs: i64,
    anchors: OnceLock<TrustAnchors>,
}

/// A certificate that signs SVIDs of its trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Authority {
    /// The certificate.
    pub certificate: Certificate,
    /// No longer to be used: everything that it signed is to be renewed at once.
    pub tainted: bool,
}

/// A key that signs JWT-SVIDs of its trust domain. Kept and passed on; finial does not use it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtAuthority {
    /// The key's identifier, as tokens name it.
    pub key_id: String,
    /// The public key as PKIX DER.
    pub public_key_der: Bytes,
    /// When it ends, in seconds since the Unix epoch; 0 when unknown.
    pub expires_at: i64,
    /// No longer to be used.
    pub tainted: bool,
}

impl Bundle {
    /// A bundle of `trust_domain`. Repeated authorities count once.
    #[must_use]
    pub fn new(
        trust_domain: TrustDomain,
        x509_authorities: Vec<X509Authority>,
        jwt_authorities: Vec<JwtAuthority>,
        sequence: u64,
        refresh_hint_secs: i64,
    ) -> Self {
        let mut distinct: Vec<X509Authority> = Vec::with_capacity(x509_authorities.len());
        for authority in x509_authorities {
            match distinct.iter_mut().find(|seen| seen.certificate == authority.certificate) {
                Some(seen) => seen.tainted |= authority.tainted,
                None => distinct.push(authority),
            }
        }
        Self {
            trust_domain,
            x509_authorities: distinct,
            jwt_authorities,
            sequence,
            refresh_hint_secs,
            anchors: OnceLock::new(),
        }
    }

    /// A bundle of bare certificates without a sequence, as a PEM file has it.
    #[must_use]
    pub fn from_certificates(trust_domain: TrustDomain, certificates: Vec<Certificate>) -> Self {
        let authorities = certificates
            .into_iter()
            .map(|certificate| X509Authority { certificate, tainted: false })
            .collect();
        Self::new(trust_domain, authorities, Vec::new(), 0, 0)
    }

    /// Whose authorities these are.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The X.509 authorities in the order of the bundle.
    #[must_use]
    pub fn x509_authorities(&self) -> &[X509Authority] {
        &self.x509_authorities
    }

    /// The JWT authorities in the order of the bundle.
    #[must_use]
    pub fn jwt_authorities(&self) -> &[JwtAuthority] {
        &self.jwt_authorities
    }

    /// Counts the changes of the bundle at its source (SPIFFE Trust Domain and Bundle §4.1.1).
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How often a reader should look again, in seconds; 0 when the source does not say.
    #[must_use]
    pub const fn refresh_hint_secs(&self) -> i64 {
        self.refresh_hint_secs
    }

    /// The authorities to hand out at `now`: newest first, expired ones left out unless that would
    /// leave none. Deterministic, so that equal bundles give equal bytes (istio-envoy.md §20 C4).
    #[must_use]
    pub fn servable(&self, now: SystemTime) -> Vec<Certificate> {
        let mut certificates: Vec<_> =
            self.x509_authorities.iter().map(|authority| authority.certificate.clone()).collect();
        certificates.sort_by(|a, b| {
            (b.not_before(), b.not_after(), b.der()).cmp(&(a.not_before(), a.not_after(), a.der()))
        });
        let alive: Vec<_> = certificates.iter().filter(|c| c.not_after() >= now).cloned().collect();
        if alive.is_empty() { certificates.into_iter().take(1).collect() } else { alive }
    }

    /// The authorities prepared for verification, made at the first use.
    pub fn anchors(&self) -> &TrustAnchors {
        self.anchors.get_or_init(|| {
            TrustAnchors::new(self.x509_authorities.iter().map(|authority| &authority.certificate))
        })
    }

    /// The authority that says it signed `certificate`, by key identifier where both have one and by
    /// name otherwise. No signature is checked: that was done when the SVID arrived.
    #[must_use]
    pub fn authority_of(&self, certificate: &Certificate) -> Option<&X509Authority> {
        let wanted = certificate.extensions().authority_key_id.as_ref();
        self.x509_authorities.iter().find(|authority| {
            let has = authority.certificate.extensions().subject_key_id.as_ref();
            match (wanted, has) {
                (Some(wanted), Some(has)) => wanted == has,
                _ => certificate.issuer_der() == authority.certificate.subject_der(),
            }
        })
    }

    /// Whether both hold the same authorities; sequence and hint do not count.
    #[must_use]
    pub fn has_same_content(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain
            && self.x509_authorities == other.x509_authorities
            && self.jwt_authorities == other.jwt_authorities
    }
}

impl PartialEq for Bundle {
    fn eq(&self, other: &Self) -> bool {
        self.has_same_content(other)
            && self.sequence == other.sequence
            && self.refresh_hint_secs == other.refresh_hint_secs
    }
}

impl Eq for Bundle {}
