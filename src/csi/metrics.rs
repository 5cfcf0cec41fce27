//! What the driver counts, and under which names.

use super::mount::{Cleared, Published};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::time::Duration;
use tonic::Code;

/// From a mount that is there to a call that waited for another, in seconds.
const SECONDS: [f64; 9] = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: &'static str,
    code: String,
}

/// The driver's counts. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct CsiMetrics {
    calls: Family<Outcome, Counter>,
    seconds: Histogram,
    repeated: Counter,
    renewed: Counter,
    stacked: Counter,
    detached: Counter,
    registered: Gauge,
}

impl CsiMetrics {
    pub(super) fn new() -> Self {
        Self {
            calls: Family::default(),
            seconds: Histogram::new(SECONDS),
            repeated: Counter::default(),
            renewed: Counter::default(),
            stacked: Counter::default(),
            detached: Counter::default(),
            registered: Gauge::default(),
        }
    }

    /// Makes them visible in `registry`, which brings the prefix.
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { calls, seconds, repeated, renewed, stacked, detached, registered } =
            self.clone();
        registry.register("calls", "Publish and unpublish calls by gRPC code", calls);
        registry.register("call_seconds", "Time of a publish or unpublish", seconds);
        registry.register(
            "publish_repeats",
            "Publish calls that found the volume mounted",
            repeated,
        );
        registry.register(
            "stale_mounts",
            "Mounts of a directory that was deleted, replaced by a publish",
            renewed,
        );
        registry.register("stacked_mounts", "Mounts beyond the first of a volume", stacked);
        registry.register("detached_mounts", "Mounts that were unmounted while in use", detached);
        registry.register("registered", "1 while the kubelet has accepted this driver", registered);
    }

    pub(super) fn called(&self, method: &'static str, code: Code, took: Duration) {
        self.calls.get_or_create(&Outcome { method, code: format!("{code:?}") }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn published(&self, published: Published) {
        match published {
            Published::Mounted => {}
            Published::Already => drop(self.repeated.inc()),
            Published::Renewed => drop(self.renewed.inc()),
        }
    }

    pub(super) fn cleared(&self, cleared: Cleared) {
        self.stacked.inc_by(cleared.mounts.saturating_sub(1).into());
        self.detached.inc_by(cleared.detached.into());
    }

    /// The kubelet has accepted the driver.
    pub(super) fn registered(&self) {
        self.registered.set(1);
    }

    /// The kubelet has refused it.
    pub(super) fn refused(&self) {
        self.registered.set(0);
    }
}
