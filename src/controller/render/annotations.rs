//! The annotations of pods that k8s-workload-registrar knew, where the configuration honours them.

use super::{
    failure::{Failure, Part},
    values::member,
};
use crate::controller::{settings::Settings, world::Pod};
use crate::spiffe::{SpiffeId, TrustDomain};

const SPIFFE_ID: &str = "spiffe.io/spiffe-id";
const FEDERATES_WITH: &str = "spiffe.io/federatesWith";

/// The identity that the pod names: a path, with or without a slash in front, or the whole ID.
pub(super) fn spiffe_id(settings: &Settings, pod: &Pod) -> Result<Option<SpiffeId>, Failure> {
    if !settings.annotations.spiffe_id {
        return Ok(None);
    }
    let Some(named) = pod.annotations.value(SPIFFE_ID).map(str::trim).filter(|n| !n.is_empty())
    else {
        return Ok(None);
    };
    let id = if named.contains("://") {
        named.to_owned()
    } else {
        format!("{}/{}", settings.trust_domain.id(), named.strip_prefix('/').unwrap_or(named))
    };
    member(Part::SpiffeIdAnnotation, &id, settings).map(Some)
}

/// The trust domains that the pod names, separated by commas, as names or as IDs.
pub(super) fn federates_with(settings: &Settings, pod: &Pod) -> Result<Vec<TrustDomain>, Failure> {
    let allowed = &settings.annotations.federates_with;
    let Some(named) = pod.annotations.value(FEDERATES_WITH).filter(|_| !allowed.is_empty()) else {
        return Ok(Vec::new());
    };
    let names = named.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| allowed_domain(name, allowed)).collect()
}

fn allowed_domain(name: &str, allowed: &[TrustDomain]) -> Result<TrustDomain, Failure> {
    let trust_domain = TrustDomain::parse_name_or_id(name).map_err(|source| {
        Failure::TrustDomain { part: Part::FederatesWithAnnotation, text: name.to_owned(), source }
    })?;
    if allowed.contains(&trust_domain) {
        return Ok(trust_domain);
    }
    Err(Failure::NotAllowed { trust_domain })
}
