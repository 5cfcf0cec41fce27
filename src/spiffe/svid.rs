//! X.509-SVIDs: a certificate chain, its private key, and the identity they prove (X509-SVID).

use super::{
    bundle::Bundle,
    id::{self, SpiffeId},
};
use crate::x509::{
    Certificate, KeyPair, SecretKey,
    chain::ChainError,
    key::KeyError,
    name::{AttributeKind, Name},
};
use std::time::SystemTime;

/// An identity that can be used: the leaf names exactly the ID, and the key is the leaf's.
#[derive(Clone, Debug)]
pub struct X509Svid {
    id: SpiffeId,
    chain: Vec<Certificate>,
    key: SecretKey,
}

/// Why a chain and key are no SVID.
#[derive(Debug, thiserror::Error)]
pub enum SvidError {
    /// No certificate at all.
    #[error("the certificate chain is empty")]
    EmptyChain,
    /// X509-SVID §2: exactly one URI subject alternative name.
    #[error("the leaf has {0} URI names, expected exactly one SPIFFE ID")]
    UriCount(usize),
    /// The URI is not a SPIFFE ID.
    #[error("the leaf's URI name {uri:?} is not a SPIFFE ID")]
    Id {
        /// What it says.
        uri: String,
        /// The broken rule.
        source: id::Error,
    },
    /// X509-SVID §5.2: a signing certificate must not authenticate.
    #[error("the leaf is a signing certificate, which must not authenticate a workload")]
    LeafIsAuthority,
    /// X509-SVID §4.3: a leaf has digitalSignature and neither keyCertSign nor cRLSign.
    #[error(
        "the leaf's key usage must include digitalSignature and exclude signing certificates and CRLs"
    )]
    KeyUsage,
    /// Somebody else's identity.
    #[error("the leaf is for {found}, expected {expected}")]
    OtherId {
        /// The ID in the leaf.
        found: SpiffeId,
        /// The ID asked for.
        expected: SpiffeId,
    },
    /// The key is unusable.
    #[error("the private key is unusable")]
    Key(#[from] KeyError),
    /// The key belongs to another certificate.
    #[error("the private key does not match the leaf's public key")]
    KeyMismatch,
    /// Not valid now.
    #[error(
        "the leaf of {id} is not valid at this time: it is expired or from the future, check the clocks"
    )]
    NotValidNow {
        /// Whose leaf.
        id: SpiffeId,
    },
    /// The bundle is another trust domain's.
    #[error("{id} cannot be verified by the bundle of {bundle}")]
    OtherTrustDomain {
        /// Whose leaf.
        id: SpiffeId,
        /// Whose bundle.
        bundle: super::TrustDomain,
    },
    /// The bundle does not verify the chain.
    #[error("the chain of {id} is not verified by the trust bundle")]
    Unverified {
        /// Whose leaf.
        id: SpiffeId,
        /// Why not.
        source: ChainError,
    },
}

/// The identity that a leaf proves, by the rules of X509-SVID §2 and §4. Says nothing about whether
/// the leaf is to be believed.
///
/// # Errors
/// The first broken rule.
pub fn leaf_id(leaf: &Certificate) -> Result<SpiffeId, SvidError> {
    let extensions = leaf.extensions();
    let [uri] = extensions.uris.as_slice() else {
        return Err(SvidError::UriCount(extensions.uris.len()));
    };
    let id = SpiffeId::parse(uri).map_err(|source| SvidError::Id { uri: uri.clone(), source })?;
    if extensions.is_ca {
        return Err(SvidError::LeafIsAuthority);
    }
    let usage = extensions.key_usage.ok_or(SvidError::KeyUsage)?;
    if !usage.digital_signature || usage.key_cert_sign || usage.crl_sign {
        return Err(SvidError::KeyUsage);
    }
    Ok(id)
}

/// The subject of every leaf: C=US, O=SPIRE as SPIRE hard-codes it, and the first DNS name as common
/// name when there is one (server.md §2.1).
#[must_use]
pub fn leaf_subject(common_name: Option<&str>) -> Name {
    let name = Name::new(vec![
        (AttributeKind::Country, "US".to_owned()),
        (AttributeKind::Organization, "SPIRE".to_owned()),
    ]);
    match common_name {
        Some(common_name) => name.with(AttributeKind::CommonName, common_name),
        None => name,
    }
}

impl X509Svid {
    /// Puts an SVID together and checks that its parts belong together and to `expected`.
    ///
    /// # Errors
    /// What does not fit.
    pub fn new(
        expected: &SpiffeId,
        chain: Vec<Certificate>,
        key: SecretKey,
    ) -> Result<Self, SvidError> {
        let leaf = chain.first().ok_or(SvidError::EmptyChain)?;
        if KeyPair::load(&key)?.public_key() != leaf.public_key() {
            return Err(SvidError::KeyMismatch);
        }
        Self::check(expected, leaf)?;
        Ok(Self { id: expected.clone(), chain, key })
    }

    /// As [`X509Svid::new`], for a key pair that is still at hand: exports its private half.
    ///
    /// # Errors
    /// What does not fit.
    pub fn from_key_pair(
        expected: &SpiffeId,
        chain: Vec<Certificate>,
        pair: &KeyPair,
    ) -> Result<Self, SvidError> {
        let leaf = chain.first().ok_or(SvidError::EmptyChain)?;
        if pair.public_key() != leaf.public_key() {
            return Err(SvidError::KeyMismatch);
        }
        Self::check(expected, leaf)?;
        Ok(Self { id: expected.clone(), key: pair.secret_key()?, chain })
    }

    fn check(expected: &SpiffeId, leaf: &Certificate) -> Result<(), SvidError> {
        let found = leaf_id(leaf)?;
        if found == *expected {
            return Ok(());
        }
        Err(SvidError::OtherId { found, expected: expected.clone() })
    }

    /// Whether peers that hold `bundle` will accept it at `now`: pre-flight before anyone is given it
    /// (istio-envoy.md §20 C5).
    ///
    /// # Errors
    /// Why they would not.
    pub fn verify(&self, bundle: &Bundle, now: SystemTime) -> Result<(), SvidError> {
        if !self.is_valid_at(now) {
            return Err(SvidError::NotValidNow { id: self.id.clone() });
        }
        if !self.id.is_member_of(bundle.trust_domain()) {
            let bundle = bundle.trust_domain().clone();
            return Err(SvidError::OtherTrustDomain { id: self.id.clone(), bundle });
        }
        bundle
            .anchors()
            .verify(&self.chain, now)
            .map_err(|source| SvidError::Unverified { id: self.id.clone(), source })
    }

    /// The identity.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Leaf first, then intermediates; never empty.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The private key of the leaf.
    #[must_use]
    pub const fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The first moment at which some certificate of the chain has ended.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.chain.iter().map(Certificate::not_after).min().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Whether every certificate of the chain is valid at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.chain.iter().all(|certificate| certificate.is_valid_at(now))
    }
}
