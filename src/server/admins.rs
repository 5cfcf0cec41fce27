//! Which identities may administer the server over TLS: those that an entry with `admin` gives.
//!
//! Owns an index of those few entries, which catches up with the store's change log at each question:
//! an answer never misses a write that was acknowledged before, and never reads all entries again.

use super::store::{Changes, Store, Subject};
use crate::{
    runtime::Clock,
    spiffe::{Entry, EntryId, SpiffeId},
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// Answers who is an administrator. Clones share the index.
#[derive(Clone)]
pub(super) struct Admins(Arc<Shared>);

struct Shared {
    store: Store,
    clock: Clock,
    index: Mutex<Index>,
}

/// The entries with `admin`.
struct Index {
    entries: HashMap<EntryId, Arc<Entry>>,
    /// The change of the store up to which they are right.
    sequence: u64,
}

impl Admins {
    /// An index over `store`. Reads every entry once.
    #[must_use]
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        let index = Mutex::new(Index::read(&store));
        Self(Arc::new(Shared { store, clock, index }))
    }

    /// Whether an entry with `admin`, one that has not ended, gives this identity.
    #[must_use]
    pub(super) fn contains(&self, id: &SpiffeId) -> bool {
        let now = self.0.clock.unix_now();
        let mut index = self.0.index.lock();
        index.catch_up(&self.0.store);
        let mut entries = index.entries.values();
        entries.any(|entry| entry.spec.spiffe_id == *id && !entry.spec.has_ended(now))
    }
}

impl Index {
    fn read(store: &Store) -> Self {
        let (sequence, entries) = store.entries_at();
        let admins = entries.into_iter().filter(|entry| entry.spec.admin);
        Self { entries: admins.map(|entry| (entry.id.clone(), entry)).collect(), sequence }
    }

    fn catch_up(&mut self, store: &Store) {
        let Changes::Events(events) = store.changes_since(self.sequence) else {
            *self = Self::read(store);
            return;
        };
        for change in events {
            self.sequence = change.sequence;
            let Subject::Entry(id) = change.subject else { continue };
            match store.entry(&id).filter(|entry| entry.spec.admin) {
                Some(entry) => drop(self.entries.insert(id, entry)),
                None => drop(self.entries.remove(&id)),
            }
        }
    }
}
