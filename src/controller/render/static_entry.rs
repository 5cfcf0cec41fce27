//! A ClusterStaticEntry as an entry.

use super::{
    failure::{Failure, Part},
    values::{check_workload, dns_name, member, push_new, selector},
};
use crate::controller::{
    crd::ClusterStaticEntrySpec,
    rule::{lifetime, trust_domains},
    settings::Settings,
};
use crate::spiffe::{EntrySpec, SelectorSet, entry::Hint};

/// The entry that a ClusterStaticEntry writes out.
///
/// # Errors
/// When a field is not of its kind, or the fields do not make an entry.
pub fn static_entry(
    settings: &Settings,
    written: &ClusterStaticEntrySpec,
) -> Result<EntrySpec, Failure> {
    let spiffe_id = member(Part::SpiffeId, &written.spiffe_id, settings)?;
    check_workload(&spiffe_id)?;
    let parent_id = member(Part::ParentId, &written.parent_id, settings)?;
    if parent_id.path().is_empty() {
        return Err(Failure::NoPath { part: Part::ParentId, id: parent_id });
    }
    let selectors = written.selectors.iter().map(|text| selector(text.clone()));
    let federates_with = trust_domains(&written.federates_with).map_err(|(text, source)| {
        Failure::TrustDomain { part: Part::FederatesWith, text, source }
    })?;
    let mut dns_names = Vec::new();
    for name in &written.dns_names {
        push_new(&mut dns_names, dns_name(name.clone())?);
    }
    let spec = EntrySpec {
        spiffe_id,
        parent_id,
        selectors: selectors.collect::<Result<SelectorSet, _>>()?,
        x509_svid_ttl_secs: lifetime("x509SVIDTTL", written.x509_svid_ttl)?,
        jwt_svid_ttl_secs: lifetime("jwtSVIDTTL", written.jwt_svid_ttl)?,
        federates_with,
        admin: written.admin,
        downstream: written.downstream,
        expires_at: 0,
        dns_names,
        store_svid: written.store_svid,
        hint: Hint::parse(&written.hint).map_err(Failure::Entry)?,
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    };
    spec.check().map_err(Failure::Entry)?;
    Ok(spec)
}
