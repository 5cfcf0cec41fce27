//! What the server says: entries and bundles, whole or as changes.

use super::{
    state::{Cache, CacheConfig, Record, State, Touched},
    view::{Identity, Memo},
};
use crate::spiffe::{Bundle, Entry, EntryId, TrustDomain};
use std::{collections::HashSet, sync::Arc, time::SystemTime};

/// The right to say which entries and bundles there are. Held by the sync task alone.
pub struct EntryWriter(Cache);

/// Whether an update is the whole truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// Entries that are not in it no longer exist.
    Snapshot,
    /// Everything that is not in it stays as it is.
    Delta,
}

/// News from the server, or the state of an earlier run.
#[derive(Clone, Debug)]
pub struct Update {
    /// Whether it is the whole truth about entries.
    pub kind: UpdateKind,
    /// Entries that are new or changed.
    pub entries: Vec<Entry>,
    /// Entries that are gone.
    pub removed_entries: Vec<EntryId>,
    /// Bundles that are new or changed, whole.
    pub bundles: Vec<Bundle>,
    /// Trust domains whose bundle is gone.
    pub removed_bundles: Vec<TrustDomain>,
}

impl EntryWriter {
    pub(super) const fn new(cache: Cache) -> Self {
        Self(cache)
    }

    /// Takes `update` over in one step: nobody sees half of it. Bundles count before entries, so that
    /// a bundle always reaches a peer before a leaf that needs it.
    pub fn apply(&self, update: Update) {
        let config = &self.0.0.config;
        self.0.change(|state, touched| {
            state.apply_bundles(update.bundles, &update.removed_bundles, config, touched);
            if update.kind == UpdateKind::Snapshot {
                let listed: HashSet<&EntryId> = update.entries.iter().map(|e| &e.id).collect();
                let gone: Vec<_> =
                    state.records.keys().filter(|id| !listed.contains(id)).cloned().collect();
                gone.iter().for_each(|id| state.remove_entry(id, config, touched));
                touched.every_group |= !state.is_synced;
                state.is_synced = true;
            }
            for id in &update.removed_entries {
                state.remove_entry(id, config, touched);
            }
            for entry in update.entries {
                state.put_entry(entry, config, touched);
            }
        });
        if let Some(own) = self.0.own_bundle() {
            self.0.served_sequence().set_current(own.sequence());
        }
        self.0.announce_work();
    }
}

impl State {
    fn put_entry(&mut self, entry: Entry, config: &CacheConfig, touched: &mut Touched) {
        let id = entry.id.clone();
        let known = self.records.get(&id).map(|record| Arc::clone(&record.entry));
        match known {
            Some(known) if *known == entry => {}
            // Deleted and created again under one id is another entry (spiffe/spire#5686).
            Some(known) if known.created_at != entry.created_at => {
                self.remove_entry(&id, config, touched);
                self.add_entry(entry, config, touched);
            }
            Some(known) => self.change_entry(&known, entry, config, touched),
            None => self.add_entry(entry, config, touched),
        }
    }

    fn add_entry(&mut self, entry: Entry, config: &CacheConfig, touched: &mut Touched) {
        let entry = Arc::new(entry);
        let id = entry.id.clone();
        self.index.insert(id.clone(), &entry.spec.selectors);
        self.records.insert(id.clone(), Record::new(Arc::clone(&entry)));
        let groups = self.group_index.supersets_of(&entry.spec.selectors);
        self.join_groups(&id, groups, config, touched);
        self.reconsider(&id, config);
    }

    fn change_entry(
        &mut self,
        known: &Entry,
        entry: Entry,
        config: &CacheConfig,
        touched: &mut Touched,
    ) {
        let entry = Arc::new(entry);
        let id = &entry.id;
        let (old, new) = (&known.spec, &entry.spec);
        if let Some(record) = self.records.get_mut(id) {
            record.entry = Arc::clone(&entry);
            record.identity = match record.identity.take() {
                Some(identity) if old.spiffe_id == new.spiffe_id => Some(Arc::new(Identity {
                    entry: Arc::clone(&entry),
                    svid: identity.svid.clone(),
                    encoded: Memo::default(),
                })),
                _ => None,
            };
        }
        let before: HashSet<_> =
            self.group_index.supersets_of(&old.selectors).into_iter().collect();
        let after: HashSet<_> = self.group_index.supersets_of(&new.selectors).into_iter().collect();
        self.index.remove(id, &old.selectors);
        self.index.insert(id.clone(), &new.selectors);
        // Joining comes first: an entry that keeps a reader keeps its SVID.
        self.join_groups(id, after.difference(&before).cloned(), config, touched);
        self.leave_groups(id, before.difference(&after).cloned(), config, touched);
        touched.groups.extend(after);
        self.reconsider(id, config);
        let signs_the_same = old.spiffe_id == new.spiffe_id
            && old.dns_names == new.dns_names
            && old.x509_svid_ttl_secs == new.x509_svid_ttl_secs;
        if !signs_the_same {
            self.sign_now(id);
        }
    }

    fn remove_entry(&mut self, id: &EntryId, config: &CacheConfig, touched: &mut Touched) {
        let Some(record) = self.records.get(id) else { return };
        let entry = Arc::clone(&record.entry);
        let groups = self.group_index.supersets_of(&entry.spec.selectors);
        self.leave_groups(id, groups, config, touched);
        self.index.remove(id, &entry.spec.selectors);
        self.due.remove(id);
        if self.records.remove(id).is_some_and(|record| record.is_wanted) {
            self.wanted -= 1;
        }
    }

    fn apply_bundles(
        &mut self,
        bundles: Vec<Bundle>,
        removed: &[TrustDomain],
        config: &CacheConfig,
        touched: &mut Touched,
    ) {
        let mut has_changed = false;
        for name in removed.iter().filter(|name| **name != config.trust_domain) {
            has_changed |= self.bundles.remove(name).is_some();
        }
        for bundle in bundles {
            let name = bundle.trust_domain().clone();
            if self.bundles.get(&name).is_some_and(|known| **known == bundle) {
                continue;
            }
            has_changed = true;
            self.bundles.insert(name, Arc::new(bundle));
        }
        if has_changed {
            self.bundle_sets.clear();
            touched.every_group = true;
            self.recheck_authorities(config);
        }
    }

    /// After a change of the own bundle: an SVID whose authority is tainted is renewed at once, and one
    /// whose authority is gone is withdrawn besides, since no peer will verify it.
    fn recheck_authorities(&mut self, config: &CacheConfig) {
        let Some(own) = self.bundles.get(&config.trust_domain).cloned() else { return };
        let mut renew = Vec::new();
        for (id, record) in &mut self.records {
            let Some(identity) = &record.identity else { continue };
            let authority = identity.svid.chain().last().and_then(|top| own.authority_of(top));
            if authority.is_some_and(|authority| !authority.tainted) {
                continue;
            }
            if authority.is_none() {
                record.identity = None;
            }
            renew.push(id.clone());
        }
        renew.iter().for_each(|id| self.sign_now(id));
    }

    fn sign_now(&mut self, id: &EntryId) {
        let Some(record) = self.records.get_mut(id) else { return };
        if record.is_wanted {
            record.due = SystemTime::UNIX_EPOCH;
            record.retry.reset();
            self.due.set(id, record.due);
        }
    }
}
