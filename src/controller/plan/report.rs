//! How each custom resource fares, for its status.

use super::super::{
    crd::ClusterSpiffeIdStats,
    render::Failure,
    world::{Owner, Pod},
};
use super::{owners::Problem, state::Plan};
use std::sync::Arc;

/// How a ClusterSPIFFEID fares.
#[derive(Debug)]
pub struct RuleReport<'a> {
    /// The generation of the object that this is about.
    pub generation: Option<i64>,
    /// Why its present form cannot be acted upon; a former one stays in force.
    pub problem: Option<&'a Problem>,
    /// Counts.
    pub stats: Stats,
    /// Pods for which no entry can be rendered, the first few, with the reason.
    pub failures: Vec<(Arc<Pod>, &'a Failure)>,
}

/// How a ClusterStaticEntry fares.
#[derive(Debug)]
pub struct StaticReport<'a> {
    /// The generation of the object that this is about.
    pub generation: Option<i64>,
    /// Why its present form makes no entry; that of a former one stays.
    pub problem: Option<&'a Problem>,
    /// Whether another object gives the same entry.
    pub is_masked: bool,
}

/// Counts of a ClusterSPIFFEID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Namespaces that are selected.
    pub namespaces_selected: usize,
    /// Of them, those that the configuration ignores.
    pub namespaces_ignored: usize,
    /// Pods that are selected in the others, without those that have ended or wait for a node.
    pub pods_selected: usize,
    /// Of them, those for which no entry can be rendered.
    pub render_failures: usize,
    /// Of them, those for which something is not known yet.
    pub pods_waiting: usize,
    /// Of them, those that could never have the selectors that are asked for.
    pub pods_contradicted: usize,
    /// Entries that another object gives.
    pub entries_masked: usize,
    /// Entries that the server shall have.
    pub entries_to_set: usize,
}

/// As many as an operator reads.
const MAX_FAILURES: usize = 10;

impl Plan {
    /// How a ClusterSPIFFEID fares, if there is one of this name.
    #[must_use]
    pub fn rule_report(&self, name: &str) -> Option<RuleReport<'_>> {
        let (name, state) = self.owners.rules.get_key_value(name)?;
        let failures = self.outcomes.failing(name).take(MAX_FAILURES);
        let with_pod =
            |(uid, failure): (&Arc<str>, _)| Some((Arc::clone(self.cluster.pod(uid)?), failure));
        Some(RuleReport {
            generation: state.generation,
            problem: state.problem.as_ref(),
            stats: self.stats(name),
            failures: failures.filter_map(with_pod).collect(),
        })
    }

    /// How a ClusterStaticEntry fares, if there is one of this name.
    #[must_use]
    pub fn static_report(&self, name: &str) -> Option<StaticReport<'_>> {
        let (name, state) = self.owners.static_entries.get_key_value(name)?;
        let counts = self.claims.counts(&Owner::StaticEntry(Arc::clone(name)));
        Some(StaticReport {
            generation: state.generation,
            problem: state.problem.as_ref(),
            is_masked: counts.masked > 0,
        })
    }

    fn stats(&self, name: &Arc<str>) -> Stats {
        let form = self.owners.rules.get(name).and_then(|state| state.form.as_ref());
        let selected: Vec<_> = (self.cluster.namespaces())
            .filter(|(_, labels)| form.is_some_and(|form| form.rule.selects_namespace(labels)))
            .collect();
        let ignored = selected.iter().filter(|(name, _)| self.settings.ignores(name)).count();
        let tally = self.outcomes.tally(name);
        let counts = self.claims.counts(&Owner::SpiffeId(Arc::clone(name)));
        Stats {
            namespaces_selected: selected.len(),
            namespaces_ignored: ignored,
            pods_selected: tally.selected,
            render_failures: tally.failing,
            pods_waiting: tally.waiting,
            pods_contradicted: tally.contradicted,
            entries_masked: counts.masked,
            entries_to_set: counts.to_set,
        }
    }
}

impl Stats {
    /// The counts of the object's status, with those that the server refused.
    #[must_use]
    pub fn status(&self, entry_failures: usize) -> ClusterSpiffeIdStats {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        ClusterSpiffeIdStats {
            namespaces_selected: count(self.namespaces_selected),
            namespaces_ignored: count(self.namespaces_ignored),
            pods_selected: count(self.pods_selected),
            pod_entry_render_failures: count(self.render_failures),
            entries_masked: count(self.entries_masked),
            entries_to_set: count(self.entries_to_set),
            entry_failures: count(entry_failures),
        }
    }
}
