//! What the server knows, and how it behaves at the moment.

use super::{
    reviews::Reviews,
    rights::{Owners, Rights},
    store::Store,
};
use crate::runtime::Publisher;
use std::collections::BTreeMap;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Answers,
    /// With this HTTP status, whatever it is asked.
    Fails(u16),
    /// Never.
    Hangs,
}

pub(super) struct State {
    pub(super) mood: Mood,
    /// How it answers below some paths, whatever its mood else.
    pub(super) moods: BTreeMap<String, Mood>,
    pub(super) reviews: Reviews,
    pub(super) store: Store,
    pub(super) rights: Rights,
    pub(super) owners: Owners,
    /// Wakes watches: the version that something happened at.
    pub(super) pulse: Publisher<u64>,
    /// How often all watches were cut, and were sent a bookmark.
    pub(super) cuts: u64,
    pub(super) bookmarks: u64,
    pub(super) asked: Publisher<Vec<String>>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            mood: Mood::Answers,
            moods: BTreeMap::new(),
            reviews: Reviews::default(),
            store: Store::new(),
            rights: Rights::default(),
            owners: Owners::default(),
            pulse: Publisher::new(0),
            cuts: 0,
            bookmarks: 0,
            asked: Publisher::new(Vec::new()),
        }
    }

    /// How a request for `path` is answered: the longest path that has a mood of its own decides.
    pub(super) fn mood_for(&self, path: &str) -> Mood {
        if self.mood != Mood::Answers {
            return self.mood;
        }
        let own = self.moods.iter().rev().find(|(below, _)| path.starts_with(below.as_str()));
        own.map_or(Mood::Answers, |(_, mood)| *mood)
    }
}
