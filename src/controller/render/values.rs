//! Checks the values that make an entry.

use super::super::settings::Settings;
use super::failure::{Failure, Part};
use crate::spiffe::{Selector, SpiffeId, dns::DnsName};

/// An ID of the trust domain.
pub(super) fn member(part: Part, text: &str, settings: &Settings) -> Result<SpiffeId, Failure> {
    let id = SpiffeId::parse(text).map_err(|source| Failure::NoSpiffeId {
        part,
        text: text.to_owned(),
        source,
    })?;
    if id.is_member_of(&settings.trust_domain) {
        return Ok(id);
    }
    Err(Failure::Foreign { part, id, trust_domain: settings.trust_domain.clone() })
}

/// Whether a workload may have an ID: not the trust domain's own, and none of servers and agents.
pub(super) fn check_workload(id: &SpiffeId) -> Result<(), Failure> {
    if id.path().is_empty() {
        return Err(Failure::NoPath { part: Part::SpiffeId, id: id.clone() });
    }
    if id.is_reserved() {
        return Err(Failure::Reserved(id.clone()));
    }
    Ok(())
}

pub(super) fn selector(text: String) -> Result<Selector, Failure> {
    Selector::parse(&text).map_err(|source| Failure::Selector { text, source })
}

pub(super) fn dns_name(text: String) -> Result<DnsName, Failure> {
    DnsName::parse(&text).map_err(|source| Failure::DnsName { text, source })
}

/// The first one becomes the common name: the order is kept.
pub(super) fn push_new(names: &mut Vec<DnsName>, name: DnsName) {
    if !names.contains(&name) {
        names.push(name);
    }
}
