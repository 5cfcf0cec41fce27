//! A pod as selectors and templates see it.
//!
//! Dropped, because no identity depends on them and they are most of a pod: environment, volumes,
//! commands, probes, resources, affinities, managed fields, the status but for its phase.

use super::labels::Labels;
use std::sync::Arc;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its UID, which no other pod ever has.
    pub uid: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What its name was made of.
    pub generate_name: Arc<str>,
    /// The node that it was given; nothing until then.
    pub node: Option<Arc<str>>,
    /// How far it has come.
    pub phase: Phase,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations, without `kubectl`'s copy of the whole pod.
    pub annotations: Labels,
    /// Who made it.
    pub owners: Arc<[OwnerReference]>,
    /// Its host name, if that was chosen.
    pub hostname: Arc<str>,
    /// What it has in common with the other replicas.
    pub spec: Arc<PodSpec>,
}

/// How far a pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It runs, or will.
    Live,
    /// It has succeeded or failed: none of its processes will ever ask for an identity.
    Ended,
}

/// Who made a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnerReference {
    /// Group and version of the owner.
    pub api_version: Arc<str>,
    /// Its kind.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
    /// Whether it is the one that manages the pod.
    pub controller: Option<bool>,
}

/// The part of a pod's spec that replicas share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodSpec {
    /// Containers, in order.
    pub containers: Vec<Container>,
    /// Containers that run before the others, or beside them.
    pub init_containers: Vec<Container>,
    /// Containers that were added to debug.
    pub ephemeral_containers: Vec<Container>,
    /// The service account.
    pub service_account_name: Arc<str>,
    /// `Always`, `OnFailure` or `Never`.
    pub restart_policy: Arc<str>,
    /// How long the pod may take to end.
    pub termination_grace_period_seconds: Option<i64>,
    /// How long it may be active.
    pub active_deadline_seconds: Option<i64>,
    /// How its names are resolved.
    pub dns_policy: Arc<str>,
    /// Labels that its node must have.
    pub node_selector: Labels,
    /// Whether a token of the service account is mounted.
    pub automount_service_account_token: Option<bool>,
    /// It shares the node's network.
    pub host_network: bool,
    /// It shares the node's processes.
    pub host_pid: bool,
    /// It shares the node's IPC.
    pub host_ipc: bool,
    /// Its containers share their processes.
    pub share_process_namespace: Option<bool>,
    /// Names of secrets for pulling images.
    pub image_pull_secrets: Vec<Arc<str>>,
    /// The domain of its host name.
    pub subdomain: Arc<str>,
    /// Who chose its node.
    pub scheduler_name: Arc<str>,
    /// The name of its priority.
    pub priority_class_name: Arc<str>,
    /// Its priority.
    pub priority: Option<i32>,
    /// What runs it.
    pub runtime_class_name: Option<Arc<str>>,
    /// Whether services are in its environment.
    pub enable_service_links: Option<bool>,
    /// Whether its host name is the full one.
    pub set_hostname_as_fqdn: Option<bool>,
    /// Whether it uses the node's user namespace.
    pub host_users: Option<bool>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Container {
    /// Its name.
    pub name: Arc<str>,
    /// Its image, as the pod names it.
    pub image: Arc<str>,
    /// Where its process starts.
    pub working_dir: Arc<str>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// When the image is pulled.
    pub image_pull_policy: Arc<str>,
    /// `Always` for a sidecar among the init containers.
    pub restart_policy: Option<Arc<str>>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Port {
    /// Its name.
    pub name: Arc<str>,
    /// The port on the node; 0 for none.
    pub host_port: i32,
    /// The port in the pod.
    pub container_port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Arc<str>,
    /// The node's address that it is bound to.
    pub host_ip: Arc<str>,
}

impl Pod {
    /// All containers: those that run first, the others, and those added to debug.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        let spec = &self.spec;
        [&spec.init_containers, &spec.containers, &spec.ephemeral_containers].into_iter().flatten()
    }
}
