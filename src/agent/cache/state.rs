//! The cache's state and the reader's handle. `groups`, `apply` and `signed` hold what is done with it.

use super::{
    due::DueQueue,
    index::{SubsetIndex, SupersetIndex},
    served::ServedSequence,
    view::{BundleSet, Identity, View},
    watchers::Watchers,
};
use crate::{
    runtime::{Backoff, Clock, Publisher, Reader},
    spiffe::{Bundle, Entry, EntryId, SelectorSet, TrustDomain, X509Svid},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

/// What a cache is made for.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// The agent's trust domain.
    pub trust_domain: TrustDomain,
    /// Tells when SVIDs are due.
    pub clock: Clock,
    /// How many SVIDs are kept ready for workloads that are not there (SPIRE's
    /// `x509_svid_cache_max_size`); those of present workloads are always kept.
    pub max_svids: usize,
}

/// A reader's handle. Clones see the same cache.
#[derive(Clone)]
pub struct Cache(pub(super) Arc<Shared>);

/// Everything in the cache at one moment, for the state that outlives the process.
#[derive(Clone, Debug)]
pub struct CacheSnapshot {
    /// All entries.
    pub entries: Vec<Arc<Entry>>,
    /// The SVIDs that are there.
    pub svids: Vec<StoredSvid>,
    /// All bundles.
    pub bundles: Vec<Arc<Bundle>>,
}

/// An SVID with the entry it was signed for and the time of its renewal.
#[derive(Clone, Debug)]
pub struct StoredSvid {
    /// The entry.
    pub entry: Arc<Entry>,
    /// The SVID.
    pub svid: X509Svid,
    /// When it is to be renewed.
    pub due: SystemTime,
}

pub(super) struct Shared {
    pub(super) config: CacheConfig,
    pub(super) state: Mutex<State>,
    pub(super) served: ServedSequence,
    /// Bumped when entries, SVIDs or bundles changed.
    pub(super) generation: Publisher<u64>,
    /// Bumped when something may be due sooner than it was.
    pub(super) work: Publisher<u64>,
    /// The agent ends, and with it every subscription.
    pub(super) has_ended: AtomicBool,
}

pub(super) struct State {
    pub(super) is_synced: bool,
    pub(super) records: HashMap<EntryId, Record>,
    pub(super) index: SubsetIndex<EntryId>,
    pub(super) groups: HashMap<SelectorSet, Group>,
    pub(super) group_index: SupersetIndex<SelectorSet>,
    pub(super) bundles: BTreeMap<TrustDomain, Arc<Bundle>>,
    /// The bundle sets in use, by the foreign trust domains in them: views share them.
    pub(super) bundle_sets: HashMap<Vec<TrustDomain>, Arc<BundleSet>>,
    pub(super) due: DueQueue,
    /// How many records want an SVID.
    pub(super) wanted: usize,
}

pub(super) struct Record {
    pub(super) entry: Arc<Entry>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) due: SystemTime,
    /// How many groups of present workloads match it.
    pub(super) readers: usize,
    /// Whether an SVID is kept for it.
    pub(super) is_wanted: bool,
    pub(super) retry: Backoff,
}

/// The subscriptions of one selector set, which share one view.
pub(super) struct Group {
    pub(super) view: Publisher<Arc<View>>,
    pub(super) watchers: Watchers,
    /// The entries that match.
    pub(super) matched: Vec<EntryId>,
}

/// What a change touched, to be published when it is complete.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) groups: HashSet<SelectorSet>,
    pub(super) every_group: bool,
}

impl Cache {
    /// Bumped after each change of what is in the cache.
    #[must_use]
    pub fn generation(&self) -> Reader<u64> {
        self.0.generation.reader()
    }

    /// The sequence of the own bundle that every stream has acknowledged.
    #[must_use]
    pub fn served_sequence(&self) -> &ServedSequence {
        &self.0.served
    }

    /// The own trust domain's bundle; none before the first sync.
    #[must_use]
    pub fn own_bundle(&self) -> Option<Arc<Bundle>> {
        self.0.state.lock().bundles.get(&self.0.config.trust_domain).cloned()
    }

    /// Whether the server (or the state of an earlier run) has said what there is.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.0.state.lock().is_synced
    }

    /// How many SVIDs are ready.
    #[must_use]
    pub fn svid_count(&self) -> usize {
        self.0.state.lock().records.values().filter(|record| record.identity.is_some()).count()
    }

    /// Everything, at one moment.
    #[must_use]
    pub fn snapshot(&self) -> CacheSnapshot {
        let state = self.0.state.lock();
        let stored = |record: &Record| {
            let identity = record.identity.as_ref()?;
            let entry = Arc::clone(&record.entry);
            Some(StoredSvid { entry, svid: identity.svid.clone(), due: record.due })
        };
        CacheSnapshot {
            entries: state.records.values().map(|record| Arc::clone(&record.entry)).collect(),
            svids: state.records.values().filter_map(stored).collect(),
            bundles: state.bundles.values().cloned().collect(),
        }
    }

    /// Changes the state and then publishes what the change touched.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State, &mut Touched) -> T) -> T {
        let mut touched = Touched::default();
        let result = {
            let mut state = self.0.state.lock();
            let result = change(&mut state, &mut touched);
            state.publish(&self.0.config, touched);
            result
        };
        self.0.generation.update(bump);
        result
    }

    /// Tells the one who signs to look again.
    pub(super) fn announce_work(&self) {
        self.0.work.update(bump);
    }
}

const fn bump(count: &mut u64) -> bool {
    *count = count.wrapping_add(1);
    true
}

impl Record {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        Self {
            entry,
            identity: None,
            due: SystemTime::UNIX_EPOCH,
            readers: 0,
            is_wanted: false,
            // 1 s to 60 s per entry: one that the server will not sign must not crowd out the others.
            retry: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        }
    }
}
