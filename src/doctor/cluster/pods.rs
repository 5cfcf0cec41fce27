//! Pods: whether each that asks for an identity is given one, and whether each that is meant to ask does.

use super::{
    nodes::DRIVER,
    objects::{ClusterSpiffeId, Namespace, Pod},
};
use crate::{
    controller::{LabelQuery, Labels},
    doctor::{Finding, finding::listed},
};
use std::collections::BTreeMap;

/// The label by which Istio's guide says that a pod is to have an identity of SPIRE's.
const MANAGED: &str = "spiffe.io/spire-managed-identity";
/// The container with Istio's proxy, in either list.
const PROXY: &str = "istio-proxy";

/// Whom a ClusterSPIFFEID is for.
struct Choice {
    namespaces: LabelQuery,
    pods: LabelQuery,
}

/// The pods of a cluster against its ClusterSPIFFEIDs.
pub(super) fn identities(
    pods: &[Pod],
    namespaces: &[Namespace],
    identities: &[ClusterSpiffeId],
) -> Vec<Finding> {
    let of_namespaces: BTreeMap<&str, Labels> = namespaces
        .iter()
        .map(|of| (of.metadata.name.as_str(), labels(&of.metadata.labels)))
        .collect();
    // One that makes no sense selects nothing, and its status says so.
    let choices: Vec<Choice> = identities.iter().filter_map(Choice::of).collect();
    let is_selected = |pod: &&Pod| {
        let none = Labels::default();
        let namespace = of_namespaces.get(pod.metadata.namespace.as_str()).unwrap_or(&none);
        let own = labels(&pod.metadata.labels);
        choices.iter().any(|of| of.namespaces.matches(namespace) && of.pods.matches(&own))
    };
    let (asking, others): (Vec<&Pod>, Vec<&Pod>) =
        pods.iter().filter(|pod| pod.is_living()).partition(|pod| pod.mounts_driver());
    let (selected, unselected): (Vec<&Pod>, Vec<&Pod>) = asking.into_iter().partition(is_selected);
    let (ready, waiting): (Vec<&Pod>, Vec<&Pod>) =
        unselected.into_iter().partition(|pod| pod.is_ready());

    let mut findings = Vec::new();
    if !selected.is_empty() {
        let count = selected.len();
        findings.push(Finding::well(format!(
            "{count} pods mount {DRIVER} and are selected by a ClusterSPIFFEID"
        )));
    }
    if !ready.is_empty() {
        let count = ready.len();
        findings.push(Finding::well(format!(
            "{count} pods mount {DRIVER}, are selected by no ClusterSPIFFEID, and are ready: if they have \
             an identity, by entries made by hand"
        )));
    }
    findings.extend(by_namespace(&waiting).into_iter().map(|(namespace, names)| {
        Finding::problem(
            format!(
                "no ClusterSPIFFEID selects {names} in {namespace}, which mount {DRIVER} and are not \
                 ready: without an entry they get no identity"
            ),
            format!("kubectl get pods -n {namespace} --show-labels"),
        )
    }));
    findings.extend(proxies(&others));
    findings
}

/// Proxies that do not ask us: which is as it should be, unless somebody has said that they are to.
fn proxies(others: &[&Pod]) -> Vec<Finding> {
    let with_proxy = others.iter().copied().filter(|pod| pod.has_proxy());
    let (meant, istiods): (Vec<&Pod>, Vec<&Pod>) = with_proxy.partition(|pod| pod.is_meant());
    let mut findings = Vec::new();
    if !istiods.is_empty() {
        let count = istiods.len();
        findings.push(Finding::well(format!(
            "{count} pods with a proxy do not mount {DRIVER}: their identities are istiod's"
        )));
    }
    findings.extend(by_namespace(&meant).into_iter().map(|(namespace, names)| {
        Finding::problem(
            format!(
                "{names} in {namespace} have the label {MANAGED}, and their proxies do not mount \
                 {DRIVER}: their identities are istiod's; the annotation inject.istio.io/templates \
                 (\"sidecar,spire\", \"gateway,spire-gateway\") is missing, or came after the pod"
            ),
            format!(
                "kubectl get pods -n {namespace} -l {MANAGED} -o yaml | grep inject.istio.io/templates"
            ),
        )
    }));
    findings
}

/// Namespaces, each with the names of its pods.
fn by_namespace<'a>(pods: &[&'a Pod]) -> BTreeMap<&'a str, String> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pod in pods {
        found.entry(&pod.metadata.namespace).or_default().push(&pod.metadata.name);
    }
    found.into_iter().map(|(namespace, names)| (namespace, listed(&names))).collect()
}

fn labels(of: &BTreeMap<String, String>) -> Labels {
    of.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

impl Choice {
    fn of(identity: &ClusterSpiffeId) -> Option<Self> {
        let query = |selector: &Option<_>| LabelQuery::compile(selector.as_ref()).ok();
        let spec = &identity.spec;
        Some(Self {
            namespaces: query(&spec.namespace_selector)?,
            pods: query(&spec.pod_selector)?,
        })
    }
}

impl Pod {
    /// Neither done nor about to end.
    fn is_living(&self) -> bool {
        let is_done = ["Succeeded", "Failed"].contains(&self.status.phase.as_str());
        !is_done && self.metadata.deletion_timestamp.is_none()
    }

    fn mounts_driver(&self) -> bool {
        self.spec.volumes.iter().filter_map(|of| of.csi.as_ref()).any(|csi| csi.driver == DRIVER)
    }

    fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|of| of.r#type == "Ready" && of.status == "True")
    }

    fn has_proxy(&self) -> bool {
        let containers = self.spec.init_containers.iter().chain(&self.spec.containers);
        containers.into_iter().any(|of| of.name == PROXY)
    }

    fn is_meant(&self) -> bool {
        self.metadata.labels.get(MANAGED).is_some_and(|value| value == "true")
    }
}
