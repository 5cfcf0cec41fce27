//! The change log: what changed, commit by commit, without gaps, for readers that follow the store.
//!
//! Kept in memory only and bounded: a reader that fell too far behind, or comes back after a restart,
//! reads everything again.

use crate::spiffe::{EntryId, SpiffeId, TrustDomain};
use std::collections::VecDeque;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number: one more than that of the change before.
    pub sequence: u64,
    /// What changed. What it is now, the store knows.
    pub subject: Subject,
}

/// What a change is about: created, updated or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A registration entry.
    Entry(EntryId),
    /// An attested node.
    Node(SpiffeId),
    /// A trust bundle.
    Bundle(TrustDomain),
}

/// The answer to "what changed since?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Every change after the given one, in order; maybe none.
    Events(Vec<Change>),
    /// The log does not reach back that far: read everything.
    TooOld,
}

/// 16,384 changes, about 1 MiB: more than a batch of the writer brings, so that a reader that waits for
/// each commit is never too late.
const CAPACITY: usize = 16_384;

/// The last changes.
#[derive(Debug)]
pub(super) struct ChangeLog {
    changes: VecDeque<Subject>,
    /// The number of the newest change; 0 when there was none since the store was opened.
    newest: u64,
}

impl ChangeLog {
    pub(super) const fn new() -> Self {
        Self { changes: VecDeque::new(), newest: 0 }
    }

    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn push(&mut self, subject: Subject) {
        if self.changes.len() == CAPACITY {
            self.changes.pop_front();
        }
        self.changes.push_back(subject);
        self.newest += 1;
    }

    pub(super) fn since(&self, sequence: u64) -> Changes {
        let Some(missed) = self.newest.checked_sub(sequence) else { return Changes::TooOld };
        let Some(skip) =
            usize::try_from(missed).ok().and_then(|m| self.changes.len().checked_sub(m))
        else {
            return Changes::TooOld;
        };
        let subjects = self.changes.iter().skip(skip).cloned();
        let events = (sequence + 1..).zip(subjects);
        Changes::Events(events.map(|(sequence, subject)| Change { sequence, subject }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(changes: u64) -> ChangeLog {
        let mut log = ChangeLog::new();
        for number in 1..=changes {
            log.push(Subject::Entry(EntryId::parse(&number.to_string()).unwrap()));
        }
        log
    }

    #[test]
    fn a_reader_gets_every_change_after_the_one_it_knows() {
        let Changes::Events(events) = log(5).since(2) else { panic!("too old") };
        let numbers: Vec<_> = events.iter().map(|change| change.sequence).collect();
        assert_eq!(numbers, [3, 4, 5]);
        assert_eq!(events[0].subject, Subject::Entry(EntryId::parse("3").unwrap()));
        assert_eq!(log(5).since(5), Changes::Events(Vec::new()));
    }

    #[test]
    fn a_reader_that_is_too_far_behind_or_of_another_life_reads_everything() {
        let full = log(CAPACITY as u64 + 10);
        assert_eq!(full.since(9), Changes::TooOld);
        assert!(matches!(full.since(10), Changes::Events(events) if events.len() == CAPACITY));
        assert_eq!(log(5).since(6), Changes::TooOld);
    }
}
