//! Nodes and namespaces.

use super::labels::Labels;
use std::sync::Arc;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its UID; a node that is made anew has another.
    pub uid: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// The addresses of its pods.
    pub pod_cidr: Arc<str>,
    /// The addresses of its pods, by family.
    pub pod_cidrs: Vec<Arc<str>>,
    /// What its cloud calls it.
    pub provider_id: Arc<str>,
    /// No new pod is put on it.
    pub unschedulable: bool,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
}
