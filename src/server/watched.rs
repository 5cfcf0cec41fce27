//! What one watching agent has been sent, and what it must be sent next to know what holds now.
//!
//! Owns the comparison and nothing else: no stream, no waiting. State is what was sent, not a queue of
//! what happened, so an agent that reads slowly is owed the difference and never a backlog.

use super::{
    authorized::Authorized,
    store::{Change, Store, Subject},
};
use crate::spiffe::{Bundle, Entry, EntryId, SpiffeId, TrustDomain};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// What one agent has been sent.
pub(super) struct Watched {
    agent: SpiffeId,
    trust_domain: TrustDomain,
    store: Store,
    authorized: Authorized,
    /// The allocation changes when the agent may use other parents' entries ([`Authorized::parents_of`]).
    parents: Arc<HashSet<SpiffeId>>,
    entries: HashMap<EntryId, Arc<Entry>>,
    /// When those of them end that do, in seconds since the Unix epoch.
    ends: BTreeSet<(i64, EntryId)>,
    bundles: HashMap<TrustDomain, Arc<Bundle>>,
}

/// What an agent must be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Entries that are new or changed.
    pub(super) entries: Vec<Arc<Entry>>,
    /// Entries that the agent may no longer use.
    pub(super) removed_entries: Vec<EntryId>,
    /// Bundles that are new or changed, the own trust domain's first.
    pub(super) bundles: Vec<Arc<Bundle>>,
    /// Trust domains whose bundles the agent no longer needs, or which are gone.
    pub(super) removed_bundles: Vec<TrustDomain>,
}

impl Watched {
    /// Nothing sent yet.
    #[must_use]
    pub(super) fn new(
        agent: SpiffeId,
        trust_domain: TrustDomain,
        store: Store,
        authorized: Authorized,
    ) -> Self {
        let (parents, entries, ends, bundles) = Default::default();
        Self { agent, trust_domain, store, authorized, parents, entries, ends, bundles }
    }

    /// Compares everything. What is returned counts as sent.
    pub(super) fn everything(&mut self) -> Difference {
        self.parents = self.authorized.parents_of(&self.agent);
        let mut difference = Difference::default();
        let mut gone = std::mem::take(&mut self.entries);
        self.ends.clear();
        for entry in self.authorized.entries_for(&self.agent) {
            if gone.remove(&entry.id).is_none_or(|sent| sent != entry) {
                difference.entries.push(Arc::clone(&entry));
            }
            self.keep(entry);
        }
        difference.removed_entries = gone.into_keys().collect();
        self.compare_bundles(&mut difference);
        difference
    }

    /// Compares what `changes` may have touched. What is returned counts as sent.
    pub(super) fn changed(&mut self, changes: &[Change]) -> Difference {
        if !Arc::ptr_eq(&self.parents, &self.authorized.parents_of(&self.agent)) {
            return self.everything();
        }
        let mut difference = Difference::default();
        let mut may_touch_bundles = false;
        let mut touched = BTreeSet::new();
        for change in changes {
            match &change.subject {
                Subject::Entry(id) => drop(touched.insert(id)),
                Subject::Bundle(_) => may_touch_bundles = true,
                Subject::Node(_) => {}
            }
        }
        for id in touched {
            may_touch_bundles |= self.compare_entry(id, &mut difference);
        }
        if may_touch_bundles {
            self.compare_bundles(&mut difference);
        }
        difference
    }

    /// When the next of the sent entries ends by itself, in seconds since the Unix epoch: nobody else
    /// will tell at that second, and [`Watched::everything`] is to be asked.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.ends.first().map(|(end, _)| *end)
    }

    fn keep(&mut self, entry: Arc<Entry>) {
        if entry.spec.expires_at != 0 {
            self.ends.insert((entry.spec.expires_at, entry.id.clone()));
        }
        self.entries.insert(entry.id.clone(), entry);
    }

    fn forget(&mut self, id: &EntryId) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(id)?;
        self.ends.remove(&(entry.spec.expires_at, entry.id.clone()));
        Some(entry)
    }

    /// Whether the agent may now need other bundles.
    fn compare_entry(&mut self, id: &EntryId, difference: &mut Difference) -> bool {
        let federates = |entry: &Arc<Entry>| !entry.spec.federates_with.is_empty();
        let Some(entry) = self.authorized.may_use(&self.agent, id) else {
            let Some(sent) = self.forget(id) else { return false };
            difference.removed_entries.push(id.clone());
            return federates(&sent);
        };
        let may_touch = federates(&entry);
        let sent = self.forget(id);
        self.keep(Arc::clone(&entry));
        if sent.as_ref() != Some(&entry) {
            difference.entries.push(entry);
        }
        may_touch || sent.as_ref().is_some_and(federates)
    }

    fn compare_bundles(&mut self, difference: &mut Difference) {
        let federated: BTreeSet<&TrustDomain> =
            self.entries.values().flat_map(|entry| &entry.spec.federates_with).collect();
        let needed = std::iter::once(&self.trust_domain)
            .chain(federated.into_iter().filter(|name| **name != self.trust_domain));
        let mut gone = std::mem::take(&mut self.bundles);
        for trust_domain in needed {
            let Some(bundle) = self.store.bundle(trust_domain) else { continue };
            if gone.remove(trust_domain).is_none_or(|sent| sent != bundle) {
                difference.bundles.push(Arc::clone(&bundle));
            }
            self.bundles.insert(trust_domain.clone(), bundle);
        }
        difference.removed_bundles = gone.into_keys().collect();
    }
}

impl Difference {
    /// Whether there is nothing to send.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
