//! Which entries match which selector sets, both ways, without looking at the rest.
//!
//! An entry matches a workload that has all of its selectors. Every key set is filed under its rarest
//! selector, so a look-up probes a handful of short lists however many entries share `k8s:ns:default`
//! (performance.md §2.2: 551 µs in SPIRE at 5,000 entries).

use crate::spiffe::{Selector, SelectorSet};
use std::collections::HashMap;

/// A set of keyed selector sets that answers which of them are subsets of a given set.
#[derive(Debug)]
pub(super) struct SubsetIndex<K> {
    filed: HashMap<Selector, Vec<(K, SelectorSet)>>,
    /// How many key sets have each selector.
    frequency: HashMap<Selector, usize>,
}

/// A set of keyed selector sets that answers which of them are supersets of a given set.
#[derive(Debug)]
pub(super) struct SupersetIndex<K> {
    filed: HashMap<Selector, Vec<(K, SelectorSet)>>,
}

impl<K: Clone + Eq> SubsetIndex<K> {
    pub(super) fn new() -> Self {
        Self { filed: HashMap::new(), frequency: HashMap::new() }
    }

    /// Files `selectors` under `key`. A set without selectors matches nothing and is not filed.
    pub(super) fn insert(&mut self, key: K, selectors: &SelectorSet) {
        for selector in selectors.as_slice() {
            *self.frequency.entry(selector.clone()).or_default() += 1;
        }
        let Some(rarest) =
            selectors.as_slice().iter().min_by_key(|selector| self.frequency.get(*selector))
        else {
            return;
        };
        self.filed.entry(rarest.clone()).or_default().push((key, selectors.clone()));
    }

    /// Forgets what was filed under `key` with these selectors.
    pub(super) fn remove(&mut self, key: &K, selectors: &SelectorSet) {
        for selector in selectors.as_slice() {
            if let Some(count) = self.frequency.get_mut(selector) {
                *count -= 1;
                if *count == 0 {
                    self.frequency.remove(selector);
                }
            }
            remove_filed(&mut self.filed, selector, key);
        }
    }

    /// The keys whose selectors `workload` all has, in no particular order.
    pub(super) fn subsets_of(&self, workload: &SelectorSet) -> Vec<K> {
        workload
            .as_slice()
            .iter()
            .filter_map(|selector| self.filed.get(selector))
            .flatten()
            .filter(|(_, selectors)| selectors.is_subset_of(workload))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

impl<K: Clone + Eq> SupersetIndex<K> {
    pub(super) fn new() -> Self {
        Self { filed: HashMap::new() }
    }

    /// Files `selectors` under `key`.
    pub(super) fn insert(&mut self, key: &K, selectors: &SelectorSet) {
        for selector in selectors.as_slice() {
            let filed = self.filed.entry(selector.clone()).or_default();
            filed.push((key.clone(), selectors.clone()));
        }
    }

    /// Forgets what was filed under `key` with these selectors.
    pub(super) fn remove(&mut self, key: &K, selectors: &SelectorSet) {
        for selector in selectors.as_slice() {
            remove_filed(&mut self.filed, selector, key);
        }
    }

    /// The keys that have all of `wanted`, in no particular order.
    pub(super) fn supersets_of(&self, wanted: &SelectorSet) -> Vec<K> {
        let mut shortest: Option<&Vec<(K, SelectorSet)>> = None;
        for selector in wanted.as_slice() {
            let Some(filed) = self.filed.get(selector) else { return Vec::new() };
            if shortest.is_none_or(|known| filed.len() < known.len()) {
                shortest = Some(filed);
            }
        }
        shortest
            .into_iter()
            .flatten()
            .filter(|(_, selectors)| wanted.is_subset_of(selectors))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

fn remove_filed<K: Eq>(
    filed: &mut HashMap<Selector, Vec<(K, SelectorSet)>>,
    selector: &Selector,
    key: &K,
) {
    let Some(list) = filed.get_mut(selector) else { return };
    list.retain(|(present, _)| present != key);
    if list.is_empty() {
        filed.remove(selector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(bits: u8) -> SelectorSet {
        (0..8)
            .filter(|bit| bits & (1 << bit) != 0)
            .map(|bit| Selector::new("t", &bit.to_string()).unwrap())
            .collect()
    }

    proptest! {
        /// Both indexes agree with a scan over everything, through insertions and removals.
        #[test]
        fn indexes_agree_with_a_brute_force_scan(
            steps in prop::collection::vec((any::<bool>(), 0_usize..12, 1_u8..), 0..60),
            queries in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let mut truth: HashMap<usize, u8> = HashMap::new();
            let (mut subsets, mut supersets) = (SubsetIndex::new(), SupersetIndex::new());
            for (insert, key, bits) in steps {
                if let Some(old) = truth.remove(&key) {
                    subsets.remove(&key, &set(old));
                    supersets.remove(&key, &set(old));
                }
                if insert {
                    truth.insert(key, bits);
                    subsets.insert(key, &set(bits));
                    supersets.insert(&key, &set(bits));
                }
            }
            for query in queries {
                let sorted = |mut keys: Vec<usize>| { keys.sort_unstable(); keys };
                let expected = |keep: &dyn Fn(u8) -> bool| {
                    sorted(truth.iter().filter(|(_, bits)| keep(**bits)).map(|(k, _)| *k).collect())
                };
                prop_assert_eq!(
                    sorted(subsets.subsets_of(&set(query))),
                    expected(&|bits| bits & !query == 0)
                );
                if query != 0 {
                    prop_assert_eq!(
                        sorted(supersets.supersets_of(&set(query))),
                        expected(&|bits| query & !bits == 0)
                    );
                }
            }
        }
    }
}
