//! The state of a plan, which one task owns, and what can be asked of it.
//!
//! How events change it is in `apply`, what follows from them in `evaluate`.

use super::super::{
    settings::Settings,
    wanted::{EntryKey, Wanted},
    world::{Kind, Owner, Scope},
};
use super::{
    claims::Claims, cluster::Cluster, delta::Evidence, lists::Lists, outcome::Outcomes,
    owners::Owners,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// All entries that the server shall have.
#[derive(Debug)]
pub struct Plan {
    pub(super) settings: Settings,
    pub(super) cluster: Cluster,
    pub(super) owners: Owners,
    pub(super) outcomes: Outcomes,
    pub(super) claims: Claims,
    pub(super) lists: Lists,
    pub(super) dirty: Dirty,
}

/// What the next computation looks at, and how well it is known why.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) pods: HashMap<Arc<str>, Evidence>,
    pub(super) static_entries: BTreeMap<Arc<str>, Evidence>,
    pub(super) touched: BTreeSet<Owner>,
}

impl Plan {
    /// A plan for a cluster of which nothing is known yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            lists: Lists::new(&settings),
            settings,
            cluster: Cluster::default(),
            owners: Owners::default(),
            outcomes: Outcomes::default(),
            claims: Claims::default(),
            dirty: Dirty::default(),
        }
    }

    /// Whether there is news that was not computed with.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !(self.dirty.pods.is_empty()
            && self.dirty.static_entries.is_empty()
            && self.dirty.touched.is_empty())
    }

    /// All entries that are wanted, as of the last computation.
    pub fn wanted(&self) -> impl Iterator<Item = (&EntryKey, &Arc<Wanted>)> {
        self.claims.wanted()
    }

    /// The entry that is wanted with this key, as of the last computation.
    #[must_use]
    pub fn entry(&self, key: &EntryKey) -> Option<&Arc<Wanted>> {
        self.claims.entry(key)
    }

    /// What has never been listed to its end: until then nothing the server has is known to be too much.
    #[must_use]
    pub fn missing(&self) -> Vec<Scope> {
        let mut missing = self.lists.missing(&Kind::ALL);
        if !self.needs_endpoints() {
            missing.retain(|scope| scope.kind != Kind::Endpoints);
        }
        missing
    }

    /// Whether some rule adds the names of services, so that their endpoints are worth watching.
    #[must_use]
    pub fn needs_endpoints(&self) -> bool {
        self.owners.add_service_names()
    }
}

impl Dirty {
    pub(super) fn mark_pod(&mut self, uid: Arc<str>, evidence: Evidence) {
        let known = self.pods.entry(uid).or_insert(evidence);
        *known = (*known).max(evidence);
    }

    pub(super) fn mark_static_entry(&mut self, name: Arc<str>, evidence: Evidence) {
        let known = self.static_entries.entry(name).or_insert(evidence);
        *known = (*known).max(evidence);
    }
}
