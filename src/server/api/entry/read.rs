//! What requests of the entry service say, in the domain's terms. Errors are what clients are told, in
//! SPIRE's words.

use crate::{
    server::{
        registration::{
            IdError, Registration,
            filter::{Comparison, Filter, OnlyDownstream},
        },
        store::EntryPatch,
    },
    spiffe::{
        EntrySpec, SelectorSet, SpiffeId, TrustDomain,
        entry::{self, Hint},
        id as spiffe_id, selector as spiffe_selector,
    },
    transport::status::Kind,
    wire::{
        entry::{self as wire, EntryError},
        id,
        proto::spire::api::{
            server::entry::v1::EntryFilter,
            types::{self, federates_with_match, selector_match},
        },
        selector,
    },
};
use std::collections::BTreeSet;
use tonic::Status;

/// An entry that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("invalid parent ID: {0}")]
    ParentId(ReadIdError),
    #[error("invalid spiffe ID: {0}")]
    SpiffeId(ReadIdError),
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// An ID that cannot be read or is not ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadIdError {
    #[error("request must specify SPIFFE ID")]
    Missing,
    #[error(transparent)]
    Malformed(#[from] spiffe_id::Error),
    #[error(transparent)]
    Rule(#[from] IdError),
}

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    #[error("malformed parent ID filter: {0}")]
    ParentId(ReadIdError),
    #[error("malformed SPIFFE ID filter: {0}")]
    SpiffeId(ReadIdError),
    #[error("malformed selectors filter: {0}")]
    Selectors(#[from] spiffe_selector::Error),
    #[error("malformed selectors filter: empty selector set")]
    NoSelectors,
    #[error("malformed federates with filter: {0}")]
    FederatesWith(spiffe_id::Error),
    #[error("malformed federates with filter: empty trust domain set")]
    NoTrustDomains,
    #[error("match behaviour {0} is unknown, expected 0 to 3")]
    Comparison(i32),
}

/// Reads an entry to be created; its ID is not looked at.
pub(super) fn spec(
    registration: &Registration,
    wire: &types::Entry,
) -> Result<EntrySpec, ReadError> {
    parent_id(registration, wire)?;
    spiffe_id(registration, wire)?;
    Ok(wire::spec(wire)?)
}

/// Reads the fields of an update that `mask` names; no mask names all.
pub(super) fn patch(
    registration: &Registration,
    wire: &types::Entry,
    mask: Option<&types::EntryMask>,
) -> Result<EntryPatch, ReadError> {
    let named = |field: fn(&types::EntryMask) -> bool| mask.is_none_or(field);
    let attributes = named(|mask| mask.additional_attributes)
        .then(|| wire.additional_attributes.unwrap_or_default());
    Ok(EntryPatch {
        parent_id: named(|m| m.parent_id).then(|| parent_id(registration, wire)).transpose()?,
        spiffe_id: named(|m| m.spiffe_id).then(|| spiffe_id(registration, wire)).transpose()?,
        dns_names: named(|m| m.dns_names).then(|| wire::dns_names(&wire.dns_names)).transpose()?,
        federates_with: named(|m| m.federates_with)
            .then(|| wire::trust_domains(&wire.federates_with))
            .transpose()?,
        selectors: named(|m| m.selectors).then(|| selectors(wire)).transpose()?,
        x509_svid_ttl_secs: named(|m| m.x509_svid_ttl)
            .then(|| wire::ttl("x509_svid_ttl", wire.x509_svid_ttl))
            .transpose()?,
        jwt_svid_ttl_secs: named(|m| m.jwt_svid_ttl)
            .then(|| wire::ttl("jwt_svid_ttl", wire.jwt_svid_ttl))
            .transpose()?,
        hint: named(|m| m.hint)
            .then(|| Hint::parse(&wire.hint))
            .transpose()
            .map_err(EntryError::Rule)?,
        admin: named(|m| m.admin).then_some(wire.admin),
        downstream: named(|m| m.downstream).then_some(wire.downstream),
        expires_at: named(|m| m.expires_at).then_some(wire.expires_at),
        store_svid: named(|m| m.store_svid).then_some(wire.store_svid),
        disable_x509_svid_prefetch: attributes.map(|a| a.disable_x509_svid_prefetch),
        jwt_svid_include_jti: attributes.map(|a| a.jwt_svid_include_jti),
    })
}

/// Reads a filter; none takes everything.
pub(super) fn filter(
    registration: &Registration,
    wire: Option<EntryFilter>,
) -> Result<Filter, FilterError> {
    let Some(wire) = wire else { return Ok(Filter::default()) };
    let downstream = wire.by_downstream.unwrap_or_default();
    Ok(Filter {
        parent_id: wire
            .by_parent_id
            .map(|id| ours(Some(&id), |id| registration.check_member(id)))
            .transpose()
            .map_err(FilterError::ParentId)?,
        spiffe_id: wire
            .by_spiffe_id
            .map(|id| ours(Some(&id), |id| registration.check_workload(id)))
            .transpose()
            .map_err(FilterError::SpiffeId)?,
        selectors: wire.by_selectors.map(|by| selectors_filter(&by)).transpose()?,
        federates_with: wire.by_federates_with.map(|by| federation_filter(&by)).transpose()?,
        // SPIRE 1.15: an empty hint asks for nothing.
        hint: wire.by_hint.filter(|hint| !hint.is_empty()),
        only_downstream: if downstream { OnlyDownstream::Yes } else { OnlyDownstream::No },
    })
}

impl From<FilterError> for Status {
    fn from(error: FilterError) -> Self {
        Kind::Invalid.status(error.to_string())
    }
}

fn parent_id(registration: &Registration, wire: &types::Entry) -> Result<SpiffeId, ReadError> {
    ours(wire.parent_id.as_ref(), |id| registration.check_member(id)).map_err(ReadError::ParentId)
}

fn spiffe_id(registration: &Registration, wire: &types::Entry) -> Result<SpiffeId, ReadError> {
    ours(wire.spiffe_id.as_ref(), |id| registration.check_workload(id)).map_err(ReadError::SpiffeId)
}

fn ours(
    wire: Option<&types::Spiffeid>,
    check: impl Fn(&SpiffeId) -> Result<(), IdError>,
) -> Result<SpiffeId, ReadIdError> {
    let id = id::spiffe_id(wire.ok_or(ReadIdError::Missing)?)?;
    check(&id)?;
    Ok(id)
}

fn selectors(wire: &types::Entry) -> Result<SelectorSet, EntryError> {
    if wire.selectors.is_empty() {
        return Err(entry::Error::NoSelectors.into());
    }
    Ok(selector::selector_set(&wire.selectors)?)
}

fn selectors_filter(by: &types::SelectorMatch) -> Result<(SelectorSet, Comparison), FilterError> {
    use selector_match::MatchBehavior;
    let given = selector::selector_set(&by.selectors)?;
    if given.is_empty() {
        return Err(FilterError::NoSelectors);
    }
    let comparison = match by.r#match.try_into() {
        Ok(MatchBehavior::MatchExact) => Comparison::Exact,
        Ok(MatchBehavior::MatchSubset) => Comparison::Subset,
        Ok(MatchBehavior::MatchSuperset) => Comparison::Superset,
        Ok(MatchBehavior::MatchAny) => Comparison::Any,
        Err(_) => return Err(FilterError::Comparison(by.r#match)),
    };
    Ok((given, comparison))
}

fn federation_filter(
    by: &types::FederatesWithMatch,
) -> Result<(BTreeSet<TrustDomain>, Comparison), FilterError> {
    use federates_with_match::MatchBehavior;
    let given = by.trust_domains.iter().map(|name| TrustDomain::parse_name_or_id(name));
    let given: BTreeSet<_> = given.collect::<Result<_, _>>().map_err(FilterError::FederatesWith)?;
    if given.is_empty() {
        return Err(FilterError::NoTrustDomains);
    }
    let comparison = match by.r#match.try_into() {
        Ok(MatchBehavior::MatchExact) => Comparison::Exact,
        Ok(MatchBehavior::MatchSubset) => Comparison::Subset,
        Ok(MatchBehavior::MatchSuperset) => Comparison::Superset,
        Ok(MatchBehavior::MatchAny) => Comparison::Any,
        Err(_) => return Err(FilterError::Comparison(by.r#match)),
    };
    Ok((given, comparison))
}
