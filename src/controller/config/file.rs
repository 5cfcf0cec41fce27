//! spire-controller-manager's configuration file as it is written: YAML, or JSON, which is YAML too.
//!
//! Mirrors `api/v1alpha1/controllermanagerconfig_types.go` of 0.7 key by key and judges no value. A key
//! that nobody knows is refused with its place: it was meant to change something.

use crate::config::value;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct RawController {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    /// Nobody reads it; `kubectl` users write it.
    pub(super) metadata: Option<serde::de::IgnoredAny>,
    pub(super) cluster_name: String,
    pub(super) cluster_domain: String,
    pub(super) trust_domain: String,
    pub(super) ignore_namespaces: Option<Vec<String>>,
    pub(super) validating_webhook_configuration_name: String,
    pub(super) gc_interval: Option<GoDuration>,
    #[serde(rename = "spireServerSocketPath")]
    pub(super) socket_path: String,
    pub(super) log_level: String,
    pub(super) log_encoding: String,
    pub(super) grpc: Option<RawGrpc>,
    pub(super) class_name: String,
    pub(super) watch_classless: bool,
    pub(super) filter_by_class_name: bool,
    #[serde(rename = "parentIDTemplate")]
    pub(super) parent_id_template: String,
    pub(super) reconcile: Option<RawReconcile>,
    #[serde(rename = "entryIDPrefix")]
    pub(super) entry_id_prefix: String,
    #[serde(rename = "entryIDPrefixCleanup")]
    pub(super) entry_id_prefix_cleanup: Option<String>,
    pub(super) static_manifest_path: Option<String>,
    pub(super) expand_env_static_manifests: bool,
    pub(super) enable_entry_render_cache: bool,
    pub(super) entry_render_cache_size: i64,
    pub(super) sync_period: Option<GoDuration>,
    pub(super) cache_namespace: String,
    pub(super) cache_namespaces: Option<BTreeMap<String, Option<RawNamespace>>>,
    pub(super) graceful_shut_down: Option<GoDuration>,
    pub(super) controller: Option<serde::de::IgnoredAny>,
    pub(super) leader_election: Option<RawLeaderElection>,
    pub(super) metrics: RawMetrics,
    pub(super) health: RawHealth,
    /// Istio's quick start has it; upstream reads past it, and shows its health nowhere.
    pub(super) health_probe: RawMetrics,
    pub(super) webhook: RawWebhook,
    /// Not upstream's: whether pods may name their own path and federation by annotation.
    pub(super) pod_annotations: bool,
    /// Not upstream's: whether many entries that nobody wants may be deleted at once.
    pub(super) allow_mass_deletes: bool,
    /// Not upstream's: the trust domains that a pod's annotation may name.
    pub(super) pod_annotation_trust_domains: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct RawGrpc {
    pub(super) max_call_recv_msg_size: Option<i64>,
}

/// Go leaves out what is false here, and the block as a whole means: only these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawReconcile {
    #[serde(rename = "clusterSPIFFEIDs")]
    pub(super) cluster_spiffe_ids: bool,
    #[serde(rename = "clusterFederatedTrustDomains")]
    pub(super) cluster_federated_trust_domains: bool,
    #[serde(rename = "clusterStaticEntries")]
    pub(super) cluster_static_entries: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct RawNamespace {
    pub(super) label_selectors: Option<BTreeMap<String, String>>,
    pub(super) field_selectors: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct RawLeaderElection {
    pub(super) leader_elect: Option<bool>,
    pub(super) lease_duration: Option<GoDuration>,
    pub(super) renew_deadline: Option<GoDuration>,
    pub(super) retry_period: Option<GoDuration>,
    pub(super) resource_lock: Option<String>,
    pub(super) resource_name: String,
    pub(super) resource_namespace: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct RawMetrics {
    pub(super) bind_address: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct RawHealth {
    pub(super) health_probe_bind_address: String,
    pub(super) readiness_endpoint_name: String,
    pub(super) liveness_endpoint_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct RawWebhook {
    pub(super) port: Option<i64>,
    pub(super) host: String,
    pub(super) cert_dir: String,
}

/// A duration as Go programs write it: `10s`, or a number of nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoDuration(pub(super) Duration);

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 10s, or a number of nanoseconds")
            }

            fn visit_u64<E: Error>(self, nanoseconds: u64) -> Result<GoDuration, E> {
                Ok(GoDuration(Duration::from_nanos(nanoseconds)))
            }

            fn visit_i64<E: Error>(self, nanoseconds: i64) -> Result<GoDuration, E> {
                let nanoseconds = u64::try_from(nanoseconds);
                nanoseconds
                    .map_err(|_| E::custom("a duration cannot be negative"))
                    .and_then(|n| self.visit_u64(n))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<GoDuration, E> {
                if let Ok(nanoseconds) = text.parse() {
                    return self.visit_u64(nanoseconds);
                }
                value::interval(text).map(GoDuration).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
