//! Makes a cache and gives out its writers, of which there are no others.

use super::{
    apply::EntryWriter,
    due::DueQueue,
    index::{SubsetIndex, SupersetIndex},
    served::ServedSequence,
    signed::SvidWriter,
    state::{Cache, CacheConfig, Shared, State},
};
use crate::runtime::Publisher;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicBool},
};

impl Cache {
    /// An empty cache and its two writers, of which there are no others.
    #[must_use]
    pub fn new(config: CacheConfig) -> (Self, EntryWriter, SvidWriter) {
        let state = State {
            is_synced: false,
            records: HashMap::new(),
            index: SubsetIndex::new(),
            groups: HashMap::new(),
            group_index: SupersetIndex::new(),
            bundles: BTreeMap::new(),
            bundle_sets: HashMap::new(),
            due: DueQueue::default(),
            wanted: 0,
        };
        let cache = Self(Arc::new(Shared {
            config,
            state: Mutex::new(state),
            served: ServedSequence::new(),
            generation: Publisher::new(0),
            work: Publisher::new(0),
            has_ended: AtomicBool::new(false),
        }));
        let work = cache.0.work.reader();
        (cache.clone(), EntryWriter::new(cache.clone()), SvidWriter::new(cache, work))
    }
}
