//! Groups: the subscriptions of one selector set, which share one view.

use super::{
    state::{CacheConfig, Group, Record, State, Touched},
    view::{BundleSet, Identity, View},
};
use crate::{
    runtime::{Publisher, Reader},
    spiffe::{EntryId, SelectorSet, TrustDomain},
};
use std::{cmp::Reverse, sync::Arc, time::SystemTime};
use tokio::time::Instant;

impl State {
    /// Joins the group of `selectors`, which is made when there is none.
    pub(super) fn join(
        &mut self,
        selectors: &SelectorSet,
        config: &CacheConfig,
    ) -> Reader<Arc<View>> {
        if let Some(group) = self.groups.get_mut(selectors) {
            group.subscriptions += 1;
            return group.view.reader();
        }
        let matched = self.index.subsets_of(selectors);
        for id in &matched {
            self.add_reader(id, config);
        }
        let empty = View::empty(self.bundle_set(Vec::new(), config));
        let group = Group { view: Publisher::new(Arc::new(empty)), subscriptions: 1, matched };
        let reader = group.view.reader();
        self.group_index.insert(selectors, selectors);
        self.groups.insert(selectors.clone(), group);
        self.rebuild(selectors, config);
        reader
    }

    /// Leaves the group of `selectors`, which is removed with its last subscription.
    pub(super) fn leave(&mut self, selectors: &SelectorSet, config: &CacheConfig) {
        let Some(group) = self.groups.get_mut(selectors) else { return };
        group.subscriptions -= 1;
        if group.subscriptions > 0 {
            return;
        }
        if let Some(group) = self.groups.remove(selectors) {
            self.group_index.remove(selectors, selectors);
            for id in &group.matched {
                self.remove_reader(id, config);
            }
        }
    }

    /// Adds `entry` to the groups with these selector sets.
    pub(super) fn join_groups(
        &mut self,
        entry: &EntryId,
        keys: impl IntoIterator<Item = SelectorSet>,
        config: &CacheConfig,
        touched: &mut Touched,
    ) {
        for key in keys {
            if let Some(group) = self.groups.get_mut(&key) {
                group.matched.push(entry.clone());
                self.add_reader(entry, config);
                touched.groups.insert(key);
            }
        }
    }

    /// Takes `entry` out of the groups with these selector sets.
    pub(super) fn leave_groups(
        &mut self,
        entry: &EntryId,
        keys: impl IntoIterator<Item = SelectorSet>,
        config: &CacheConfig,
        touched: &mut Touched,
    ) {
        for key in keys {
            if let Some(group) = self.groups.get_mut(&key) {
                group.matched.retain(|matched| matched != entry);
                self.remove_reader(entry, config);
                touched.groups.insert(key);
            }
        }
    }

    /// Rebuilds and publishes the views that a change touched.
    pub(super) fn publish(&mut self, config: &CacheConfig, touched: Touched) {
        let keys: Vec<_> = if touched.every_group {
            self.groups.keys().cloned().collect()
        } else {
            touched.groups.into_iter().collect()
        };
        for key in keys {
            self.rebuild(&key, config);
        }
    }

    fn rebuild(&mut self, key: &SelectorSet, config: &CacheConfig) {
        let Some(group) = self.groups.get(key) else { return };
        let records: Vec<&Record> =
            group.matched.iter().filter_map(|id| self.records.get(id)).collect();
        let now = config.clock.now();
        let mut identities: Vec<_> = records
            .iter()
            .filter_map(|record| record.identity.clone())
            .filter(|identity| identity.svid.is_valid_at(now))
            .collect();
        identities.sort_by_key(default_first);
        let awaited = records.iter().filter(|record| !record.entry.spec.store_svid).count();
        let pending = awaited.saturating_sub(identities.len());
        let mut federated: Vec<TrustDomain> =
            records.iter().flat_map(|record| &record.entry.spec.federates_with).cloned().collect();
        federated.sort_unstable();
        federated.dedup();
        let bundles = self.bundle_set(federated, config);
        let made_at = Instant::now();
        let view = View { is_synced: self.is_synced, identities, pending, bundles, made_at };
        if let Some(group) = self.groups.get(key) {
            group.view.publish(Arc::new(view));
        }
    }

    fn bundle_set(&mut self, federated: Vec<TrustDomain>, config: &CacheConfig) -> Arc<BundleSet> {
        if let Some(set) = self.bundle_sets.get(&federated) {
            return Arc::clone(set);
        }
        let own = self.bundles.get(&config.trust_domain).cloned();
        let foreign = federated
            .iter()
            .filter(|name| **name != config.trust_domain)
            .filter_map(|name| self.bundles.get(name).cloned())
            .collect();
        let set = BundleSet::new(own, foreign);
        self.bundle_sets.insert(federated, Arc::clone(&set));
        set
    }
}

/// The order of a workload's identities: the one hinted `default`, then the oldest entry, then by id,
/// so that the default identity never depends on chance (spiffe/spire#744).
fn default_first(identity: &Arc<Identity>) -> (Reverse<bool>, i64, EntryId) {
    let entry = &identity.entry;
    (Reverse(entry.spec.hint.as_str() == "default"), entry.created_at, entry.id.clone())
}

impl State {
    fn add_reader(&mut self, id: &EntryId, config: &CacheConfig) {
        if let Some(record) = self.records.get_mut(id) {
            record.readers += 1;
        }
        self.reconsider(id, config);
    }

    fn remove_reader(&mut self, id: &EntryId, config: &CacheConfig) {
        if let Some(record) = self.records.get_mut(id) {
            record.readers = record.readers.saturating_sub(1);
        }
        self.reconsider(id, config);
    }

    /// Decides anew whether an SVID is kept for an entry: always for present workloads, and ahead of
    /// time for others as long as there is room.
    pub(super) fn reconsider(&mut self, id: &EntryId, config: &CacheConfig) {
        let Some(record) = self.records.get_mut(id) else { return };
        let spec = &record.entry.spec;
        let others = self.wanted - usize::from(record.is_wanted);
        let has_room = others < config.max_svids;
        let is_wanted = !spec.store_svid
            && (record.readers > 0 || (has_room && !spec.disable_x509_svid_prefetch));
        if is_wanted == record.is_wanted {
            return;
        }
        record.is_wanted = is_wanted;
        if is_wanted {
            self.wanted += 1;
            record.due = SystemTime::UNIX_EPOCH;
            self.due.set(id, record.due);
        } else {
            self.wanted -= 1;
            record.identity = None;
            self.due.remove(id);
        }
    }
}
