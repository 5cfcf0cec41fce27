//! Which version of each entry the agent has, against which a server's list of revisions is compared.
//! Pure.

use crate::spiffe::{Entry, EntryId, TrustDomain};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The entries that the agent has, by version.
#[derive(Debug, Default)]
pub struct Known(HashMap<EntryId, Version>);

/// One line of a server's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The entry.
    pub id: EntryId,
    /// Its revision.
    pub revision: i64,
    /// When it was created; 0 when the server does not say.
    pub created_at: i64,
}

#[derive(Debug)]
struct Version {
    revision: i64,
    created_at: i64,
    federates_with: Vec<TrustDomain>,
    /// How often in a row the server has listed an older revision.
    listed_older: u32,
}

/// Replicas of a server may lag behind each other: an agent that meets them in turn would fetch an entry
/// back and forth (spiffe/spire#6011). An older revision is believed when it is listed this many times
/// in a row, as after a restored backup.
const OLDER_BELIEVED_AFTER: u32 = 3;

impl Known {
    /// The listed entries that are to be fetched, by id.
    pub fn stale(&mut self, listed: &[Listed]) -> Vec<EntryId> {
        let stale: BTreeSet<&EntryId> =
            listed.iter().filter(|line| self.is_stale(line)).map(|line| &line.id).collect();
        stale.into_iter().cloned().collect()
    }

    /// The entries that are not listed any more.
    #[must_use]
    pub fn removed(&self, listed: &[Listed]) -> Vec<EntryId> {
        let listed: HashSet<&EntryId> = listed.iter().map(|line| &line.id).collect();
        self.0.keys().filter(|id| !listed.contains(id)).cloned().collect()
    }

    /// An entry was fetched.
    pub fn record(&mut self, entry: &Entry) {
        let version = Version {
            revision: entry.revision,
            created_at: entry.created_at,
            federates_with: entry.spec.federates_with.clone(),
            listed_older: 0,
        };
        self.0.insert(entry.id.clone(), version);
    }

    /// An entry was fetched and not understood: it is not fetched again before it changes.
    pub fn record_unreadable(&mut self, line: Listed) {
        let Listed { id, revision, created_at } = line;
        let federates_with = Vec::new();
        self.0.insert(id, Version { revision, created_at, federates_with, listed_older: 0 });
    }

    /// An entry is gone.
    pub fn forget(&mut self, id: &EntryId) {
        self.0.remove(id);
    }

    /// The foreign trust domains that the entries need bundles of.
    #[must_use]
    pub fn federated(&self) -> BTreeSet<TrustDomain> {
        self.0.values().flat_map(|version| version.federates_with.iter().cloned()).collect()
    }

    fn is_stale(&mut self, listed: &Listed) -> bool {
        let Some(known) = self.0.get_mut(&listed.id) else { return true };
        let is_another = listed.created_at != 0 && listed.created_at != known.created_at;
        if is_another || listed.revision > known.revision {
            return true;
        }
        if listed.revision == known.revision {
            known.listed_older = 0;
            return false;
        }
        known.listed_older += 1;
        known.listed_older >= OLDER_BELIEVED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, revision: i64, created_at: i64) -> Listed {
        Listed { id: EntryId::parse(id).unwrap(), revision, created_at }
    }

    fn known(lines: &[Listed]) -> Known {
        let mut known = Known::default();
        lines.iter().for_each(|line| known.record_unreadable(line.clone()));
        known
    }

    fn ids(ids: &[EntryId]) -> Vec<&str> {
        ids.iter().map(EntryId::as_str).collect()
    }

    #[test]
    fn new_changed_and_recreated_entries_are_fetched_in_the_order_of_their_ids() {
        let mut known = known(&[line("same", 1, 5), line("newer", 1, 5), line("again", 1, 5)]);
        let listed =
            [line("new", 0, 9), line("newer", 2, 5), line("same", 1, 0), line("again", 1, 6)];
        assert_eq!(ids(&known.stale(&listed)), ["again", "new", "newer"]);
        assert!(known.removed(&listed).is_empty());
        assert_eq!(known.removed(&listed[..3]).len(), 1);
    }

    #[test]
    fn an_older_revision_is_fetched_only_when_it_stays() {
        let mut known = known(&[line("a", 5, 1)]);
        let (older, current) = ([line("a", 4, 1)], [line("a", 5, 1)]);
        for _ in 0..10 {
            assert!(known.stale(&older).is_empty(), "a lagging replica");
            assert!(known.stale(&current).is_empty());
        }
        assert!(known.stale(&older).is_empty());
        assert!(known.stale(&older).is_empty());
        assert_eq!(ids(&known.stale(&older)), ["a"], "a restored backup");
    }
}
