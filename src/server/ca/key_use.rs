//! Remembers for which entry each key was certified, so that no two identities share one.
//!
//! The memory is bounded and does not survive a restart: it catches clients that reuse keys, by mistake
//! or by cloning, not one that waits long enough.

use crate::{spiffe::EntryId, x509::PublicKey};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// The keys certified lately, each with a hash of its entry's id.
#[derive(Debug, Default)]
pub(super) struct KeyUses {
    hasher: RandomState,
    generations: Mutex<Generations>,
}

/// Two generations: when the younger is full it becomes the older, and the older is forgotten. Between
/// one and two capacities of the latest keys are known at any time.
#[derive(Debug, Default)]
struct Generations {
    younger: HashMap<u64, u64>,
    older: HashMap<u64, u64>,
}

/// 64 Ki keys of 16 bytes: at most 5 MB with the tables' slack, and over two minutes of signing at the
/// rate limit of one agent.
const CAPACITY: usize = 64 * 1024;

impl KeyUses {
    /// Notes that the key is certified for the entry; false when it was for another one.
    pub(super) fn claim(&self, key: &PublicKey, entry: &EntryId) -> bool {
        let (key, entry) = (self.hasher.hash_one(key), self.hasher.hash_one(entry));
        let mut generations = self.generations.lock();
        let Generations { younger, older } = &mut *generations;
        if let Some(holder) = younger.get(&key).or_else(|| older.get(&key)) {
            return *holder == entry;
        }
        if younger.len() >= CAPACITY {
            *older = std::mem::take(younger);
        }
        younger.insert(key, entry);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::key::PublicAlgorithm;

    fn key(number: usize) -> PublicKey {
        PublicKey::from_bits(PublicAlgorithm::EcP256, &number.to_be_bytes())
    }

    #[test]
    fn a_key_belongs_to_the_entry_that_had_it_first() {
        let (uses, a, b) =
            (KeyUses::default(), EntryId::parse("a").unwrap(), EntryId::parse("b").unwrap());
        assert!(uses.claim(&key(1), &a) && uses.claim(&key(2), &b));
        assert!(uses.claim(&key(1), &a), "the same entry may ask again");
        assert!(!uses.claim(&key(1), &b));
    }

    #[test]
    fn memory_is_bounded_and_the_latest_keys_are_known() {
        let (uses, a, b) =
            (KeyUses::default(), EntryId::parse("a").unwrap(), EntryId::parse("b").unwrap());
        let last = CAPACITY * 3;
        for number in 0..=last {
            assert!(uses.claim(&key(number), &a));
        }
        let generations = uses.generations.lock();
        assert!(generations.younger.len() + generations.older.len() <= 2 * CAPACITY);
        drop(generations);
        assert!(!uses.claim(&key(last - CAPACITY + 1), &b));
        assert!(uses.claim(&key(0), &b), "long forgotten");
    }
}
