//! Groups: the subscriptions of one selector set, which share one view.

use super::{
    state::{CacheConfig, Group, Record, State, Touched},
    view::{BundleSet, Identity, View},
    watchers::{Interest, Watcher, Watchers},
};
use crate::{
    runtime::{Bell, Publisher, Reader},
    spiffe::{Bundle, EntryId, SelectorSet, TrustDomain},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};
use tokio::time::Instant;

/// A place in a group.
pub(super) struct Member {
    pub(super) view: Reader<Arc<View>>,
    pub(super) watcher: Watcher,
}

impl State {
    /// Joins the group of `selectors`, which is made when there is none; `bell` is rung at its changes.
    pub(super) fn join(
        &mut self,
        selectors: &SelectorSet,
        bell: &Arc<Bell>,
        config: &CacheConfig,
    ) -> Member {
        if let Some(group) = self.groups.get_mut(selectors) {
            return group.join(bell);
        }
        let matched = self.index.subsets_of(selectors);
        for id in &matched {
            self.add_reader(id, config);
        }
        let bundles = bundle_set(&mut self.bundle_sets, &self.bundles, Vec::new(), config);
        let empty = View::empty(bundles);
        let view = Publisher::new(Arc::new(empty));
        let mut group = Group { view, watchers: Watchers::default(), matched };
        let member = group.join(bell);
        self.group_index.insert(selectors, selectors);
        self.groups.insert(selectors.clone(), group);
        self.rebuild(selectors, config);
        member
    }

    /// Leaves the group of `selectors`, which is removed with its last member.
    pub(super) fn leave(
        &mut self,
        selectors: &SelectorSet,
        watcher: Watcher,
        config: &CacheConfig,
    ) {
        let Some(group) = self.groups.get_mut(selectors) else { return };
        group.watchers.leave(watcher);
        if !group.watchers.is_empty() {
            return;
        }
        if let Some(group) = self.groups.remove(selectors) {
            self.group_index.remove(selectors, selectors);
            for id in &group.matched {
                self.remove_reader(id, config);
            }
        }
    }

    /// Takes over what a member of the group of `selectors` follows now.
    pub(super) fn follow(&mut self, selectors: &SelectorSet, watcher: Watcher, bell: &Arc<Bell>) {
        if let Some(group) = self.groups.get_mut(selectors) {
            group.watchers.follow(watcher, bell);
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
        let Self { groups, records, bundles, bundle_sets, is_synced, .. } = self;
        let Some(group) = groups.get(key) else { return };
        let records: Vec<&Record> = group.matched.iter().filter_map(|id| records.get(id)).collect();
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
        let bundles = bundle_set(bundle_sets, bundles, federated, config);
        let made_at = Instant::now();
        group.publish(View { is_synced: *is_synced, identities, pending, bundles, made_at });
    }
}

/// The set in use of the own bundle and those of `federated`, which is made when there is none.
fn bundle_set(
    sets: &mut HashMap<Vec<TrustDomain>, Arc<BundleSet>>,
    bundles: &BTreeMap<TrustDomain, Arc<Bundle>>,
    federated: Vec<TrustDomain>,
    config: &CacheConfig,
) -> Arc<BundleSet> {
    if let Some(set) = sets.get(&federated) {
        return Arc::clone(set);
    }
    let own = bundles.get(&config.trust_domain).cloned();
    let foreign = federated
        .iter()
        .filter(|name| **name != config.trust_domain)
        .filter_map(|name| bundles.get(name).cloned())
        .collect();
    let set = BundleSet::new(own, foreign);
    sets.insert(federated, Arc::clone(&set));
    set
}

impl Group {
    fn join(&mut self, bell: &Arc<Bell>) -> Member {
        Member { view: self.view.reader(), watcher: self.watchers.join(bell) }
    }

    /// Replaces the view and wakes those who follow what differs.
    fn publish(&self, view: View) {
        let before = self.view.current();
        let change = view.difference(&before);
        let is_first = view.is_synced != before.is_synced;
        self.view.publish(Arc::new(view));
        if is_first { self.watchers.ring_all() } else { self.watchers.ring(change) }
    }
}

impl View {
    /// What a stream that has seen `before` has not seen yet.
    fn difference(&self, before: &Self) -> Interest {
        let is_same = self.identities.len() == before.identities.len()
            && self.identities.iter().zip(&before.identities).all(|(a, b)| Arc::ptr_eq(a, b));
        let identities = if is_same && self.pending == before.pending {
            Interest::Nothing
        } else {
            Interest::Identities
        };
        let is_same = Arc::ptr_eq(&self.bundles, &before.bundles);
        let bundles = if is_same { Interest::Nothing } else { Interest::Bundles };
        identities.and(bundles)
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
