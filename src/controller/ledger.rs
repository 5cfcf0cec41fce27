//! What the server has, and the changes that bring it to what is wanted.
//!
//! Keeps of each entry its key, identifier and a print of the fields that matter, so that a change of the
//! plan becomes calls without reading the server again. Whoever calls the server records here what it
//! answered. Never wrong for long: each full pass begins with a new listing.

mod print;

use super::{
    ownership::{Holder, Ownership},
    plan::{Delta, Doubt, Evidence, Plan, pod_uid},
    wanted::{EntryKey, Wanted},
};
use crate::spiffe::{Entry, EntryId, EntrySpec};
use print::Print;
use std::{collections::HashMap, sync::Arc};

/// What the server has.
#[derive(Debug)]
pub struct Ledger {
    ownership: Ownership,
    entries: HashMap<EntryKey, Vec<Line>>,
    owned: usize,
}

/// An entry of the server.
#[derive(Debug)]
struct Line {
    id: EntryId,
    holder: Holder,
    print: Print,
}

/// What to ask of the server: first `updates`, `creates` and `replacements`, then `deletes`.
#[derive(Debug, Default)]
pub struct Changes {
    /// Entries that it does not have.
    pub creates: Vec<(EntryKey, Arc<Wanted>)>,
    /// Entries that it has otherwise.
    pub updates: Vec<Update>,
    /// Entries that it has under an identifier of a former prefix. A server does not take two of one key:
    /// delete and create each pair at once.
    pub replacements: Vec<Update>,
    /// Entries that it shall not have.
    pub deletes: Vec<Deletion>,
    /// Wanted entries that somebody else made, as they are.
    pub foreign: Vec<(EntryKey, EntryId)>,
    /// Entries that nobody wants as far as is known, which is not far enough.
    pub doubtful: Vec<(EntryId, Doubt)>,
}

/// An entry that shall hold something else.
#[derive(Clone, Debug)]
pub struct Update {
    /// Its key, which stays.
    pub key: EntryKey,
    /// Its identifier.
    pub id: EntryId,
    /// What it shall hold.
    pub wanted: Arc<Wanted>,
}

/// An entry that the server shall not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its key.
    pub key: EntryKey,
    /// Its identifier.
    pub id: EntryId,
    /// Why.
    pub reason: Reason,
    /// The UID of the pod that it was for. It should wait while the server refuses another of this pod's.
    pub pod: Option<Arc<str>>,
}

/// Why an entry is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody wants it.
    Unwanted(Evidence),
    /// The server has the same entry twice.
    Duplicate,
    /// The configuration says to remove what has its prefix.
    Cleanup,
}

impl Ledger {
    /// The ledger of a server that was not listed yet.
    #[must_use]
    pub fn new(ownership: Ownership) -> Self {
        Self { ownership, entries: HashMap::new(), owned: 0 }
    }

    /// Takes a complete listing of the server, and compares it with all that is wanted.
    #[must_use]
    pub fn compare(&mut self, listing: impl IntoIterator<Item = Entry>, plan: &Plan) -> Changes {
        let mut changes = Changes::default();
        self.entries.clear();
        self.owned = 0;
        for entry in listing {
            let key = EntryKey::of(&entry.spec);
            let holder = self.ownership.holder(&entry);
            self.add(key, Line { holder, print: Print::of(&entry.spec), id: entry.id.clone() });
            if plan.entry(&key).is_some() || holder == Holder::Other {
                continue;
            }
            // Those of a former prefix too: what their pods shall have may not be known yet.
            match plan.doubt(&entry.spec) {
                Some(doubt) => changes.doubtful.push((entry.id, doubt)),
                None => changes.deletes.push(Deletion {
                    key,
                    pod: pod_uid(&entry.spec).map(Into::into),
                    id: entry.id,
                    reason: if holder == Holder::Us {
                        Reason::Unwanted(Evidence::Absent)
                    } else {
                        Reason::Cleanup
                    },
                }),
            }
        }
        for (key, wanted) in plan.wanted() {
            self.want(*key, wanted, &mut changes);
        }
        changes
    }

    /// What a change of the plan asks for.
    #[must_use]
    pub fn follow(&self, delta: &Delta) -> Changes {
        let mut changes = Changes::default();
        for (key, wanted) in &delta.set {
            self.want(*key, wanted, &mut changes);
        }
        for unset in &delta.unset {
            let lines = self.entries.get(&unset.key).into_iter().flatten();
            let ours = lines.filter(|line| line.holder == Holder::Us);
            changes.deletes.extend(ours.map(|line| Deletion {
                key: unset.key,
                id: line.id.clone(),
                reason: Reason::Unwanted(unset.evidence),
                pod: unset.wanted.pod.clone(),
            }));
        }
        changes
    }

    /// The server has made an entry.
    pub fn created(&mut self, id: EntryId, spec: &EntrySpec) {
        let line = Line { id, holder: Holder::Us, print: Print::of(spec) };
        self.add(EntryKey::of(spec), line);
    }

    /// The server has changed an entry.
    pub fn updated(&mut self, id: &EntryId, spec: &EntrySpec) {
        let lines = self.entries.get_mut(&EntryKey::of(spec)).into_iter().flatten();
        for line in lines.filter(|line| line.id == *id) {
            line.print = Print::of(spec);
        }
    }

    /// The server does not have an entry any more.
    pub fn deleted(&mut self, key: &EntryKey, id: &EntryId) {
        let Some(lines) = self.entries.get_mut(key) else { return };
        let ours = |lines: &[Line]| lines.iter().filter(|line| line.holder == Holder::Us).count();
        let before = ours(lines);
        lines.retain(|line| line.id != *id);
        self.owned -= before - ours(lines);
        if lines.is_empty() {
            self.entries.remove(key);
        }
    }

    /// How many entries are this controller's.
    #[must_use]
    pub const fn owned(&self) -> usize {
        self.owned
    }

    /// Which entries are this controller's.
    #[must_use]
    pub const fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    fn add(&mut self, key: EntryKey, line: Line) {
        self.owned += usize::from(line.holder == Holder::Us);
        // Room for one, which almost every key has: a first push into an empty vector makes room for four.
        self.entries.entry(key).or_insert_with(|| Vec::with_capacity(1)).push(line);
    }

    fn want(&self, key: EntryKey, wanted: &Arc<Wanted>, changes: &mut Changes) {
        let lines = self.entries.get(&key).map_or(&[][..], Vec::as_slice);
        let of = |holder| lines.iter().filter(move |line| line.holder == holder);
        let update = |line: &Line| Update { key, id: line.id.clone(), wanted: Arc::clone(wanted) };
        let mut ours = of(Holder::Us);
        let Some(line) = ours.next() else {
            match (of(Holder::Other).next(), of(Holder::Former).next()) {
                (Some(other), _) => changes.foreign.push((key, other.id.clone())),
                (None, Some(former)) => changes.replacements.push(update(former)),
                (None, None) => changes.creates.push((key, Arc::clone(wanted))),
            }
            return;
        };
        if line.print != Print::of(&wanted.spec) {
            changes.updates.push(update(line));
        }
        let delete = |line: &Line, reason| Deletion { key, id: line.id.clone(), reason, pod: None };
        changes.deletes.extend(ours.map(|line| delete(line, Reason::Duplicate)));
        changes.deletes.extend(of(Holder::Former).map(|line| delete(line, Reason::Cleanup)));
    }
}

impl Changes {
    /// Whether there is nothing to ask of the server.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.creates.is_empty()
            && self.updates.is_empty()
            && self.replacements.is_empty()
            && self.deletes.is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests;
