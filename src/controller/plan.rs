//! All entries that the server shall have, kept up event by event.
//!
//! Pure and synchronous: one task owns a plan, tells it the news of the cluster and asks what changed. An
//! event marks what it may change, [`Plan::recompute`] looks at what is marked and at nothing else.
//!
//! What was wanted stays wanted until there is positive evidence against it. A pod whose entry cannot be
//! rendered any more, a custom resource that cannot be read, a node that is not known: all of them keep
//! what they had. Only objects that are gone, or that say something else now, take an entry away.

mod apply;
mod claims;
mod cluster;
mod delta;
mod disown;
mod evaluate;
mod lists;
mod outcome;
mod owners;
mod report;

pub use delta::{Delta, Evidence, Unset};
pub use disown::Doubt;
pub(in crate::controller) use disown::pod_uid;
pub use owners::Problem;
pub use report::{RuleReport, StaticReport, Stats};

use super::{
    settings::Settings,
    wanted::{EntryKey, Wanted},
    world::{Event, Kind, Scope},
};
use claims::Claims;
use cluster::Cluster;
use lists::Lists;
use outcome::Outcomes;
use owners::Owners;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// All entries that the server shall have.
#[derive(Debug)]
pub struct Plan {
    settings: Settings,
    cluster: Cluster,
    owners: Owners,
    outcomes: Outcomes,
    claims: Claims,
    lists: Lists,
    dirty: Dirty,
}

/// What the next computation looks at, and how well it is known why.
#[derive(Debug, Default)]
struct Dirty {
    pods: HashMap<Arc<str>, Evidence>,
    static_entries: BTreeMap<Arc<str>, Evidence>,
    touched: BTreeSet<super::world::Owner>,
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

    /// Takes one piece of news.
    pub fn apply(&mut self, event: Event) {
        apply::apply(self, event);
    }

    /// What changed since the last call. Nothing is wanted for pods before all ClusterSPIFFEIDs were
    /// listed once: another one could have an identity for them.
    #[must_use]
    pub fn recompute(&mut self) -> Delta {
        evaluate::recompute(self)
    }

    /// As [`Plan::recompute`], after another look at everything: a safety net, which finds nothing.
    #[must_use]
    pub fn recompute_fully(&mut self) -> Delta {
        for uid in self.cluster.pod_uids() {
            self.dirty.mark_pod(uid, Evidence::Seen);
        }
        for name in self.owners.static_entries.keys() {
            self.dirty.mark_static_entry(Arc::clone(name), Evidence::Seen);
        }
        self.recompute()
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
    fn mark_pod(&mut self, uid: Arc<str>, evidence: Evidence) {
        let known = self.pods.entry(uid).or_insert(evidence);
        *known = (*known).max(evidence);
    }

    fn mark_static_entry(&mut self, name: Arc<str>, evidence: Evidence) {
        let known = self.static_entries.entry(name).or_insert(evidence);
        *known = (*known).max(evidence);
    }
}

#[cfg(test)]
mod tests;
