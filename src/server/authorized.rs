//! Which entries an agent may use (server.md §3.4). Owns an index of the store's entries by parent and
//! what it remembers of each agent; knows nothing of requests.
//!
//! No task runs it: every question first catches up with the store's change log, so that an answer never
//! misses a write that was acknowledged before the question.

mod index;

use self::index::{Index, Reach};
use super::store::{Changes, Node, Store, Subject};
use crate::{
    runtime::Clock,
    spiffe::{Entry, EntryId, EntrySpec, SelectorSet, SpiffeId, TrustDomain},
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Answers which entries an agent may use. Clones share the index.
#[derive(Clone)]
pub struct Authorized(Arc<Shared>);

struct Shared {
    store: Store,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    index: Index,
    /// The change of the store up to which the index is right.
    sequence: u64,
    /// What agents reach, by agent; only agents that have asked are in it.
    reaches: HashMap<SpiffeId, (u64, Reach)>,
}

impl Authorized {
    /// An index over `store`. Reads every entry once.
    #[must_use]
    pub fn new(store: Store, trust_domain: &TrustDomain, clock: Clock) -> Self {
        let (sequence, entries) = store.entries_at();
        let index = Index::new(trust_domain.server_id(), entries);
        let state = State { index, sequence, reaches: HashMap::new() };
        Self(Arc::new(Shared { store, clock, state: Mutex::new(state) }))
    }

    /// The entries that `agent` may use, in no particular order.
    #[must_use]
    pub fn entries_for(&self, agent: &SpiffeId) -> Vec<Arc<Entry>> {
        let now = self.0.clock.unix_now();
        let mut state = self.caught_up();
        let parents = self.parents(&mut state, agent, now);
        let mut entries = Vec::new();
        for parent in parents.iter() {
            let children = state.index.children(parent);
            entries.extend(children.filter(|entry| !entry.spec.has_ended(now)).cloned());
        }
        entries
    }

    /// The entry, if `agent` may use it. Takes as long for an agent of many entries as for one of few.
    #[must_use]
    pub fn may_use(&self, agent: &SpiffeId, entry: &EntryId) -> Option<Arc<Entry>> {
        let now = self.0.clock.unix_now();
        let mut state = self.caught_up();
        let entry = state.index.entry(entry).filter(|entry| !entry.spec.has_ended(now)).cloned()?;
        let parents = self.parents(&mut state, agent, now);
        parents.contains(&entry.spec.parent_id).then_some(entry)
    }

    /// The parents whose entries `agent` may use: itself, its aliases, and the identities of its entries
    /// that are parents in their turn.
    ///
    /// It is the same allocation until the set changes: as long as it is, a changed entry concerns the
    /// agent if its parent is in the set; once it is not, [`Authorized::entries_for`] is to be asked anew.
    #[must_use]
    pub fn parents_of(&self, agent: &SpiffeId) -> Arc<HashSet<SpiffeId>> {
        let now = self.0.clock.unix_now();
        self.parents(&mut self.caught_up(), agent, now)
    }

    /// Whether `spec` would make its identity a descendant of itself.
    #[must_use]
    pub fn would_close_a_cycle(&self, spec: &EntrySpec) -> bool {
        self.caught_up().index.is_descendant(&spec.parent_id, &spec.spiffe_id)
    }

    fn caught_up(&self) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.0.state.lock();
        match self.0.store.changes_since(state.sequence) {
            Changes::TooOld => {
                let (sequence, entries) = self.0.store.entries_at();
                state.index.rebuild(entries);
                state.reaches.clear();
                state.sequence = sequence;
            }
            Changes::Events(events) => {
                for change in events {
                    state.sequence = change.sequence;
                    match change.subject {
                        // What it is by now: a later change of it changes nothing more.
                        Subject::Entry(id) => {
                            let entry = self.0.store.entry(&id);
                            state.index.replace(&id, entry);
                        }
                        Subject::Node(id) => state.forget(&id, self.0.store.node(&id).as_deref()),
                        Subject::Bundle(_) => {}
                    }
                }
            }
        }
        state
    }

    fn parents(&self, state: &mut State, agent: &SpiffeId, now: i64) -> Arc<HashSet<SpiffeId>> {
        let structure = state.index.structure();
        let known = state.reaches.get(agent);
        if let Some((seen, reach)) = known
            && *seen == structure
            && now < reach.valid_until
        {
            return Arc::clone(&reach.parents);
        }
        let known = known.map(|(_, reach)| Arc::clone(&reach.parents));
        let node = self.0.store.node(agent);
        let (selectors, until) = match node.as_deref() {
            // SPIRE 1.15: the selectors of an agent whose SVID has ended do not count.
            Some(node) if node.expires_at >= now => (&node.selectors, node.expires_at + 1),
            _ => (&SelectorSet::default(), i64::MAX),
        };
        let mut reach = state.index.reach(agent, selectors, now);
        reach.valid_until = reach.valid_until.min(until);
        if let Some(known) = known.filter(|known| *known == reach.parents) {
            reach.parents = known;
        }
        let parents = Arc::clone(&reach.parents);
        state.reaches.insert(agent.clone(), (structure, reach));
        parents
    }
}

impl State {
    /// Makes the next question about a changed node look at it again.
    fn forget(&mut self, agent: &SpiffeId, node: Option<&Node>) {
        match self.reaches.get_mut(agent) {
            None => {}
            Some(_) if node.is_none() => {
                self.reaches.remove(agent);
            }
            Some((_, reach)) => reach.valid_until = i64::MIN,
        }
    }
}

#[cfg(test)]
mod tests;
