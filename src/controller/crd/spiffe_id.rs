//! ClusterSPIFFEID: a template of identities for the pods that its selectors choose.

use super::duration::GoDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the author of a ClusterSPIFFEID asks for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "spire.spiffe.io",
    version = "v1alpha1",
    kind = "ClusterSPIFFEID",
    root = "ClusterSpiffeId",
    plural = "clusterspiffeids",
    status = "ClusterSpiffeIdStatus",
    derive = "PartialEq",
    doc = "A template of identities for the pods that its selectors choose."
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpiffeIdSpec {
    /// The template of the SPIFFE ID.
    #[serde(rename = "spiffeIDTemplate")]
    pub spiffe_id_template: String,
    /// The life of X.509-SVIDs; nothing means the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<GoDuration>,
    /// The life of JWT-SVIDs; nothing means the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_ttl: Option<GoDuration>,
    /// Templates of DNS names.
    #[serde(default, deserialize_with = "super::read::nothing_if_null")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_name_templates: Vec<String>,
    /// Templates of further selectors, `type:value`.
    #[serde(default, deserialize_with = "super::read::nothing_if_null")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workload_selector_templates: Vec<String>,
    /// Names of trust domains whose bundles the workloads get too.
    #[serde(default, deserialize_with = "super::read::nothing_if_null")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub federates_with: Vec<String>,
    /// Which namespaces; nothing means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Which pods; nothing means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// The identity may administer the server.
    #[serde(default)]
    pub admin: bool,
    /// The identity may ask for a subordinate authority.
    #[serde(default)]
    pub downstream: bool,
    /// Add the names of the services that the pod stands behind.
    #[serde(default, rename = "autoPopulateDNSNames")]
    pub auto_populate_dns_names: bool,
    /// Which controller acts on this object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class_name: String,
    /// Only for pods to which no other ClusterSPIFFEID gives an identity.
    #[serde(default)]
    pub fallback: bool,
    /// Tells a workload with several identities which one this is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// What became of a ClusterSPIFFEID.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterSpiffeIdStatus {
    /// Counts, as spire-controller-manager gives them.
    #[serde(default)]
    pub stats: ClusterSpiffeIdStats,
    /// `Ready`, with the reason when it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Counts of the last reconciliation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSpiffeIdStats {
    /// Namespaces that the selector chose.
    pub namespaces_selected: i64,
    /// Of them, those that the configuration ignores.
    pub namespaces_ignored: i64,
    /// Pods that were chosen in the others; pods that have ended do not count.
    pub pods_selected: i64,
    /// Of them, those for which no entry could be rendered.
    pub pod_entry_render_failures: i64,
    /// Entries that another object gives already.
    pub entries_masked: i64,
    /// Entries that the server shall have.
    pub entries_to_set: i64,
    /// Of them, those that the server refused.
    pub entry_failures: i64,
}
