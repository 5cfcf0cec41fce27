//! Keeps one copy of values that recur: names of nodes and images, the labels and specs of replicas.

use std::{borrow::Borrow, collections::HashSet, hash::Hash, sync::Arc};

/// One copy of each value that somebody still holds.
#[derive(Debug)]
pub struct Shelf<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// How many values there may be before those that nobody holds are thrown out.
    sweep_at: usize,
}

/// Below this many values a sweep is not worth its time.
const SMALL: usize = 1024;

impl<T: ?Sized + Eq + Hash> Shelf<T> {
    /// An empty shelf.
    #[must_use]
    pub fn new() -> Self {
        Self { values: HashSet::new(), sweep_at: SMALL }
    }

    /// The copy of `value` that everybody shares.
    pub fn share<'a, Q>(&mut self, value: &'a Q) -> Arc<T>
    where
        Q: ?Sized + Eq + Hash,
        Arc<T>: Borrow<Q> + From<&'a Q>,
    {
        if let Some(shared) = self.values.get(value) {
            return Arc::clone(shared);
        }
        self.keep(Arc::from(value))
    }

    /// The copy that everybody shares of a value which is made already.
    pub fn settle(&mut self, value: T) -> Arc<T>
    where
        T: Sized,
    {
        if let Some(shared) = self.values.get(&value) {
            return Arc::clone(shared);
        }
        self.keep(Arc::new(value))
    }

    fn keep(&mut self, value: Arc<T>) -> Arc<T> {
        if self.values.len() >= self.sweep_at {
            self.values.retain(|kept| Arc::strong_count(kept) > 1);
            self.sweep_at = SMALL.max(self.values.len() * 2);
        }
        self.values.insert(Arc::clone(&value));
        value
    }
}

impl<T: ?Sized + Eq + Hash> Default for Shelf<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_unheld_ones_go() {
        let mut shelf: Shelf<str> = Shelf::new();
        let kept = shelf.share("node-1");
        assert!(Arc::ptr_eq(&kept, &shelf.share("node-1")));
        for number in 0..10 * SMALL {
            drop(shelf.share(number.to_string().as_str()));
        }
        assert!(shelf.values.len() <= SMALL);
        assert!(Arc::ptr_eq(&kept, &shelf.share("node-1")));
    }
}
