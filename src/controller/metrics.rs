//! What the controller counts, and under which names.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::time::Duration;

/// From one event to a first convergence of a large cluster, in seconds.
const SECONDS: [f64; 10] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0, 10.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Done {
    what: &'static str,
}

/// The controller's counts. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct ControllerMetrics {
    leads: Gauge,
    events: Counter,
    changes: Family<Done, Counter>,
    failures: Family<Done, Counter>,
    owned: Gauge,
    held_deletes: Gauge,
    server_outages: Counter,
    pass_seconds: Histogram,
}

/// What is done to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Update,
    Delete,
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl ControllerMetrics {
    pub(super) fn new() -> Self {
        Self {
            leads: Gauge::default(),
            events: Counter::default(),
            changes: Family::default(),
            failures: Family::default(),
            owned: Gauge::default(),
            held_deletes: Gauge::default(),
            server_outages: Counter::default(),
            pass_seconds: Histogram::new(SECONDS),
        }
    }

    /// Makes them visible in `registry`, which brings the prefix.
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self {
            leads,
            events,
            changes,
            failures,
            owned,
            held_deletes,
            server_outages,
            pass_seconds,
        } = self.clone();
        registry.register("leader", "1 while this controller writes", leads);
        registry.register("events", "Events of watches", events);
        registry.register("entry_changes", "Entries created, updated and deleted", changes);
        registry.register("entry_failures", "Changes that the server refused", failures);
        registry.register(
            "entries_owned",
            "Entries of the server that are the controller's",
            owned,
        );
        registry.register(
            "deletes_held",
            "Deletes that wait because they are too many at once",
            held_deletes,
        );
        registry.register(
            "server_outages",
            "Calls to the server without an answer",
            server_outages,
        );
        registry.register("pass_seconds", "From events to entries", pass_seconds);
    }

    /// Whether this controller writes now.
    pub(super) fn set_leads(&self, role: super::lease::Role) {
        self.leads.set(i64::from(role == super::lease::Role::Leads));
    }

    pub(super) fn event(&self) {
        self.events.inc();
    }

    pub(super) fn changed(&self, change: Change) {
        self.changes.get_or_create(&Done { what: change.name() }).inc();
    }

    pub(super) fn refused(&self, change: Change) {
        self.failures.get_or_create(&Done { what: change.name() }).inc();
    }

    pub(super) fn server_away(&self) {
        self.server_outages.inc();
    }

    pub(super) fn passed(&self, took: Duration, owned: usize, held_deletes: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.pass_seconds.observe(took.as_secs_f64());
        self.owned.set(count(owned));
        self.held_deletes.set(count(held_deletes));
    }
}
