//! What could be read of a cluster, and what could not.

use super::{
    objects::{ClusterSpiffeId, CsiNode, Metadata, Namespace, Node, Pod, Webhook, Workload},
    settings::{Injector, Mesh, Settings},
};
use crate::{
    doctor::Finding,
    k8s::{KubeError, Place},
};
use std::fmt;

/// What could be read of a cluster.
#[derive(Debug)]
pub struct Seen {
    pub(super) programs: Programs,
    pub(super) agent_settings: Answer<Vec<Settings>>,
    pub(super) server_settings: Answer<Vec<Settings>>,
    pub(super) istio: Istio,
    pub(super) nodes: Answer<Vec<Node>>,
    pub(super) csi_nodes: Answer<Vec<CsiNode>>,
    pub(super) csi_drivers: Answer<Vec<Named>>,
    /// With the ready endpoints of the service behind each; called by their configuration.
    pub(super) webhooks: Answer<Vec<(Called<Webhook>, usize)>>,
    pub(super) identities: Answer<Vec<ClusterSpiffeId>>,
    pub(super) namespaces: Answer<Vec<Namespace>>,
    pub(super) pods: Answer<Vec<Pod>>,
}

#[derive(Debug)]
pub(super) struct Programs {
    pub(super) agents: Answer<Vec<Workload>>,
    pub(super) servers: Answer<Vec<Workload>>,
}

/// Several of each when Istio has revisions.
#[derive(Debug)]
pub(super) struct Istio {
    pub(super) namespace: String,
    pub(super) meshes: Answer<Vec<Called<Mesh>>>,
    pub(super) injectors: Answer<Vec<Called<Injector>>>,
    /// istiod's Deployments.
    pub(super) pilots: Answer<Vec<Workload>>,
}

/// Something with the name of the object that it was read from.
#[derive(Clone, Debug)]
pub(super) struct Called<T> {
    pub(super) name: String,
    pub(super) it: T,
}

/// An object of which the name is all that matters.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) metadata: Metadata,
}

/// What was read, or why it was not.
pub(super) type Answer<T> = Result<T, Unread>;

/// Something that the doctor could not read.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    why: String,
    next: String,
}

impl Unread {
    /// The API server does not show it.
    pub(super) fn refused(place: &Place, error: &KubeError) -> Self {
        Self { why: format!("{place}: {error}"), next: place.can_i() }
    }

    /// It is there, and not what it should be.
    pub(super) fn senseless(place: &Place, error: &impl fmt::Display) -> Self {
        Self { why: format!("{place} makes no sense: {error}"), next: place.show() }
    }

    pub(super) fn finding(&self) -> Finding {
        Finding::unknown(format!("cannot tell: {}", self.why), self.next.clone())
    }
}
