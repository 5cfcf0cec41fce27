//! Which SPIFFE ID the other end of a TLS connection proves, whichever end it is (X509-SVID §5).
//!
//! The order is the safety: the leaf's own trust domain picks the bundle before any path is built, so
//! that no authority can vouch for another domain. DNS names and SNI mean nothing here. Knows nothing
//! of rustls; `mtls` asks.

use crate::{
    runtime::Reader,
    spiffe::{
        Bundle, SpiffeId, TrustDomain, id,
        svid::{self, SvidError},
    },
    x509::{
        Certificate,
        cert::{CertificateError, Serial},
        chain::ChainError,
    },
};
use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use std::{fmt, sync::Arc, time::SystemTime};

/// Where bundles come from: asked anew for each handshake, so a change counts from the next one on.
#[derive(Clone)]
pub struct Trust(Arc<BundleOf>);

type BundleOf = dyn Fn(&TrustDomain) -> Option<Arc<Bundle>> + Send + Sync;

/// What a client believes of the server that answers.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// It must be `expected`, verified by `trust`.
    Verified {
        /// The server's ID, exactly.
        expected: SpiffeId,
        /// Where the bundle comes from.
        trust: Trust,
    },
    /// Any chain will do, as long as the leaf claims to be `expected`: an agent's very first contact
    /// when an operator has set `insecure_bootstrap`. Whoever is in the middle can pretend that.
    InsecureBootstrap {
        /// The server's ID, exactly.
        expected: SpiffeId,
    },
}

/// Which end the peer is, for the words of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It connected to us.
    Client,
    /// We connected to it.
    Server,
}

/// What a verified leaf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whose it is.
    pub id: SpiffeId,
    /// Its serial number.
    pub serial: Serial,
    /// Its last valid moment.
    pub not_after: SystemTime,
}

/// A peer that proves nothing. The texts about the URI are SPIRE's.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No URI subject alternative name.
    #[error("{0} certificate has no URI SAN")]
    NoUri(Role),
    /// Several.
    #[error("{0} certificate has more than one URI SAN")]
    ManyUris(Role),
    /// One that is no SPIFFE ID.
    #[error("{role} certificate has a malformed URI SAN: {source}")]
    MalformedUri {
        /// Whose certificate.
        role: Role,
        /// The broken rule.
        source: id::Error,
    },
    /// Not a certificate that we can read.
    #[error("{role} certificate is unusable")]
    Certificate {
        /// Whose certificate.
        role: Role,
        /// What is wrong.
        source: CertificateError,
    },
    /// A leaf that breaks the rules of X509-SVID §4.
    #[error("{role} certificate is not an X.509-SVID")]
    NotALeaf {
        /// Whose certificate.
        role: Role,
        /// The broken rule.
        source: SvidError,
    },
    /// A trust domain that we have no bundle of.
    #[error("{role} is {id}, but there is no bundle of its trust domain")]
    UnknownTrustDomain {
        /// Whose certificate.
        role: Role,
        /// Whose it claims to be.
        id: SpiffeId,
    },
    /// The bundle of its trust domain does not verify it.
    #[error("{role} is {id}, but the bundle of its trust domain does not verify it")]
    Unverified {
        /// Whose certificate.
        role: Role,
        /// Whose it claims to be.
        id: SpiffeId,
        /// Why not.
        source: ChainError,
    },
    /// A valid peer, but not the one that was dialed.
    #[error("server is {found}, expected {expected}")]
    OtherServer {
        /// Who answered.
        found: SpiffeId,
        /// Who was to answer.
        expected: SpiffeId,
    },
}

impl Trust {
    /// Trust in whatever `bundle` answers for a trust domain.
    pub fn new(
        bundle: impl Fn(&TrustDomain) -> Option<Arc<Bundle>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(bundle))
    }

    /// Trust in one trust domain, by the bundle that `reader` shows.
    #[must_use]
    pub fn in_bundle(reader: Reader<Arc<Bundle>>) -> Self {
        Self::new(move |trust_domain| {
            Some(reader.current()).filter(|bundle| bundle.trust_domain() == trust_domain)
        })
    }

    /// Finds out whose leaf and intermediates these are.
    ///
    /// # Errors
    /// Why they prove nothing.
    pub fn verify(
        &self,
        role: Role,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Proof, PeerError> {
        let proof = claim(role, leaf)?;
        let id = || proof.id.clone();
        let bundle = (self.0)(&proof.id.trust_domain())
            .ok_or_else(|| PeerError::UnknownTrustDomain { role, id: id() })?;
        bundle
            .anchors()
            .verify_der(leaf, intermediates, now)
            .map_err(|source| PeerError::Unverified { role, id: id(), source })?;
        Ok(proof)
    }
}

/// What a leaf says about itself, by the rules of a leaf. Proves nothing unless its chain was verified.
///
/// # Errors
/// The first broken rule.
pub fn claim(role: Role, leaf: &CertificateDer<'_>) -> Result<Proof, PeerError> {
    let leaf = Certificate::parse(Bytes::copy_from_slice(leaf))
        .map_err(|source| PeerError::Certificate { role, source })?;
    let id = svid::leaf_id(&leaf).map_err(|error| match error {
        SvidError::UriCount(0) => PeerError::NoUri(role),
        SvidError::UriCount(_) => PeerError::ManyUris(role),
        SvidError::Id { source, .. } => PeerError::MalformedUri { role, source },
        source => PeerError::NotALeaf { role, source },
    })?;
    Ok(Proof { id, serial: leaf.serial().clone(), not_after: leaf.not_after() })
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

#[cfg(test)]
mod tests;
