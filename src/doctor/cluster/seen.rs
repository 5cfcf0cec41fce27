//! What could be read of a cluster and what could not, and what all of it comes to.

use super::{
    identities, istio, nodes,
    objects::{ClusterSpiffeId, CsiNode, Metadata, Node, Webhook, Workload},
    settings::{Injector, Mesh, Settings},
    spire,
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

    fn finding(&self) -> Finding {
        Finding::unknown(format!("cannot tell: {}", self.why), self.next.clone())
    }
}

/// What a cluster comes to.
#[must_use]
pub fn findings(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let empty = Vec::new();
    let nodes = seen.nodes.as_ref().unwrap_or(&empty);
    if let Ok(agents) = &seen.programs.agents {
        findings.extend(nodes::agents(agents, nodes));
    }
    if let Ok(servers) = &seen.programs.servers {
        findings.extend(spire::servers(servers));
    }
    let agents = seen.agent_settings.as_deref().unwrap_or_default();
    let servers = seen.server_settings.as_deref().unwrap_or_default();
    findings.extend(spire::trust_domains(servers, agents));
    if let (Ok(drivers), Ok(csi_nodes)) = (&seen.csi_drivers, &seen.csi_nodes) {
        findings.extend(nodes::driver(drivers, csi_nodes, nodes));
    }
    let identities = seen.identities.as_deref().unwrap_or_default();
    findings.extend(istio::mesh(&seen.istio, servers.iter().chain(agents).next(), identities));
    findings.extend(istio::socket(&seen.istio, agents));
    findings.extend(istio::templates(&seen.istio, nodes));
    if let Ok(webhooks) = &seen.webhooks {
        findings.extend(spire::webhooks(webhooks));
    }
    if let Ok(identities) = &seen.identities {
        findings.extend(identities::ready(identities));
    }
    findings.extend(unread(seen).into_iter().map(Unread::finding));
    findings
}

fn unread(seen: &Seen) -> Vec<&Unread> {
    let Seen { programs, istio, .. } = seen;
    let all = [
        programs.agents.as_ref().err(),
        programs.servers.as_ref().err(),
        seen.agent_settings.as_ref().err(),
        seen.server_settings.as_ref().err(),
        istio.meshes.as_ref().err(),
        istio.injectors.as_ref().err(),
        istio.pilots.as_ref().err(),
        seen.nodes.as_ref().err(),
        seen.csi_nodes.as_ref().err(),
        seen.csi_drivers.as_ref().err(),
        seen.webhooks.as_ref().err(),
        seen.identities.as_ref().err(),
    ];
    all.into_iter().flatten().collect()
}
