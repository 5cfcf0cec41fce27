//! `spire.api.types.Entry` ⇄ [`Entry`]. Whether an ID fits the server's trust domain is not decided
//! here: the agent reads entries with the same code.

use super::{
    id::{self, MemberIdError},
    proto::spire::api::types,
    selector,
};
use crate::spiffe::{
    Entry, EntryId, EntrySpec, TrustDomain, dns,
    dns::DnsName,
    entry::{self, Hint},
    id as spiffe_id, selector as spiffe_selector,
};

/// An entry that cannot be read. The texts are SPIRE's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// `spiffe_id` is missing or broken.
    #[error("invalid spiffe ID: {0}")]
    SpiffeId(MemberIdError),
    /// `parent_id` is missing or broken.
    #[error("invalid parent ID: {0}")]
    ParentId(MemberIdError),
    /// A selector is broken.
    #[error(transparent)]
    Selector(#[from] spiffe_selector::Error),
    /// A DNS name is broken.
    #[error("invalid DNS name: {0}")]
    DnsName(#[from] dns::Error),
    /// A trust domain in `federates_with` is broken.
    #[error("invalid federated trust domain: {0}")]
    FederatesWith(spiffe_id::Error),
    /// A negative time to live.
    #[error("{field} is {seconds}, expected a number of seconds that is not negative")]
    NegativeTtl {
        /// Which field.
        field: &'static str,
        /// Its value.
        seconds: i32,
    },
    /// A rule of entries.
    #[error(transparent)]
    Rule(#[from] entry::Error),
}

/// Reads what the author of an entry decides; id, revision and creation time are not looked at.
///
/// # Errors
/// The first field that is broken.
pub fn spec(wire: &types::Entry) -> Result<EntrySpec, EntryError> {
    let attributes = wire.additional_attributes.unwrap_or_default();
    let spec = EntrySpec {
        spiffe_id: id::member_id(wire.spiffe_id.as_ref()).map_err(EntryError::SpiffeId)?,
        parent_id: id::member_id(wire.parent_id.as_ref()).map_err(EntryError::ParentId)?,
        selectors: selector::selector_set(&wire.selectors)?,
        x509_svid_ttl_secs: ttl("x509_svid_ttl", wire.x509_svid_ttl)?,
        jwt_svid_ttl_secs: ttl("jwt_svid_ttl", wire.jwt_svid_ttl)?,
        federates_with: trust_domains(&wire.federates_with)?,
        admin: wire.admin,
        downstream: wire.downstream,
        expires_at: wire.expires_at,
        dns_names: dns_names(&wire.dns_names)?,
        store_svid: wire.store_svid,
        hint: Hint::parse(&wire.hint)?,
        disable_x509_svid_prefetch: attributes.disable_x509_svid_prefetch,
        jwt_svid_include_jti: attributes.jwt_svid_include_jti,
    };
    if spec.selectors.is_empty() {
        return Err(entry::Error::NoSelectors.into());
    }
    Ok(spec)
}

/// Reads an entry as a server stores it.
///
/// # Errors
/// The first field that is broken.
pub fn entry(wire: &types::Entry) -> Result<Entry, EntryError> {
    Ok(Entry {
        id: EntryId::parse(&wire.id)?,
        revision: wire.revision_number,
        created_at: wire.created_at,
        spec: spec(wire)?,
    })
}

/// Reads a time to live.
///
/// # Errors
/// When it is negative; `field` names it.
pub fn ttl(field: &'static str, seconds: i32) -> Result<u32, EntryError> {
    u32::try_from(seconds).map_err(|_| EntryError::NegativeTtl { field, seconds })
}

/// Reads DNS names.
///
/// # Errors
/// The first one that is broken.
pub fn dns_names(wire: &[String]) -> Result<Vec<DnsName>, EntryError> {
    Ok(wire.iter().map(|name| DnsName::parse(name)).collect::<Result<_, _>>()?)
}

/// Reads trust domains, each given as a name or as a SPIFFE ID.
///
/// # Errors
/// The first one that is broken.
pub fn trust_domains(wire: &[String]) -> Result<Vec<TrustDomain>, EntryError> {
    let parsed = wire.iter().map(|name| TrustDomain::parse_name_or_id(name));
    parsed.collect::<Result<_, _>>().map_err(EntryError::FederatesWith)
}

impl From<&Entry> for types::Entry {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id.as_str().to_owned(),
            revision_number: entry.revision,
            created_at: entry.created_at,
            ..Self::from(&entry.spec)
        }
    }
}

impl From<&EntrySpec> for types::Entry {
    fn from(spec: &EntrySpec) -> Self {
        let attributes = types::entry::AdditionalAttributes {
            disable_x509_svid_prefetch: spec.disable_x509_svid_prefetch,
            jwt_svid_include_jti: spec.jwt_svid_include_jti,
        };
        Self {
            spiffe_id: Some((&spec.spiffe_id).into()),
            parent_id: Some((&spec.parent_id).into()),
            selectors: selector::to_wire(&spec.selectors),
            x509_svid_ttl: i32::try_from(spec.x509_svid_ttl_secs).unwrap_or(i32::MAX),
            jwt_svid_ttl: i32::try_from(spec.jwt_svid_ttl_secs).unwrap_or(i32::MAX),
            federates_with: spec.federates_with.iter().map(|td| td.name().to_owned()).collect(),
            admin: spec.admin,
            downstream: spec.downstream,
            expires_at: spec.expires_at,
            dns_names: spec.dns_names.iter().map(|name| name.as_str().to_owned()).collect(),
            store_svid: spec.store_svid,
            hint: spec.hint.as_str().to_owned(),
            // SPIRE leaves the message out when nothing in it is set, and prints it when it is there.
            additional_attributes: (attributes != types::entry::AdditionalAttributes::default())
                .then_some(attributes),
            ..Self::default()
        }
    }
}

/// Clears every field that `mask` does not ask for; no mask asks for all. The id is always kept.
pub fn apply_mask(entry: &mut types::Entry, mask: Option<&types::EntryMask>) {
    let Some(mask) = mask else { return };
    let full = std::mem::take(entry);
    let keep = |asked: bool, value: i64| if asked { value } else { 0 };
    *entry = types::Entry {
        spiffe_id: full.spiffe_id.filter(|_| mask.spiffe_id),
        parent_id: full.parent_id.filter(|_| mask.parent_id),
        selectors: if mask.selectors { full.selectors } else { Vec::new() },
        x509_svid_ttl: if mask.x509_svid_ttl { full.x509_svid_ttl } else { 0 },
        jwt_svid_ttl: if mask.jwt_svid_ttl { full.jwt_svid_ttl } else { 0 },
        federates_with: if mask.federates_with { full.federates_with } else { Vec::new() },
        admin: mask.admin && full.admin,
        downstream: mask.downstream && full.downstream,
        expires_at: keep(mask.expires_at, full.expires_at),
        dns_names: if mask.dns_names { full.dns_names } else { Vec::new() },
        revision_number: keep(mask.revision_number, full.revision_number),
        store_svid: mask.store_svid && full.store_svid,
        hint: if mask.hint { full.hint } else { String::new() },
        created_at: keep(mask.created_at, full.created_at),
        additional_attributes: full.additional_attributes.filter(|_| mask.additional_attributes),
        id: full.id,
    };
}
