//! When each entry's SVID has to be signed next: a queue by time, without duplicates.

use crate::spiffe::EntryId;
use std::{
    collections::{BTreeSet, HashMap},
    time::SystemTime,
};

/// The entries that wait for a signature, by the time at which it is due.
#[derive(Debug, Default)]
pub(super) struct DueQueue {
    by_time: BTreeSet<(SystemTime, EntryId)>,
    by_entry: HashMap<EntryId, SystemTime>,
}

impl DueQueue {
    /// Sets the due time of `entry`, replacing an earlier one.
    pub(super) fn set(&mut self, entry: &EntryId, due: SystemTime) {
        self.remove(entry);
        self.by_entry.insert(entry.clone(), due);
        self.by_time.insert((due, entry.clone()));
    }

    /// Sets the due time of `entry` unless it is due sooner already.
    pub(super) fn hasten(&mut self, entry: &EntryId, due: SystemTime) {
        if self.by_entry.get(entry).is_none_or(|known| *known > due) {
            self.set(entry, due);
        }
    }

    /// Forgets `entry`.
    pub(super) fn remove(&mut self, entry: &EntryId) {
        if let Some(due) = self.by_entry.remove(entry) {
            self.by_time.remove(&(due, entry.clone()));
        }
    }

    /// Takes out the entry that has been due the longest at `now`, if one is.
    pub(super) fn take_due(&mut self, now: SystemTime) -> Option<EntryId> {
        self.by_time.first().filter(|(due, _)| *due <= now)?;
        let (_, entry) = self.by_time.pop_first()?;
        self.by_entry.remove(&entry);
        Some(entry)
    }

    /// The earliest due time.
    pub(super) fn next_due(&self) -> Option<SystemTime> {
        self.by_time.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
    }

    fn id(text: &str) -> EntryId {
        EntryId::parse(text).unwrap()
    }

    #[test]
    fn entries_come_out_in_the_order_of_their_due_times_and_once() {
        let mut queue = DueQueue::default();
        queue.set(&id("a"), at(30));
        queue.set(&id("b"), at(10));
        queue.set(&id("c"), at(20));
        queue.set(&id("a"), at(5));
        queue.hasten(&id("b"), at(40));
        assert_eq!(queue.next_due(), Some(at(5)));
        for expected in ["a", "b", "c"] {
            assert_eq!(queue.take_due(at(20)), Some(id(expected)));
        }
        assert_eq!(queue.take_due(at(20)), None);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn a_removed_entry_never_comes_out() {
        let mut queue = DueQueue::default();
        queue.set(&id("a"), at(1));
        queue.remove(&id("a"));
        assert_eq!(queue.take_due(at(100)), None);
    }
}
