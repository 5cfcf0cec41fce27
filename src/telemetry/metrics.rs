//! The registry that `/metrics` shows, under SPIRE's names.
//!
//! Metrics live beside the code that counts; here is only what every program has, the prefix and the
//! label that SPIRE puts on all of them, and [`Tally`] for SPIRE's counters.

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{borrow::Cow, fmt, fs, sync::Arc};
use tokio::time::Instant;

/// The program's metrics, complete. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Registry>);

/// A count under a name that SPIRE gave it. SPIRE's counters have no `_total` at the end, which
/// OpenMetrics demands of a counter, so this one is shown without a type.
#[derive(Clone, Debug, Default)]
pub struct Tally(Counter);

/// What the program is, for its first metrics.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// SPIRE's name of the program, `spire_agent` or `spire_server`, which all metrics begin with.
    pub program: &'static str,
    /// The trust domain it serves.
    pub trust_domain: &'a str,
    /// The program's version.
    pub version: &'a str,
}

impl Metrics {
    /// The metrics that every program has, and those that `register` adds.
    pub fn new(identity: Identity<'_>, register: impl FnOnce(&mut Registry)) -> Self {
        let host = (Cow::Borrowed("host"), Cow::Owned(host_name()));
        let labels = [host].into_iter();
        let mut registry = Registry::with_prefix_and_labels(identity.program, labels);
        let labels = vec![
            ("trust_domain_id", label_value(identity.trust_domain)),
            ("version", label_value(identity.version)),
        ];
        let started = Family::<Vec<(&str, String)>, Gauge>::default();
        started.get_or_create(&labels).set(1);
        registry.register("started", "The program has started", started);
        registry.register("uptime_in_ms", "Milliseconds since the start", Uptime(Instant::now()));
        register(&mut registry);
        Self(Arc::new(registry))
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = String::new();
        match text::encode(&mut page, &self.0) {
            Ok(()) => page,
            // Only a metric of ours that fails by itself could cause this.
            Err(error) => {
                tracing::error!(%error, "metrics could not be rendered");
                String::new()
            }
        }
    }
}

impl Tally {
    /// Counts one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Counts `count`.
    pub fn inc_by(&self, count: u64) {
        self.0.inc_by(count);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl EncodeMetric for Tally {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&i64::try_from(self.get()).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Tally {
    const TYPE: MetricType = MetricType::Unknown;
}

/// The time since the start, read when it is shown.
#[derive(Debug)]
struct Uptime(Instant);

impl EncodeMetric for Uptime {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let millis = self.0.elapsed().as_millis();
        encoder.encode_gauge(&i64::try_from(millis).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// A label value as SPIRE writes names and versions into labels: dots, dashes and the like become
/// underscores (SPIRE 1.15: `SanitizeLabels`).
#[must_use]
pub fn label_value(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// This machine's name; "unknown" where the kernel does not say.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(register: impl FnOnce(&mut Registry)) -> Metrics {
        let program = "spire_agent";
        Metrics::new(
            Identity { program, trust_domain: "example.org", version: "1.2.0-rc.1" },
            register,
        )
    }

    #[test]
    fn metrics_have_spires_names_and_labels() {
        let (requests, plain) = (Family::<Vec<(&str, &str)>, Tally>::default(), Tally::default());
        let page = agent(|registry| {
            registry.register("rpc_health_check", "Health checks", requests.clone());
            registry.register("sync_bundles", "Bundles", plain.clone());
        });
        requests.get_or_create(&vec![("status", "OK")]).inc_by(2);
        plain.inc();
        let host = host_name();
        let text = page.render();
        for line in [
            format!(
                "spire_agent_started{{host=\"{host}\",trust_domain_id=\"example_org\",version=\"1_2_0_rc_1\"}} 1"
            ),
            format!("spire_agent_rpc_health_check{{host=\"{host}\",status=\"OK\"}} 2"),
            format!("spire_agent_sync_bundles{{host=\"{host}\"}} 1"),
            "# TYPE spire_agent_rpc_health_check unknown".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_uptime_is_read_when_it_is_shown() {
        let page = agent(|_| {});
        tokio::time::advance(std::time::Duration::from_millis(1_500)).await;
        let text = page.render();
        let uptime = text.lines().find(|line| line.starts_with("spire_agent_uptime_in_ms"));
        assert!(uptime.is_some_and(|line| line.ends_with(" 1500")), "{text}");
    }
}
