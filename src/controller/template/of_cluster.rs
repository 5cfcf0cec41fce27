//! Makes the data of a template of what is known of the cluster.

use super::{data::Data, fields};
use crate::controller::{settings::Settings, world::Node, world::Pod};
use gotmpl::Value;
use std::sync::Arc;

impl Data {
    /// The data for what is about a node alone.
    #[must_use]
    pub fn of_node(settings: &Settings, node: &Node) -> Self {
        Self::new(fields::structure(common(settings, node)))
    }

    /// The data for what is about a pod.
    #[must_use]
    pub fn of_pod(settings: &Settings, node: &Node, pod: &Pod) -> Self {
        let pod = [("PodMeta", fields::pod_meta(pod)), ("PodSpec", fields::pod_spec(pod))];
        Self::new(fields::structure(common(settings, node).into_iter().chain(pod)))
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
