//! What all that could be read comes to, and what could not be read with the right to ask for.

use super::{
    identities, istio, nodes, pods,
    seen::{Seen, Unread},
    spire,
};
use crate::doctor::Finding;

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
    if let (Ok(pods), Ok(namespaces), Ok(identities)) =
        (&seen.pods, &seen.namespaces, &seen.identities)
    {
        findings.extend(pods::identities(pods, namespaces, identities));
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
        seen.namespaces.as_ref().err(),
        seen.pods.as_ref().err(),
    ];
    all.into_iter().flatten().collect()
}
