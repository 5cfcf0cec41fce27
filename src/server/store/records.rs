//! Records in the order of their rows and by their key, each held once.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    ops::Bound,
    sync::Arc,
};

/// Something that the store keeps many of.
pub(super) trait Record {
    /// What tells one from another; cheap to clone.
    type Key: Clone + Eq + Hash;

    fn key(&self) -> &Self::Key;
}

/// A record and the number of its row.
pub(super) type Row<R> = (i64, Arc<R>);

/// All records of a kind.
#[derive(Debug)]
pub(super) struct Records<R: Record> {
    by_row: BTreeMap<i64, Arc<R>>,
    by_key: HashMap<R::Key, Row<R>>,
}

impl<R: Record> Records<R> {
    pub(super) fn new() -> Self {
        Self { by_row: BTreeMap::new(), by_key: HashMap::new() }
    }

    pub(super) fn get(&self, key: &R::Key) -> Option<&Row<R>> {
        self.by_key.get(key)
    }

    /// Adds a record, or replaces the one with its key, which keeps its row.
    pub(super) fn put(&mut self, row: i64, record: Arc<R>) {
        self.by_row.insert(row, Arc::clone(&record));
        self.by_key.insert(record.key().clone(), (row, record));
    }

    pub(super) fn remove(&mut self, key: &R::Key) {
        if let Some((row, _)) = self.by_key.remove(key) {
            self.by_row.remove(&row);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The records behind `row`, in row order.
    pub(super) fn after(&self, row: i64) -> impl Iterator<Item = (i64, &Arc<R>)> {
        let behind = (Bound::Excluded(row), Bound::Unbounded);
        self.by_row.range(behind).map(|(row, record)| (*row, record))
    }

    /// All records, in row order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<R>> {
        self.by_row.values()
    }
}
