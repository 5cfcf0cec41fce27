//! `spire.api.types.SPIFFEID` ⇄ [`SpiffeId`].

use super::proto::spire::api::types::Spiffeid;
use crate::spiffe::{SpiffeId, TrustDomain, id::Error};

impl From<&SpiffeId> for Spiffeid {
    fn from(id: &SpiffeId) -> Self {
        Self { trust_domain: id.trust_domain_name().to_owned(), path: id.path().to_owned() }
    }
}

/// Reads an ID whose path may be empty. SPIRE accepts a trust domain given as `spiffe://td` too.
///
/// # Errors
/// The first rule of SPIFFE-ID that it breaks.
pub fn spiffe_id(wire: &Spiffeid) -> Result<SpiffeId, Error> {
    let trust_domain = TrustDomain::parse_name_or_id(&wire.trust_domain)?;
    if wire.path.is_empty() {
        return Ok(trust_domain.id());
    }
    trust_domain.member(&wire.path)
}

/// Reads an ID that must be there and have a path.
///
/// # Errors
/// What is missing or broken, in SPIRE's words.
pub fn member_id(wire: Option<&Spiffeid>) -> Result<SpiffeId, MemberIdError> {
    let wire = wire.ok_or(MemberIdError::Missing)?;
    let id = spiffe_id(wire)?;
    if id.path().is_empty() { Err(MemberIdError::NoPath) } else { Ok(id) }
}

/// An ID that does not name a member of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberIdError {
    /// The field is not set.
    #[error("request must specify SPIFFE ID")]
    Missing,
    /// The ID of a trust domain itself.
    #[error("path is empty")]
    NoPath,
    /// Not a SPIFFE ID.
    #[error(transparent)]
    Invalid(#[from] Error),
}
