//! What a template is rendered with: the cluster, a node, and a pod on it.

use super::fields;
use crate::controller::{settings::Settings, world::Node, world::Pod};
use gotmpl::Value;
use std::sync::Arc;

/// The data of one rendering.
#[derive(Clone, Debug)]
pub struct Data(Value);

impl Data {
    /// The data for what is about a node alone.
    #[must_use]
    pub fn of_node(settings: &Settings, node: &Node) -> Self {
        Self(fields::structure(common(settings, node)))
    }

    /// The data for what is about a pod.
    #[must_use]
    pub fn of_pod(settings: &Settings, node: &Node, pod: &Pod) -> Self {
        let pod = [("PodMeta", fields::pod_meta(pod)), ("PodSpec", fields::pod_spec(pod))];
        Self(fields::structure(common(settings, node).into_iter().chain(pod)))
    }

    pub(super) const fn value(&self) -> &Value {
        &self.0
    }
}

fn common(settings: &Settings, node: &Node) -> [(&'static str, Value); 5] {
    [
        ("TrustDomain", Value::String(settings.trust_domain.name().into())),
        ("ClusterName", Value::String(Arc::clone(&settings.cluster_name))),
        ("ClusterDomain", Value::String(Arc::clone(&settings.cluster_domain))),
        ("NodeMeta", fields::node_meta(node)),
        ("NodeSpec", fields::node_spec(node)),
    ]
}
