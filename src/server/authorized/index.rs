//! Entries by parent, and the walk from an agent to the parents that it reaches.
//!
//! Only identities that are parents in their turn lead the walk on. They are few beside the entries: the
//! edges between them are drawn anew when one comes or goes, and the walk touches nothing else.

use crate::spiffe::{Entry, EntryId, Selector, SelectorSet, SpiffeId};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// All entries, as the walk needs them.
pub(super) struct Index {
    /// The parent of aliases, which give their identity to the agents that have their selectors.
    server: SpiffeId,
    entries: HashMap<EntryId, Arc<Entry>>,
    by_parent: Groups,
    by_identity: Groups,
    edges: Option<Edges>,
    /// Grows when an edge may have come or gone.
    structure: u64,
}

/// Entries by an identity that they share; no list is empty.
#[derive(Default)]
struct Groups(HashMap<SpiffeId, Vec<Arc<Entry>>>);

/// The entries whose identity is a parent of others.
#[derive(Default)]
struct Edges {
    /// Aliases by the first of their selectors, which an agent must have to have them all.
    aliases: HashMap<Selector, Vec<Arc<Entry>>>,
    /// All others by their parent.
    nested: HashMap<SpiffeId, Vec<Arc<Entry>>>,
}

/// What an agent reaches.
pub(super) struct Reach {
    /// The parents, the agent among them.
    pub(super) parents: Arc<HashSet<SpiffeId>>,
    /// The second from which on time alone may have changed them.
    pub(super) valid_until: i64,
}

impl Index {
    pub(super) fn new(server: SpiffeId, entries: Vec<Arc<Entry>>) -> Self {
        let mut index = Self {
            server,
            entries: HashMap::new(),
            by_parent: Groups::default(),
            by_identity: Groups::default(),
            edges: None,
            structure: 0,
        };
        index.rebuild(entries);
        index
    }

    /// Starts over with `entries`.
    pub(super) fn rebuild(&mut self, entries: Vec<Arc<Entry>>) {
        self.entries.clear();
        self.by_parent.0.clear();
        self.by_identity.0.clear();
        self.structure_changed();
        entries.into_iter().for_each(|entry| self.insert(entry));
    }

    /// Puts `new` in the place of the entry `id`, whether there was one or not.
    pub(super) fn replace(&mut self, id: &EntryId, new: Option<Arc<Entry>>) {
        if let Some(old) = self.entries.remove(id) {
            let last_child = self.by_parent.remove(&old.spec.parent_id, &old);
            self.by_identity.remove(&old.spec.spiffe_id, &old);
            self.note_structure(&old, last_child);
        }
        new.into_iter().for_each(|entry| self.insert(entry));
    }

    pub(super) fn entry(&self, id: &EntryId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    pub(super) fn children(&self, parent: &SpiffeId) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_parent.of(parent)
    }

    /// A number that changes when what an agent reaches may have changed, other than by its node or by
    /// time.
    pub(super) const fn structure(&self) -> u64 {
        self.structure
    }

    /// Walks from `agent`, on a node with `selectors`, to every parent whose entries it may use.
    pub(super) fn reach(&mut self, agent: &SpiffeId, selectors: &SelectorSet, now: i64) -> Reach {
        let edges = self
            .edges
            .get_or_insert_with(|| Edges::draw(&self.server, &self.by_parent, &self.by_identity));
        let (mut parents, mut valid_until) = (HashSet::from([agent.clone()]), i64::MAX);
        let mut pending = vec![agent.clone()];
        let mut follow = |entry: &Entry, pending: &mut Vec<SpiffeId>| {
            let spec = &entry.spec;
            if spec.has_ended(now) {
                return;
            }
            if spec.expires_at != 0 {
                valid_until = valid_until.min(spec.expires_at);
            }
            if parents.insert(spec.spiffe_id.clone()) {
                pending.push(spec.spiffe_id.clone());
            }
        };
        for alias in edges.aliases_of(selectors) {
            follow(alias, &mut pending);
        }
        while let Some(parent) = pending.pop() {
            for entry in edges.nested.get(&parent).into_iter().flatten() {
                follow(entry, &mut pending);
            }
        }
        Reach { parents: Arc::new(parents), valid_until }
    }

    /// Whether `identity` is `ancestor` or one of the entries below it gives `identity`.
    pub(super) fn is_descendant(&self, identity: &SpiffeId, ancestor: &SpiffeId) -> bool {
        let (mut seen, mut pending) = (HashSet::from([ancestor]), vec![ancestor]);
        while let Some(parent) = pending.pop() {
            if parent == identity {
                return true;
            }
            for child in self.by_parent.of(parent).map(|entry| &entry.spec.spiffe_id) {
                let leads_on = child == identity || self.by_parent.contains(child);
                if leads_on && seen.insert(child) {
                    pending.push(child);
                }
            }
        }
        false
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        let first_child = self.by_parent.insert(&entry.spec.parent_id, &entry);
        self.by_identity.insert(&entry.spec.spiffe_id, &entry);
        self.note_structure(&entry, first_child);
        self.entries.insert(entry.id.clone(), entry);
    }

    /// Notes that `entry` came or went; `turned` when its parent began or ceased to be one.
    fn note_structure(&mut self, entry: &Entry, turned: bool) {
        let spec = &entry.spec;
        // Nothing leads to an agent or the server: no entry may give a reserved identity.
        let parent_turned = turned && !spec.parent_id.is_reserved();
        if parent_turned || self.by_parent.contains(&spec.spiffe_id) {
            self.structure_changed();
        }
    }

    fn structure_changed(&mut self) {
        self.structure += 1;
        self.edges = None;
    }
}

impl Edges {
    fn draw(server: &SpiffeId, by_parent: &Groups, by_identity: &Groups) -> Self {
        let mut edges = Self::default();
        for identity in by_parent.0.keys() {
            for entry in by_identity.of(identity) {
                let spec = &entry.spec;
                let group = if spec.parent_id == *server {
                    let Some(first) = spec.selectors.as_slice().first() else { continue };
                    edges.aliases.entry(first.clone()).or_default()
                } else {
                    edges.nested.entry(spec.parent_id.clone()).or_default()
                };
                group.push(Arc::clone(entry));
            }
        }
        edges
    }

    fn aliases_of(&self, selectors: &SelectorSet) -> impl Iterator<Item = &Arc<Entry>> {
        let candidates = selectors.as_slice().iter().filter_map(|first| self.aliases.get(first));
        candidates.flatten().filter(|alias| alias.spec.selectors.is_subset_of(selectors))
    }
}

impl Groups {
    fn of(&self, identity: &SpiffeId) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.get(identity).into_iter().flatten()
    }

    fn contains(&self, identity: &SpiffeId) -> bool {
        self.0.contains_key(identity)
    }

    /// Adds `entry`; returns whether it is the first of its group.
    fn insert(&mut self, identity: &SpiffeId, entry: &Arc<Entry>) -> bool {
        match self.0.get_mut(identity) {
            Some(group) => {
                group.push(Arc::clone(entry));
                false
            }
            None => self.0.insert(identity.clone(), vec![Arc::clone(entry)]).is_none(),
        }
    }

    /// Removes `entry`; returns whether it was the last of its group.
    fn remove(&mut self, identity: &SpiffeId, entry: &Arc<Entry>) -> bool {
        let Some(group) = self.0.get_mut(identity) else { return false };
        if let Some(place) = group.iter().position(|member| Arc::ptr_eq(member, entry)) {
            group.swap_remove(place);
        }
        let was_last = group.is_empty();
        if was_last {
            self.0.remove(identity);
        }
        was_last
    }
}
