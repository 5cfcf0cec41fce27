//! What changed in a plan.

use super::super::{
    wanted::{EntryKey, Wanted},
    world::Owner,
};
use std::{collections::BTreeSet, sync::Arc};

/// What changed between two computations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Entries that are wanted now, or wanted otherwise than before.
    pub set: Vec<(EntryKey, Arc<Wanted>)>,
    /// Entries that are not wanted any more.
    pub unset: Vec<Unset>,
    /// Custom resources whose report may have changed.
    pub touched: BTreeSet<Owner>,
}

/// An entry that is not wanted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unset {
    /// Its key.
    pub key: EntryKey,
    /// What it was. A pod whose new entry the server refuses should keep this one.
    pub wanted: Arc<Wanted>,
    /// How it is known.
    pub evidence: Evidence,
}

/// How it is known that an entry is not wanted, the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// An object was seen to be deleted, or to say something else.
    Seen,
    /// An object was absent from a list that was completed. A server that lost its data, or a filter that
    /// was set wrongly, looks the same.
    Absent,
}

impl Delta {
    /// Whether no entry has to be changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.unset.is_empty()
    }
}
