//! Nodes: whether each has an agent, and a kubelet that knows the CSI driver.

use super::{
    objects::{CsiNode, Node, Workload},
    seen::Named,
};
use crate::doctor::{Finding, finding::listed};
use std::collections::BTreeSet;

/// The driver's name, everywhere.
pub(super) const DRIVER: &str = "csi.spiffe.io";

/// `nodes` may be empty because they could not be read.
pub(super) fn agents(agents: &[Workload], nodes: &[Node]) -> Vec<Finding> {
    if agents.is_empty() {
        return vec![Finding::problem(
            "no DaemonSet has a container spire-agent: no node has an agent",
            "helm install spire charts/spire -n spire-server -f spire-values.yaml",
        )];
    }
    let mut findings: Vec<Finding> = agents.iter().map(are_ready).collect();
    let meant: i64 = agents.iter().map(|set| set.status.desired_number_scheduled).sum();
    let open = i64::try_from(open(nodes).count()).unwrap_or(i64::MAX);
    if meant < open {
        findings.push(Finding::problem(
            format!("{open} nodes take pods, and agents are meant for {meant} of them"),
            format!("kubectl describe daemonset {}", flags(agents.first())),
        ));
    }
    findings
}

fn are_ready(agents: &Workload) -> Finding {
    let (ready, meant) = (agents.status.number_ready, agents.status.desired_number_scheduled);
    if ready < meant {
        return Finding::problem(
            format!("{ready} of {meant} agents are ready"),
            format!("kubectl describe daemonset {}", flags(Some(agents))),
        );
    }
    Finding::well(format!("{ready} of {meant} agents are ready"))
}

fn flags(set: Option<&Workload>) -> String {
    set.map(|set| format!("{} -n {}", set.metadata.name, set.metadata.namespace))
        .unwrap_or_default()
}

/// Nodes for pods of any kind. What runs on a tainted node has asked for it, and may have asked for no
/// agent.
fn open(nodes: &[Node]) -> impl Iterator<Item = &Node> {
    let repels = |node: &Node| {
        node.spec.taints.iter().any(|of| ["NoSchedule", "NoExecute"].contains(&of.effect.as_str()))
    };
    nodes.iter().filter(move |node| !repels(node))
}

pub(super) fn driver(drivers: &[Named], csi_nodes: &[CsiNode], nodes: &[Node]) -> Vec<Finding> {
    if !drivers.iter().any(|driver| driver.metadata.name == DRIVER) {
        return vec![Finding::problem(
            format!("there is no CSIDriver {DRIVER}: pods with its volume do not start"),
            "kubectl get csidrivers",
        )];
    }
    let has = |node: &&CsiNode| node.spec.drivers.iter().any(|driver| driver.name == DRIVER);
    let registered: BTreeSet<&str> =
        csi_nodes.iter().filter(has).map(|node| node.metadata.name.as_str()).collect();
    let without: Vec<&str> = open(nodes)
        .map(|node| node.metadata.name.as_str())
        .filter(|name| !registered.contains(name))
        .collect();
    let Some(first) = without.first() else {
        return vec![Finding::well(format!(
            "{DRIVER} is registered on {} nodes",
            registered.len()
        ))];
    };
    let named = listed(&without);
    vec![Finding::problem(
        format!(
            "{DRIVER} is not registered on {named}: pods with its volume stay in \
             ContainerCreating there"
        ),
        format!("kubectl get pods -A -o wide --field-selector spec.nodeName={first}"),
    )]
}
