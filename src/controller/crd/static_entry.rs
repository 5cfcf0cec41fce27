//! ClusterStaticEntry: one entry, written out.

use super::duration::GoDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The entry that the author of a ClusterStaticEntry asks for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "spire.spiffe.io",
    version = "v1alpha1",
    kind = "ClusterStaticEntry",
    plural = "clusterstaticentries",
    status = "ClusterStaticEntryStatus",
    derive = "PartialEq",
    doc = "One registration entry, written out."
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStaticEntrySpec {
    /// The identity that the entry gives.
    #[serde(rename = "spiffeID")]
    pub spiffe_id: String,
    /// The agent, or the alias of agents, under which it may be used.
    #[serde(rename = "parentID")]
    pub parent_id: String,
    /// What a workload must have, `type:value` each.
    #[serde(deserialize_with = "super::read::nothing_if_null")]
    pub selectors: Vec<String>,
    /// Names of trust domains whose bundles the workload gets too.
    #[serde(default, deserialize_with = "super::read::nothing_if_null")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub federates_with: Vec<String>,
    /// The life of X.509-SVIDs; nothing means the server's default.
    #[serde(default, rename = "x509SVIDTTL", skip_serializing_if = "Option::is_none")]
    pub x509_svid_ttl: Option<GoDuration>,
    /// The life of JWT-SVIDs; nothing means the server's default.
    #[serde(default, rename = "jwtSVIDTTL", skip_serializing_if = "Option::is_none")]
    pub jwt_svid_ttl: Option<GoDuration>,
    /// DNS names of the X.509-SVID.
    #[serde(default, deserialize_with = "super::read::nothing_if_null")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Tells a workload with several identities which one this is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// The identity may administer the server.
    #[serde(default)]
    pub admin: bool,
    /// The identity may ask for a subordinate authority.
    #[serde(default)]
    pub downstream: bool,
    /// The SVID is for a store plugin, not for a workload on the node.
    #[serde(default, rename = "storeSVID")]
    pub store_svid: bool,
    /// Which controller acts on this object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class_name: String,
}

/// What became of a ClusterStaticEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStaticEntryStatus {
    /// The fields make an entry.
    #[serde(default)]
    pub rendered: bool,
    /// Another object gives the same entry already.
    #[serde(default)]
    pub masked: bool,
    /// The server has the entry.
    #[serde(default)]
    pub set: bool,
    /// `Ready`, with the reason when it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
