//! Who wants which entry, and which of several claims to the same entry holds.
//!
//! A key is taken out of the counts when it is first touched, and put back when it is settled; in between
//! claims come and go.

use super::super::{
    wanted::{EntryKey, Wanted},
    world::Owner,
};
use super::{
    delta::{Delta, Evidence, Unset},
    owners::Owners,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    slots: HashMap<EntryKey, Slot>,
    touched: HashMap<EntryKey, Evidence>,
    counts: HashMap<Owner, Counts>,
}

/// The claims to one entry.
#[derive(Debug, Default)]
struct Slot {
    /// One of each owner.
    claims: Vec<Arc<Wanted>>,
    /// The claim that was told last.
    told: Option<Arc<Wanted>>,
    /// The owner whose claim holds, while the slot is counted.
    winner: Option<Owner>,
}

/// How the claims of an owner fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Those that hold.
    pub(super) to_set: usize,
    /// Those that another owner's claim masks.
    pub(super) masked: usize,
}

impl Claims {
    /// Makes a claim, in place of the owner's former one to this entry.
    pub(super) fn claim(&mut self, key: EntryKey, wanted: Wanted) {
        self.touch(key, Evidence::Seen);
        let slot = self.slots.entry(key).or_default();
        match slot.claims.iter_mut().find(|claim| claim.owner == wanted.owner) {
            Some(former) if **former == wanted => {}
            Some(former) => *former = Arc::new(wanted),
            None => {
                // Almost every entry has one claim.
                slot.claims.reserve_exact(1);
                slot.claims.push(Arc::new(wanted));
            }
        }
    }

    /// Withdraws the owner's claim to this entry.
    pub(super) fn withdraw(&mut self, key: EntryKey, owner: &Owner, evidence: Evidence) {
        self.touch(key, evidence);
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.claims.retain(|claim| claim.owner != *owner);
        }
    }

    /// Has the claims to this entry weighed again.
    pub(super) fn touch(&mut self, key: EntryKey, evidence: Evidence) {
        if let Some(known) = self.touched.get_mut(&key) {
            *known = (*known).max(evidence);
            return;
        }
        self.touched.insert(key, evidence);
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let winner = slot.winner.take();
        for claim in &slot.claims {
            let counts = self.counts.entry(claim.owner.clone()).or_default();
            if winner.as_ref() == Some(&claim.owner) {
                counts.to_set -= 1;
            } else {
                counts.masked -= 1;
            }
        }
    }

    /// Weighs the claims that changed, and tells what that changes.
    pub(super) fn settle(&mut self, owners: &Owners, touched: BTreeSet<Owner>) -> Delta {
        let mut delta = Delta { touched, ..Delta::default() };
        for (key, evidence) in std::mem::take(&mut self.touched) {
            self.settle_one(key, evidence, owners, &mut delta);
        }
        delta.set.sort_unstable_by_key(|(key, _)| *key);
        delta.unset.sort_unstable_by_key(|unset| unset.key);
        delta
    }

    fn settle_one(
        &mut self,
        key: EntryKey,
        evidence: Evidence,
        owners: &Owners,
        delta: &mut Delta,
    ) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let order = |claim: &&Arc<Wanted>| (owners.precedence(&claim.owner), claim.owner.clone());
        let Some(winner) = slot.claims.iter().min_by_key(order).map(Arc::clone) else {
            if let Some(wanted) = self.slots.remove(&key).and_then(|slot| slot.told) {
                delta.touched.insert(wanted.owner.clone());
                delta.unset.push(Unset { key, wanted, evidence });
            }
            return;
        };
        for claim in &slot.claims {
            let counts = self.counts.entry(claim.owner.clone()).or_default();
            if claim.owner == winner.owner {
                counts.to_set += 1;
            } else {
                counts.masked += 1;
            }
            delta.touched.insert(claim.owner.clone());
        }
        slot.winner = Some(winner.owner.clone());
        if slot.told.as_ref() != Some(&winner) {
            slot.told = Some(Arc::clone(&winner));
            delta.set.push((key, winner));
        }
    }

    /// How the claims of an owner fare.
    pub(super) fn counts(&self, owner: &Owner) -> Counts {
        self.counts.get(owner).copied().unwrap_or_default()
    }

    /// Forgets an owner that has no claim any more.
    pub(super) fn forget(&mut self, owner: &Owner) {
        if self.counts(owner) == Counts::default() {
            self.counts.remove(owner);
        }
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = (&EntryKey, &Arc<Wanted>)> {
        self.slots.iter().filter_map(|(key, slot)| Some((key, slot.told.as_ref()?)))
    }

    pub(super) fn entry(&self, key: &EntryKey) -> Option<&Arc<Wanted>> {
        self.slots.get(key)?.told.as_ref()
    }
}
