//! Which places hold the current bundle. One label value for each place of the configuration.

use crate::telemetry::Tally;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// Of all places. Clones count together.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct PublishMetrics {
    current: Family<Place, Gauge>,
    failures: Family<Place, Tally>,
}

/// Of one place.
#[derive(Clone, Debug)]
pub(super) struct PlaceMetrics {
    /// 1 if it held the current bundle when it was last looked at.
    pub(super) current: Gauge,
    /// How often looking or writing failed.
    pub(super) failures: Tally,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    place: String,
}

impl PublishMetrics {
    /// Makes them visible in `registry`, which brings the prefix.
    pub(in crate::server) fn register(&self, registry: &mut Registry) {
        let help = "Whether a place held the current trust bundle at the last look";
        registry.register("bundle_published", help, self.current.clone());
        let help = "Looks at a place, or writes to it, that failed";
        registry.register("bundle_publish_failures", help, self.failures.clone());
    }

    pub(super) fn of(&self, place: &str) -> PlaceMetrics {
        let place = Place { place: place.to_owned() };
        PlaceMetrics {
            current: self.current.get_or_create_owned(&place),
            failures: self.failures.get_or_create_owned(&place),
        }
    }
}
