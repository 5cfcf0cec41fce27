//! What the server counts, and under which names.
//!
//! Owns the metrics of the whole server, each documented where it is registered. Names of SPIRE are
//! kept where the thing is the same, so that dashboards stay. Labels have values from fixed sets only:
//! a method that does not exist is not counted by its name.

use super::{authorize::METHODS, ca::CaState, store::Store};
use crate::{
    runtime::{Clock, Reader},
    telemetry::Tally,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};
use std::{collections::HashMap, fmt, sync::Arc};
use tokio::time::Instant;
use tonic::Code;

/// From a lookup in memory to a caller that waited for its turn, in seconds.
const SECONDS: [f64; 10] = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Counts calls by method and outcome. Clones count together.
#[derive(Clone, Debug)]
pub struct RpcMetrics(Arc<HashMap<&'static str, Method>>);

#[derive(Debug)]
struct Method {
    name: String,
    outcomes: Family<Outcome, Tally>,
    seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    status: &'static str,
}

/// A call that has begun. It ends by [`RpcCall::finish`]; dropped before, it was cancelled.
#[derive(Debug)]
pub struct RpcCall {
    metrics: RpcMetrics,
    method: Option<&'static str>,
    since: Instant,
}

impl RpcMetrics {
    /// Nothing counted yet, nothing registered.
    #[must_use]
    pub fn new() -> Self {
        let method = |path| Method {
            name: spire_name(path),
            outcomes: Family::default(),
            seconds: Histogram::new(SECONDS),
        };
        Self(Arc::new(METHODS.iter().map(|(path, _)| (*path, method(path))).collect()))
    }

    /// Makes every method visible in `registry`, which brings the prefix.
    pub fn register(&self, registry: &mut Registry) {
        for method in self.0.values() {
            let Method { name, outcomes, seconds } = method;
            registry.register(name, "Calls by gRPC status", outcomes.clone());
            let help = "From the request to the end of the answer";
            registry.register(format!("{name}_seconds"), help, seconds.clone());
        }
    }

    /// A call of the method at `path` begins.
    #[must_use]
    pub fn begin(&self, path: &str) -> RpcCall {
        let method = self.0.get_key_value(path).map(|(path, _)| *path);
        RpcCall { metrics: self.clone(), method, since: Instant::now() }
    }
}

impl Default for RpcMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl RpcCall {
    /// The call has ended with `code`.
    pub fn finish(mut self, code: Code) {
        self.count(code);
    }

    fn count(&mut self, code: Code) {
        let Some(method) = self.method.take().and_then(|path| self.metrics.0.get(path)) else {
            return;
        };
        method.outcomes.get_or_create(&Outcome { status: go_name(code) }).inc();
        method.seconds.observe(self.since.elapsed().as_secs_f64());
    }
}

impl Drop for RpcCall {
    fn drop(&mut self) {
        self.count(Code::Cancelled);
    }
}

/// `/spire.api.server.agent.v1.Agent/AttestAgent` → `rpc_agent_v1_agent_attest_agent`, as SPIRE names
/// its counters; health is `rpc_health_check`.
fn spire_name(path: &str) -> String {
    let short = path.trim_start_matches('/');
    let short = short.strip_prefix("spire.api.server.").unwrap_or(short);
    let short = short.strip_prefix("grpc.health.v1.").unwrap_or(short);
    let mut name = String::from("rpc_");
    let mut before = '_';
    for letter in short.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            name.push('_');
        }
        name.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' });
        before = letter;
    }
    name
}

/// A code's name in Go, which is what SPIRE's label says.
const fn go_name(code: Code) -> &'static str {
    match code {
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

/// Counts the agents that watch. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct WatchMetrics {
    open: Gauge,
}

/// One open watch stream; it closes when dropped.
#[derive(Debug)]
pub struct OpenStream(Gauge);

impl WatchMetrics {
    /// Makes the number visible in `registry`, which brings the prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("watching_agents", "Agents with an open watch stream", self.open.clone());
    }

    /// A stream has opened.
    #[must_use]
    pub fn open(&self) -> OpenStream {
        self.open.inc();
        OpenStream(self.open.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Facts that are looked up when somebody asks, instead of being counted.
pub struct ServerFacts {
    /// The wall clock.
    pub clock: Clock,
    /// What the server knows.
    pub store: Store,
    /// The authorities.
    pub ca: Reader<CaState>,
}

impl ServerFacts {
    /// Makes them visible in `registry`, which brings the prefix.
    pub fn register(self, registry: &mut Registry) {
        registry.register_collector(Box::new(self));
    }

    fn rows(&self) -> Vec<(&'static str, &'static str, i64)> {
        let ca = self.ca.current();
        let now = self.clock.unix_now();
        let expires_at = ca.active.as_ref().map_or(0, |active| active.expires_at);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        vec![
            (
                "manager_x509_ca_rotate_expiration",
                "When the signing authority ends, in seconds since the Unix epoch",
                expires_at,
            ),
            (
                "manager_x509_ca_rotate_ttl",
                "Seconds until the signing authority ends",
                (expires_at - now).max(0),
            ),
            ("ca_rotations", "Authorities that followed another", count_u64(ca.rotations)),
            ("agents", "Attested agents, banned ones too", count(self.store.nodes().len())),
            ("entries", "Registration entries", count(self.store.entry_count())),
            (
                "store_changes",
                "Changes since the start",
                count_u64(self.store.sequence().current()),
            ),
        ]
    }
}

fn count_u64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Collector for ServerFacts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in self.rows() {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ServerFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerFacts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_spires_names() {
        for (path, name) in [
            ("/spire.api.server.agent.v1.Agent/AttestAgent", "rpc_agent_v1_agent_attest_agent"),
            (
                "/spire.api.server.svid.v1.SVID/BatchNewX509SVID",
                "rpc_svid_v1_svid_batch_new_x509svid",
            ),
            (
                "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries",
                "rpc_entry_v1_entry_sync_authorized_entries",
            ),
            ("/grpc.health.v1.Health/Check", "rpc_health_check"),
            ("/finial.agent.v1.Watch/Watch", "rpc_finial_agent_v1_watch_watch"),
        ] {
            assert_eq!(spire_name(path), name);
        }
    }

    #[test]
    fn a_call_counts_once_by_its_outcome_and_an_unfinished_one_as_cancelled() {
        let metrics = RpcMetrics::new();
        let check = "/grpc.health.v1.Health/Check";
        metrics.begin(check).finish(Code::Ok);
        drop(metrics.begin(check));
        metrics.begin("/no.such.Method/AtAll").finish(Code::Unimplemented);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in
            [r#"rpc_health_check{status="OK"} 1"#, r#"rpc_health_check{status="Canceled"} 1"#]
        {
            assert!(text.contains(line), "{line} is missing");
        }
        assert!(!text.contains("no_such"));
    }
}
