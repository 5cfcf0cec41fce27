//! Registration: what an administrator may write into the store. Owns the rules that need the server's
//! view, of its trust domain and of the other entries; those of one entry alone are `spiffe`'s, and
//! those that must hold at the commit are the store's.

pub mod filter;

use super::{
    authorized::Authorized,
    store::{Created, EntryError, EntryPatch, NewEntry, Store, StoreError},
};
use crate::{
    spiffe::{Entry, EntryId, EntrySpec, SpiffeId, TrustDomain, dns::DnsName},
    transport::status::Kind,
};
use std::{collections::HashSet, net::Ipv4Addr, sync::Arc};

/// Writes entries. Clones share the store.
#[derive(Clone)]
pub struct Registration {
    store: Store,
    authorized: Authorized,
    trust_domain: TrustDomain,
}

/// Why an ID is not what the server registers. The texts are SPIRE's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Of another trust domain.
    #[error("\"{id}\" is not a member of trust domain \"{trust_domain}\"")]
    Foreign {
        /// The ID.
        id: SpiffeId,
        /// Ours.
        trust_domain: TrustDomain,
    },
    /// The trust domain itself, where a member was expected.
    #[error("\"{id}\" is not a member of trust domain \"{0}\"; path is empty", id = .0.id())]
    MemberWithoutPath(TrustDomain),
    /// The trust domain itself, where a workload was expected.
    #[error("\"{id}\" is not a workload in trust domain \"{0}\"; path is empty", id = .0.id())]
    WorkloadWithoutPath(TrustDomain),
    /// The ID of a server or an agent, where a workload was expected.
    #[error(
        "\"{id}\" is not a workload in trust domain \"{trust_domain}\"; path is in the reserved \
         namespace"
    )]
    Reserved {
        /// The ID.
        id: SpiffeId,
        /// Ours.
        trust_domain: TrustDomain,
    },
}

/// Why an entry was not written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The entry's identity is not one that we give.
    #[error("invalid spiffe ID: {0}")]
    SpiffeId(IdError),
    /// The entry's parent is not one of ours.
    #[error("invalid parent ID: {0}")]
    ParentId(IdError),
    /// The entry would be its own ancestor.
    #[error("invalid parent ID: \"{parent}\" is \"{identity}\" itself or one of its descendants")]
    Cycle {
        /// The parent.
        parent: SpiffeId,
        /// The identity.
        identity: SpiffeId,
    },
    /// A wildcard makes another of the entry's names superfluous.
    #[error("invalid DNS name: wildcard {wildcard} covers {name}")]
    DnsOverlap {
        /// The wildcard.
        wildcard: DnsName,
        /// The name.
        name: DnsName,
    },
    /// No client looks for an address among the DNS names of a certificate (RFC 6125 §1.7.2).
    #[error("invalid DNS name: {0} is an IP address")]
    DnsIsAddress(DnsName),
    /// A workload has its own trust domain's bundle in any case.
    #[error("invalid federated trust domain: \"{0}\" is the server's own")]
    FederatesWithItself(TrustDomain),
    /// The store does not take it.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl RegistrationError {
    /// What the error means to a peer whose request met it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Entry(error) => error.kind(),
            _ => Kind::Invalid,
        }
    }
}

impl Registration {
    /// Registers workloads of `trust_domain`.
    #[must_use]
    pub const fn new(store: Store, authorized: Authorized, trust_domain: TrustDomain) -> Self {
        Self { store, authorized, trust_domain }
    }

    /// Checks an ID that may be a parent: a server, an agent or a workload of ours.
    ///
    /// # Errors
    /// When it is none.
    pub fn check_member(&self, id: &SpiffeId) -> Result<(), IdError> {
        self.check_domain(id)?;
        if id.path().is_empty() {
            return Err(IdError::MemberWithoutPath(self.trust_domain.clone()));
        }
        Ok(())
    }

    /// Checks an ID that may be given to a workload.
    ///
    /// # Errors
    /// When it may not.
    pub fn check_workload(&self, id: &SpiffeId) -> Result<(), IdError> {
        self.check_domain(id)?;
        if id.path().is_empty() {
            return Err(IdError::WorkloadWithoutPath(self.trust_domain.clone()));
        }
        if id.is_reserved() {
            let (id, trust_domain) = (id.clone(), self.trust_domain.clone());
            return Err(IdError::Reserved { id, trust_domain });
        }
        Ok(())
    }

    /// Creates entries. Each stands for itself; the results have the order of `entries`.
    pub async fn create(&self, entries: Vec<NewEntry>) -> Vec<Result<Created, RegistrationError>> {
        let checks: Vec<_> = entries.iter().map(|new| self.check(&new.spec)).collect();
        let accepted = only_accepted(entries, &checks);
        merge(checks, self.store.create_entries(accepted).await)
    }

    /// Updates entries, as [`Registration::create`] creates them.
    pub async fn update(
        &self,
        patches: Vec<(EntryId, EntryPatch)>,
    ) -> Vec<Result<Arc<Entry>, RegistrationError>> {
        let checks: Vec<_> = patches
            .iter()
            .map(|(id, patch)| match self.store.entry(id) {
                Some(entry) => self.check(&patch.clone().apply(&entry.spec)),
                None => Ok(()),
            })
            .collect();
        let accepted = only_accepted(patches, &checks);
        merge(checks, self.store.update_entries(accepted).await)
    }

    /// Deletes entries, as [`Registration::create`] creates them.
    pub async fn delete(&self, ids: Vec<EntryId>) -> Vec<Result<(), RegistrationError>> {
        let checks = ids.iter().map(|_| Ok(())).collect();
        merge(checks, self.store.delete_entries(ids).await)
    }

    /// The store behind.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    fn check(&self, spec: &EntrySpec) -> Result<(), RegistrationError> {
        self.check_member(&spec.parent_id).map_err(RegistrationError::ParentId)?;
        self.check_workload(&spec.spiffe_id).map_err(RegistrationError::SpiffeId)?;
        if self.authorized.would_close_a_cycle(spec) {
            let (parent, identity) = (spec.parent_id.clone(), spec.spiffe_id.clone());
            return Err(RegistrationError::Cycle { parent, identity });
        }
        if spec.federates_with.contains(&self.trust_domain) {
            return Err(RegistrationError::FederatesWithItself(self.trust_domain.clone()));
        }
        let is_address = |name: &&DnsName| name.as_str().parse::<Ipv4Addr>().is_ok();
        if let Some(address) = spec.dns_names.iter().find(is_address) {
            return Err(RegistrationError::DnsIsAddress(address.clone()));
        }
        match dns_overlap(&spec.dns_names) {
            Some((wildcard, name)) => Err(RegistrationError::DnsOverlap { wildcard, name }),
            None => Ok(()),
        }
    }

    fn check_domain(&self, id: &SpiffeId) -> Result<(), IdError> {
        if id.is_member_of(&self.trust_domain) {
            return Ok(());
        }
        let (id, trust_domain) = (id.clone(), self.trust_domain.clone());
        Err(IdError::Foreign { id, trust_domain })
    }
}

/// A wildcard and another name that it covers, as `*.a.b` covers `x.a.b` (RFC 6125 §6.4.3).
fn dns_overlap(names: &[DnsName]) -> Option<(DnsName, DnsName)> {
    let wildcards: HashSet<_> =
        names.iter().filter_map(|name| name.as_str().strip_prefix("*.")).collect();
    if wildcards.is_empty() {
        return None;
    }
    names.iter().find_map(|name| {
        let (label, rest) = name.as_str().split_once('.')?;
        if label == "*" || !wildcards.contains(rest) {
            return None;
        }
        let wildcard =
            names.iter().find(|other| other.as_str().strip_prefix("*.") == Some(rest))?;
        Some((wildcard.clone(), name.clone()))
    })
}

fn only_accepted<T>(items: Vec<T>, checks: &[Result<(), RegistrationError>]) -> Vec<T> {
    let checked = items.into_iter().zip(checks);
    checked.filter(|(_, check)| check.is_ok()).map(|(item, _)| item).collect()
}

/// Puts what the store answered about the accepted items between the refusals of the others.
fn merge<T>(
    checks: Vec<Result<(), RegistrationError>>,
    stored: Result<Vec<Result<T, EntryError>>, StoreError>,
) -> Vec<Result<T, RegistrationError>> {
    let (mut results, failed) = match stored {
        Ok(results) => (results.into_iter(), StoreError::Closed),
        Err(error) => (Vec::new().into_iter(), error),
    };
    let answer = |check: Result<(), _>| {
        check?;
        let result = results.next().unwrap_or_else(|| Err(failed.clone().into()));
        Ok(result?)
    };
    checks.into_iter().map(answer).collect()
}

#[cfg(test)]
mod tests;
