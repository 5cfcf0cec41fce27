//! Holds back the deletion of many entries at once when all that speaks for it is absence.
//!
//! A server that lost its data, a watch with the wrong filter and a controller with another's prefix all
//! look like a cluster in which everything was deleted. Deletions that were seen to happen pass. Of the
//! others, more than a tenth of all entries, and more than 50, wait until the next full pass finds them
//! unwanted again. An operator who meant it need not wait: [`Limit::Unlimited`].

use super::ledger::{Deletion, Reason};
use super::plan::Evidence;
use crate::spiffe::EntryId;
use std::collections::HashSet;

/// Holds back mass deletions.
#[derive(Debug)]
pub struct Guard {
    limit: Limit,
    /// What the last full pass wanted to delete and did not.
    held: HashSet<EntryId>,
}

/// How many deletions pass at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// A tenth of all entries, but at least 50 (reliability of controllers: an unguarded one deleted all).
    #[default]
    Share,
    /// All of them.
    Unlimited,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// All that the server has with all that is wanted.
    Full,
    /// What changed in the plan.
    Following,
}

/// Which deletions pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// These.
    pub now: Vec<Deletion>,
    /// These not before the next full pass; an operator should be told.
    pub held: Vec<Deletion>,
}

const LEAST: usize = 50;
const SHARE: usize = 10;

impl Guard {
    /// A guard that has held nothing back yet.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self { limit, held: HashSet::new() }
    }

    /// Which of the deletions of a pass pass, of a controller that has `owned` entries.
    #[must_use]
    pub fn admit(&mut self, pass: Pass, deletions: Vec<Deletion>, owned: usize) -> Admitted {
        let (absent, seen): (Vec<_>, Vec<_>) = deletions
            .into_iter()
            .partition(|deletion| deletion.reason == Reason::Unwanted(Evidence::Absent));
        let fits = absent.len() <= LEAST.max(owned / SHARE);
        let is_admitted = |deletion: &Deletion| {
            fits || self.limit == Limit::Unlimited || self.held.contains(&deletion.id)
        };
        let (confirmed, held): (Vec<_>, Vec<_>) = absent.into_iter().partition(is_admitted);
        if pass == Pass::Full {
            self.held = held.iter().map(|deletion| deletion.id.clone()).collect();
        }
        Admitted { now: [seen, confirmed].concat(), held }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{ledger::tests::entry, wanted::EntryKey};

    fn deletions(numbers: std::ops::Range<usize>, reason: Reason) -> Vec<Deletion> {
        let one = |number| {
            let entry = entry(&format!("e{number}"), &format!("spiffe://d/{number}"), "a:1");
            Deletion { key: EntryKey::of(&entry.spec), id: entry.id, reason, pod: None }
        };
        numbers.map(one).collect()
    }

    const ABSENT: Reason = Reason::Unwanted(Evidence::Absent);
    const SEEN: Reason = Reason::Unwanted(Evidence::Seen);

    fn counts(admitted: &Admitted) -> (usize, usize) {
        (admitted.now.len(), admitted.held.len())
    }

    #[test]
    fn a_tenth_or_fifty_pass_and_more_are_held() {
        let mut guard = Guard::new(Limit::Share);
        let mut admit =
            |n, owned| counts(&guard.admit(Pass::Following, deletions(0..n, ABSENT), owned));
        assert_eq!(admit(50, 60), (50, 0));
        assert_eq!(admit(51, 60), (0, 51));
        assert_eq!(admit(100, 1000), (100, 0));
        assert_eq!(admit(101, 1000), (0, 101));
    }

    #[test]
    fn what_was_seen_passes_whatever_its_number() {
        let mut guard = Guard::new(Limit::Share);
        let both = [deletions(0..500, SEEN), deletions(500..600, ABSENT)].concat();
        assert_eq!(counts(&guard.admit(Pass::Full, both, 600)), (500, 100));
    }

    #[test]
    fn the_next_full_pass_confirms_what_it_finds_again() {
        let mut guard = Guard::new(Limit::Share);
        assert_eq!(counts(&guard.admit(Pass::Full, deletions(0..100, ABSENT), 100)), (0, 100));
        assert_eq!(
            counts(&guard.admit(Pass::Following, deletions(200..300, ABSENT), 100)),
            (0, 100)
        );
        assert_eq!(counts(&guard.admit(Pass::Full, deletions(50..150, ABSENT), 100)), (50, 50));
    }

    #[test]
    fn what_is_wanted_again_has_to_be_held_again() {
        let mut guard = Guard::new(Limit::Share);
        assert_eq!(counts(&guard.admit(Pass::Full, deletions(0..100, ABSENT), 100)), (0, 100));
        assert_eq!(counts(&guard.admit(Pass::Full, Vec::new(), 100)), (0, 0));
        assert_eq!(counts(&guard.admit(Pass::Full, deletions(0..100, ABSENT), 100)), (0, 100));
    }

    #[test]
    fn an_operator_lifts_the_limit() {
        let mut guard = Guard::new(Limit::Unlimited);
        assert_eq!(counts(&guard.admit(Pass::Full, deletions(0..100, ABSENT), 100)), (100, 0));
    }
}
