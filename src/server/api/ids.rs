//! The IDs that requests name: of agents and of workloads of our own trust domain. Texts are SPIRE's.

use crate::{
    spiffe::{SpiffeId, TrustDomain},
    transport::status::Kind,
    wire::{
        id::{self, MemberIdError},
        proto::spire::api::types::Spiffeid,
    },
};
use tonic::Status;

/// An ID that cannot be what a request needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IdError {
    #[error("invalid agent ID: {0}")]
    Malformed(#[from] MemberIdError),
    #[error("invalid agent ID: \"{id}\" is not a member of trust domain \"{trust_domain}\"")]
    Foreign { id: SpiffeId, trust_domain: TrustDomain },
    #[error(
        "invalid agent ID: \"{id}\" is not an agent in trust domain \"{trust_domain}\"; path is not \
         in the agent namespace"
    )]
    NotAnAgent { id: SpiffeId, trust_domain: TrustDomain },
    #[error(
        "invalid agent ID: \"{id}\" is not a workload in trust domain \"{trust_domain}\"; path is in \
         the reserved namespace"
    )]
    NotAWorkload { id: SpiffeId, trust_domain: TrustDomain },
}

/// The ID of an agent of `trust_domain`.
pub(super) fn agent(
    trust_domain: &TrustDomain,
    wire: Option<&Spiffeid>,
) -> Result<SpiffeId, IdError> {
    let id = member(trust_domain, wire)?;
    if id.is_agent() {
        return Ok(id);
    }
    Err(IdError::NotAnAgent { id, trust_domain: trust_domain.clone() })
}

/// The ID of a workload of `trust_domain`.
pub(super) fn workload(
    trust_domain: &TrustDomain,
    wire: Option<&Spiffeid>,
) -> Result<SpiffeId, IdError> {
    let id = member(trust_domain, wire)?;
    if id.is_reserved() {
        return Err(IdError::NotAWorkload { id, trust_domain: trust_domain.clone() });
    }
    Ok(id)
}

fn member(trust_domain: &TrustDomain, wire: Option<&Spiffeid>) -> Result<SpiffeId, IdError> {
    let id = id::member_id(wire)?;
    if id.is_member_of(trust_domain) {
        return Ok(id);
    }
    Err(IdError::Foreign { id, trust_domain: trust_domain.clone() })
}

impl From<IdError> for Status {
    fn from(error: IdError) -> Self {
        Kind::Invalid.status(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_another_kind_are_refused_in_spires_words() {
        let ours = TrustDomain::parse("example.org").unwrap();
        let wire = |domain: &str, path: &str| Spiffeid {
            trust_domain: domain.to_owned(),
            path: path.to_owned(),
        };
        let refused = |id: Spiffeid| agent(&ours, Some(&id)).unwrap_err().to_string();
        assert_eq!(
            refused(wire("other.org", "/spire/agent/a")),
            "invalid agent ID: \"spiffe://other.org/spire/agent/a\" is not a member of trust domain \
             \"example.org\""
        );
        assert_eq!(
            refused(wire("example.org", "/w")),
            "invalid agent ID: \"spiffe://example.org/w\" is not an agent in trust domain \
             \"example.org\"; path is not in the agent namespace"
        );
        assert_eq!(
            agent(&ours, None).unwrap_err().to_string(),
            "invalid agent ID: request must specify SPIFFE ID"
        );
        let reserved = workload(&ours, Some(&wire("example.org", "/spire/x"))).unwrap_err();
        assert_eq!(
            reserved.to_string(),
            "invalid agent ID: \"spiffe://example.org/spire/x\" is not a workload in trust domain \
             \"example.org\"; path is in the reserved namespace"
        );
        assert!(agent(&ours, Some(&wire("example.org", "/spire/agent/a"))).is_ok());
        assert!(workload(&ours, Some(&wire("example.org", "/w"))).is_ok());
    }
}
