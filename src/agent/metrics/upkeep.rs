//! What the agent's own tasks do: attest, synchronise, sign.
//!
//! Sizes, ages and times of expiry are read when somebody scrapes, so that counting wakes nobody.

use crate::{runtime::clock::unix_secs, telemetry::Tally};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{
        counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge, histogram::Histogram,
    },
    registry::{Registry, Unit},
};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tonic::Code;

/// How a call to the server, or an attestation, ended: the names of gRPC's codes as SPIRE labels them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(Code);

/// The counts. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct UpkeepMetrics(Arc<Metrics>);

#[derive(Debug)]
struct Metrics {
    node_attestations: Family<AttestorLabels, Tally>,
    agent_renewals: Family<StatusLabel, Tally>,
    entry_syncs: Family<StatusLabel, Tally>,
    svid_updates: Family<StatusLabel, Tally>,
    workload_attestations: Family<StatusLabel, Tally>,
    attestation_time: Histogram,
    bundles: Gauge,
    entries: Gauge,
    entries_stale: Gauge,
    entries_dropped: Counter,
    svids_signed: Counter,
    svids_failed: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttestorLabels {
    attestor: &'static str,
    status: &'static str,
}

/// What is asked only when somebody looks.
pub struct Observed {
    /// When the server was last heard, if ever.
    pub last_sync: Box<dyn Fn() -> Option<SystemTime> + Send + Sync>,
    /// When the agent's own SVID ends, if it has one.
    pub agent_svid_end: Box<dyn Fn() -> Option<SystemTime> + Send + Sync>,
    /// How many entries and how many SVIDs are in the cache.
    pub cached: Box<dyn Fn() -> (usize, usize) + Send + Sync>,
}

/// From the 20 µs of a read of /proc to the 10 s of a large executable that is hashed.
const SECONDS: [f64; 10] = [0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.1, 0.5, 2.0, 10.0];

impl Outcome {
    /// It succeeded.
    pub const OK: Self = Self(Code::Ok);
    /// Nobody answered.
    pub const UNAVAILABLE: Self = Self(Code::Unavailable);

    /// It ended with this code.
    #[must_use]
    pub const fn code(code: Code) -> Self {
        Self(code)
    }

    /// Go's name of the code.
    const fn name(self) -> &'static str {
        match self.0 {
            Code::Ok => "OK",
            Code::Cancelled => "Canceled",
            Code::Unknown => "Unknown",
            Code::InvalidArgument => "InvalidArgument",
            Code::DeadlineExceeded => "DeadlineExceeded",
            Code::NotFound => "NotFound",
            Code::AlreadyExists => "AlreadyExists",
            Code::PermissionDenied => "PermissionDenied",
            Code::ResourceExhausted => "ResourceExhausted",
            Code::FailedPrecondition => "FailedPrecondition",
            Code::Aborted => "Aborted",
            Code::OutOfRange => "OutOfRange",
            Code::Unimplemented => "Unimplemented",
            Code::Internal => "Internal",
            Code::Unavailable => "Unavailable",
            Code::DataLoss => "DataLoss",
            Code::Unauthenticated => "Unauthenticated",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            node_attestations: Family::default(),
            agent_renewals: Family::default(),
            entry_syncs: Family::default(),
            svid_updates: Family::default(),
            workload_attestations: Family::default(),
            attestation_time: Histogram::new(SECONDS),
            bundles: Gauge::default(),
            entries: Gauge::default(),
            entries_stale: Gauge::default(),
            entries_dropped: Counter::default(),
            svids_signed: Counter::default(),
            svids_failed: Counter::default(),
        }
    }
}

impl UpkeepMetrics {
    /// Makes everything visible in `registry`, which brings the prefix.
    pub fn register(&self, registry: &mut Registry) {
        let metrics = &*self.0;
        let mut calls = |name: &str, help: &str, family: &Family<StatusLabel, Tally>| {
            registry.register(name, help, family.clone());
        };
        calls("agent_svid_rotate", "Renewals of the agent's SVID", &metrics.agent_renewals);
        let help = "Updates of entries and bundles from the server";
        calls("manager_sync_fetch_entries_updates", help, &metrics.entry_syncs);
        let help = "Batches of SVIDs asked of the server";
        calls("manager_sync_fetch_svids_updates", help, &metrics.svid_updates);
        let help = "Attestations of workloads";
        calls("workload_api_workload_attestation", help, &metrics.workload_attestations);
        let help = "Attestations of this node";
        registry.register("node_attestor_new_svid", help, metrics.node_attestations.clone());
        let help = "From the start of a workload's attestation to its end";
        registry.register("workload_attestation_seconds", help, metrics.attestation_time.clone());
        registry.register("sync_bundles_total", "Bundles known", metrics.bundles.clone());
        registry.register("sync_entries_total", "Entries known", metrics.entries.clone());
        let help = "Entries that the last synchronisation found out of date";
        registry.register("sync_entries_stale", help, metrics.entries_stale.clone());
        let help = "Entries that were not understood";
        registry.register("sync_entries_dropped", help, metrics.entries_dropped.clone());
        registry.register("svids_signed", "SVIDs received", metrics.svids_signed.clone());
        registry.register(
            "svids_failed",
            "SVIDs refused or unusable",
            metrics.svids_failed.clone(),
        );
    }

    /// Makes visible what is asked only when somebody looks.
    pub fn observe(registry: &mut Registry, observed: Observed) {
        registry.register_collector(Box::new(observed));
    }

    /// This node was attested, or not.
    pub fn node_attested(&self, attestor: &'static str, outcome: Outcome) {
        let labels = AttestorLabels { attestor, status: outcome.name() };
        self.0.node_attestations.get_or_create(&labels).inc();
    }

    /// The agent's own SVID was renewed, or not.
    pub fn agent_renewed(&self, outcome: Outcome) {
        count(&self.0.agent_renewals, outcome);
    }

    /// The server's word about entries arrived, or did not.
    pub fn synchronised(&self, outcome: Outcome) {
        count(&self.0.entry_syncs, outcome);
    }

    /// What the server's word amounts to now.
    pub fn known(&self, entries: usize, stale: usize, bundles: usize) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.0.entries.set(gauge(entries));
        self.0.entries_stale.set(gauge(stale));
        self.0.bundles.set(gauge(bundles));
    }

    /// An entry was not understood.
    pub fn entry_dropped(&self) {
        self.0.entries_dropped.inc();
    }

    /// A batch of SVIDs was answered, or not.
    pub fn batch_answered(&self, outcome: Outcome) {
        count(&self.0.svid_updates, outcome);
    }

    /// Of a batch, so many SVIDs are in use now and so many are not.
    pub fn signed(&self, installed: usize, failed: usize) {
        self.0.svids_signed.inc_by(installed as u64);
        self.0.svids_failed.inc_by(failed as u64);
    }

    /// SVIDs taken into use so far.
    #[must_use]
    pub fn svids_signed(&self) -> u64 {
        self.0.svids_signed.get()
    }

    /// A workload was attested within `time`, or not.
    pub fn workload_attested(&self, outcome: Outcome, time: Duration) {
        count(&self.0.workload_attestations, outcome);
        self.0.attestation_time.observe(time.as_secs_f64());
    }
}

fn count(family: &Family<StatusLabel, Tally>, outcome: Outcome) {
    family.get_or_create(&StatusLabel { status: outcome.name() }).inc();
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: i64| {
            let gauge = ConstGauge::new(value);
            let encoder =
                encoder.encode_descriptor(name, help, None::<&Unit>, gauge.metric_type())?;
            gauge.encode(encoder)
        };
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (entries, svids) = (self.cached)();
        gauge("lru_cache_record_map_size", "Entries in the cache", number(entries))?;
        gauge("lru_cache_svid_map_size", "SVIDs in the cache", number(svids))?;
        if let Some(at) = (self.last_sync)() {
            let help = "When the server was last heard";
            gauge("last_sync_success_timestamp_seconds", help, unix_secs(at))?;
        }
        if let Some(at) = (self.agent_svid_end)() {
            let help = "When the agent's own SVID ends";
            gauge("agent_svid_not_after_timestamp_seconds", help, unix_secs(at))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_upkeep_metrics_are_kept() {
        let (metrics, mut registry) =
            (UpkeepMetrics::default(), Registry::with_prefix("spire_agent"));
        metrics.register(&mut registry);
        let observed = Observed {
            last_sync: Box::new(|| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9))),
            agent_svid_end: Box::new(|| None),
            cached: Box::new(|| (3, 2)),
        };
        UpkeepMetrics::observe(&mut registry, observed);
        metrics.node_attested("join_token", Outcome::UNAVAILABLE);
        metrics.synchronised(Outcome::OK);
        metrics.known(5, 1, 2);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "spire_agent_node_attestor_new_svid{attestor=\"join_token\",status=\"Unavailable\"} 1",
            "spire_agent_manager_sync_fetch_entries_updates{status=\"OK\"} 1",
            "spire_agent_sync_entries_total 5",
            "spire_agent_sync_bundles_total 2",
            "spire_agent_lru_cache_record_map_size 3",
            "spire_agent_lru_cache_svid_map_size 2",
            "spire_agent_last_sync_success_timestamp_seconds 9",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("agent_svid_not_after"), "{text}");
    }
}
