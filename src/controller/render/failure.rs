//! Why no entry can be rendered.

use super::super::{rule::LifetimeError, template};
use crate::spiffe::{SpiffeId, TrustDomain, dns, entry, id, selector};
use std::fmt;

/// Why a rule and a pod, or a ClusterStaticEntry, give no entry. The author of one of them has to act.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A template gives no text.
    #[error("{part}: {source}")]
    Template {
        /// What it is for.
        part: Part,
        /// Why.
        source: template::RenderError,
    },
    /// A text is no SPIFFE ID.
    #[error("{part} {text:?}: {source}")]
    NoSpiffeId {
        /// What it is for.
        part: Part,
        /// The text.
        text: String,
        /// Why.
        source: id::Error,
    },
    /// A SPIFFE ID is of another trust domain.
    #[error("{part} {id}: expected an ID of the trust domain {trust_domain}")]
    Foreign {
        /// What it is for.
        part: Part,
        /// The ID.
        id: SpiffeId,
        /// The controller's trust domain.
        trust_domain: TrustDomain,
    },
    /// A SPIFFE ID is the trust domain's own.
    #[error("{part} {id}: expected a path")]
    NoPath {
        /// What it is for.
        part: Part,
        /// The ID.
        id: SpiffeId,
    },
    /// A SPIFFE ID belongs to a server or agent.
    #[error("SPIFFE ID {0}: paths below /spire belong to servers and agents")]
    Reserved(SpiffeId),
    /// A text is no selector.
    #[error("workload selector {text:?}: {source}")]
    Selector {
        /// The text.
        text: String,
        /// Why.
        source: selector::Error,
    },
    /// A text is no DNS name.
    #[error("DNS name {text:?}: {source}")]
    DnsName {
        /// The text.
        text: String,
        /// Why.
        source: dns::Error,
    },
    /// A text is no trust domain.
    #[error("{part} {text:?}: {source}")]
    TrustDomain {
        /// Where it stands.
        part: Part,
        /// The text.
        text: String,
        /// Why.
        source: id::Error,
    },
    /// A pod asks to federate with a trust domain with which pods may not.
    #[error(
        "{annotation} names {trust_domain}: the controller's configuration does not allow pods to ask for it",
        annotation = Part::FederatesWithAnnotation
    )]
    NotAllowed {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// A lifetime that a certificate cannot have.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// The parts do not make an entry.
    #[error(transparent)]
    Entry(entry::Error),
}

/// The part of an entry that something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The identity.
    SpiffeId,
    /// The parent.
    ParentId,
    /// A selector.
    Selector,
    /// A DNS name.
    DnsName,
    /// A trust domain to federate with.
    FederatesWith,
    /// The pod's annotation of its identity.
    SpiffeIdAnnotation,
    /// The pod's annotation of trust domains.
    FederatesWithAnnotation,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SpiffeId => "SPIFFE ID",
            Self::ParentId => "parent ID",
            Self::Selector => "workload selector",
            Self::DnsName => "DNS name",
            Self::FederatesWith => "federatesWith",
            Self::SpiffeIdAnnotation => "annotation spiffe.io/spiffe-id",
            Self::FederatesWithAnnotation => "annotation spiffe.io/federatesWith",
        })
    }
}
