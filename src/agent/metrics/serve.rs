//! What streams do, and under which names it is counted.
//!
//! The code that knows of an event calls a method here and knows no names.

use crate::telemetry::Tally;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

/// The two APIs on the workload socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// Envoy's secret discovery service.
    Sds,
    /// The SPIFFE Workload API.
    Workload,
}

/// Which API an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ApiLabel {
    /// The API.
    pub api: Api,
}

/// What streams do: their number, what they wait for, what they are sent. Clones count together.
#[derive(Clone, Debug)]
pub struct ServeMetrics {
    sds_connections: Gauge,
    sds_connection: Tally,
    workload_connections: Gauge,
    workload_connection: Tally,
    held: Gauge,
    sds_pushes: Pushes,
    workload_pushes: Pushes,
    pushes: Family<ApiLabel, Counter>,
    pushed_bytes: Family<ApiLabel, Counter>,
    suppressed: Counter,
    acks: Counter,
    nacks: Counter,
    refused: Counter,
    first_secret: Histogram,
    push_delay: Histogram,
    recent_delays: Arc<Mutex<VecDeque<Duration>>>,
}

/// The responses of one API.
#[derive(Clone, Debug)]
struct Pushes {
    count: Counter,
    bytes: Counter,
}

/// How many delays a display may look back on; older ones live on in the histogram only.
const RECENT: usize = 1024;

/// From the 100 µs of a warm cache to the 30 s after which an operator looks, in steps of about three.
const SECONDS: [f64; 12] =
    [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

impl ServeMetrics {
    /// Nothing counted yet, nothing registered.
    #[must_use]
    pub fn new() -> Self {
        let (pushes, pushed_bytes) = (Family::default(), Family::default());
        let of = |api| Pushes::of(&ApiLabel { api }, &pushes, &pushed_bytes);
        Self {
            sds_pushes: of(Api::Sds),
            workload_pushes: of(Api::Workload),
            sds_connections: Gauge::default(),
            sds_connection: Tally::default(),
            workload_connections: Gauge::default(),
            workload_connection: Tally::default(),
            held: Gauge::default(),
            pushes,
            pushed_bytes,
            suppressed: Counter::default(),
            acks: Counter::default(),
            nacks: Counter::default(),
            refused: Counter::default(),
            first_secret: Histogram::new(SECONDS),
            push_delay: Histogram::new(SECONDS),
            recent_delays: Arc::default(),
        }
    }

    /// Makes everything visible in `registry`, which brings the prefix.
    pub fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        gauge("sds_api_connections", "Open SDS streams", &self.sds_connections);
        gauge("workload_api_connections", "Open Workload API calls", &self.workload_connections);
        gauge("streams_held", "Streams that wait for an identity", &self.held);
        registry.register("pushes", "Responses sent", self.pushes.clone());
        registry.register("pushed_bytes", "Bytes of responses sent", self.pushed_bytes.clone());
        let mut tally = |name: &str, help: &str, tally: &Tally| {
            registry.register(name, help, tally.clone());
        };
        tally("sds_api_connection", "SDS streams ever opened", &self.sds_connection);
        tally("workload_api_connection", "Workload API calls so far", &self.workload_connection);
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter(
            "pushes_suppressed",
            "Changes that left a stream's bytes as they were",
            &self.suppressed,
        );
        counter("sds_acks", "Responses that Envoy took", &self.acks);
        counter("sds_nacks", "Responses that Envoy refused", &self.nacks);
        counter("requests_refused", "Requests refused as malformed or over a limit", &self.refused);
        let help = "From the request to its first secret";
        registry.register("first_secret_seconds", help, self.first_secret.clone());
        let help = "From a change in the cache to its push";
        registry.register("push_delay_seconds", help, self.push_delay.clone());
    }

    /// A stream (or a unary call) began.
    pub fn stream_opened(&self, api: Api) {
        let (open, ever) = self.of(api);
        open.inc();
        ever.inc();
    }

    /// A stream that [`ServeMetrics::stream_opened`] counted has ended.
    pub fn stream_closed(&self, api: Api) {
        self.of(api).0.dec();
    }

    /// A stream began to wait for an identity.
    pub fn held(&self) {
        self.held.inc();
    }

    /// A stream that [`ServeMetrics::held`] counted waits no longer.
    pub fn released(&self) {
        self.held.dec();
    }

    /// A response of `bytes` bytes was handed to the transport.
    pub fn pushed(&self, api: Api, bytes: usize) {
        let pushes = match api {
            Api::Sds => &self.sds_pushes,
            Api::Workload => &self.workload_pushes,
        };
        pushes.count.inc();
        pushes.bytes.inc_by(bytes as u64);
    }

    /// A stream woke and its bytes were the same as those sent before.
    pub fn suppressed(&self) {
        self.suppressed.inc();
    }

    /// Envoy took a response.
    pub fn acked(&self) {
        self.acks.inc();
    }

    /// Envoy refused a response.
    pub fn nacked(&self) {
        self.nacks.inc();
    }

    /// A request was refused.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// A stream got its first secret `after` its request.
    pub fn first_secret(&self, after: Duration) {
        self.first_secret.observe(after.as_secs_f64());
    }

    /// A change was pushed `after` it had entered the cache.
    pub fn push_delay(&self, after: Duration) {
        self.push_delay.observe(after.as_secs_f64());
        let mut recent = self.recent_delays.lock();
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(after);
    }

    /// Responses sent so far on both APIs.
    #[must_use]
    pub fn pushes(&self) -> u64 {
        self.sds_pushes.count.get() + self.workload_pushes.count.get()
    }

    /// The last delays given to [`ServeMetrics::push_delay`], oldest first.
    #[must_use]
    pub fn recent_push_delays(&self) -> Vec<Duration> {
        self.recent_delays.lock().iter().copied().collect()
    }

    /// Open streams and streams ever.
    const fn of(&self, api: Api) -> (&Gauge, &Tally) {
        match api {
            Api::Sds => (&self.sds_connections, &self.sds_connection),
            Api::Workload => (&self.workload_connections, &self.workload_connection),
        }
    }
}

impl Pushes {
    fn of(
        label: &ApiLabel,
        pushes: &Family<ApiLabel, Counter>,
        bytes: &Family<ApiLabel, Counter>,
    ) -> Self {
        Self { count: pushes.get_or_create_owned(label), bytes: bytes.get_or_create_owned(label) }
    }
}

impl EncodeLabelValue for Api {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Sds => "sds",
            Self::Workload => "workload",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

impl Default for ServeMetrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_serving_metrics_are_kept() {
        let (metrics, mut registry) = (ServeMetrics::new(), Registry::with_prefix("spire_agent"));
        metrics.register(&mut registry);
        metrics.stream_opened(Api::Sds);
        metrics.pushed(Api::Sds, 700);
        metrics.first_secret(Duration::from_millis(2));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "spire_agent_sds_api_connections 1",
            "spire_agent_sds_api_connection 1",
            "spire_agent_workload_api_connections 0",
            "spire_agent_streams_held 0",
            "spire_agent_pushes_total{api=\"sds\"} 1",
            "spire_agent_pushed_bytes_total{api=\"sds\"} 700",
            "spire_agent_first_secret_seconds_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert_eq!(metrics.pushes(), 1);
    }

    #[test]
    fn a_display_looks_back_on_the_last_delays_only() {
        let metrics = ServeMetrics::new();
        for millis in 0..2_000 {
            metrics.push_delay(Duration::from_millis(millis));
        }
        let recent = metrics.recent_push_delays();
        assert_eq!((recent.len(), recent[0]), (RECENT, Duration::from_millis(976)));
    }
}
