//! The store's memory: what is committed, as readers see it. Changed by whole effects only, and only by
//! the writer.

use super::{
    changes::{ChangeLog, Subject},
    node::Node,
    records::{Record, Records},
};
use crate::spiffe::{Bundle, Entry, EntryId, SpiffeId, TrustDomain};
use std::{
    collections::{BTreeMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

/// What one statement did to one record.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// An entry was created or updated.
    PutEntry(i64, Arc<Entry>),
    /// An entry was deleted.
    DropEntry(EntryId),
    /// A node was created or updated.
    PutNode(i64, Arc<Node>),
    /// A node was deleted.
    DropNode(SpiffeId),
    /// A bundle was created or updated.
    PutBundle(Arc<Bundle>),
    /// The CA's journal was written.
    PutJournal(Arc<[u8]>),
}

/// An entry, compared by what a server stores once only (server.md §3.2).
#[derive(Clone, Debug)]
pub(super) struct Similar(pub(super) Arc<Entry>);

/// Everything that is committed.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) entries: Records<Entry>,
    pub(super) similar: HashSet<Similar>,
    pub(super) nodes: Records<Node>,
    pub(super) bundles: BTreeMap<TrustDomain, Arc<Bundle>>,
    pub(super) journal: Option<Arc<[u8]>>,
    pub(super) log: ChangeLog,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            entries: Records::new(),
            similar: HashSet::new(),
            nodes: Records::new(),
            bundles: BTreeMap::new(),
            journal: None,
            log: ChangeLog::new(),
        }
    }

    /// Makes the effect of a committed statement visible and logs it.
    pub(super) fn apply(&mut self, effect: Effect) {
        if let Some(subject) = effect.subject() {
            self.log.push(subject);
        }
        match effect {
            Effect::PutEntry(row, entry) => self.put_entry(row, entry),
            Effect::DropEntry(id) => self.drop_entry(&id),
            Effect::PutNode(row, node) => self.nodes.put(row, node),
            Effect::DropNode(id) => self.nodes.remove(&id),
            Effect::PutBundle(bundle) => {
                self.bundles.insert(bundle.trust_domain().clone(), bundle);
            }
            Effect::PutJournal(journal) => self.journal = Some(journal),
        }
    }

    pub(super) fn put_entry(&mut self, row: i64, entry: Arc<Entry>) {
        self.forget_similar(&entry.id);
        self.similar.insert(Similar(Arc::clone(&entry)));
        self.entries.put(row, entry);
    }

    fn drop_entry(&mut self, id: &EntryId) {
        self.forget_similar(id);
        self.entries.remove(id);
    }

    fn forget_similar(&mut self, id: &EntryId) {
        let Some((_, old)) = self.entries.get(id) else { return };
        let old = Similar(Arc::clone(old));
        // A database that another tool wrote may hold similar entries; only one of them is indexed.
        if self.similar.get(&old).is_some_and(|indexed| indexed.0.id == *id) {
            self.similar.remove(&old);
        }
    }
}

impl Effect {
    fn subject(&self) -> Option<Subject> {
        Some(match self {
            Self::PutEntry(_, entry) => Subject::Entry(entry.id.clone()),
            Self::DropEntry(id) => Subject::Entry(id.clone()),
            Self::PutNode(_, node) => Subject::Node(node.id.clone()),
            Self::DropNode(id) => Subject::Node(id.clone()),
            Self::PutBundle(bundle) => Subject::Bundle(bundle.trust_domain().clone()),
            Self::PutJournal(_) => return None,
        })
    }
}

impl Record for Entry {
    type Key = EntryId;

    fn key(&self) -> &EntryId {
        &self.id
    }
}

impl Record for Node {
    type Key = SpiffeId;

    fn key(&self) -> &SpiffeId {
        &self.id
    }
}

impl PartialEq for Similar {
    fn eq(&self, other: &Self) -> bool {
        self.0.spec.is_similar_to(&other.0.spec)
    }
}

impl Eq for Similar {}

impl Hash for Similar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let spec = &self.0.spec;
        (&spec.spiffe_id, &spec.parent_id, &spec.selectors).hash(state);
    }
}
