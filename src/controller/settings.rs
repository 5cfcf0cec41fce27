//! What the plan needs to know of the controller's configuration.

use super::template::Template;
use crate::spiffe::TrustDomain;
use regex::Regex;
use std::sync::Arc;

/// The settings of a plan, fixed for its life.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trust domain of every identity.
    pub trust_domain: TrustDomain,
    /// The name of the cluster, as its nodes attest with it.
    pub cluster_name: Arc<str>,
    /// The DNS domain of the cluster; empty when it is not known.
    pub cluster_domain: Arc<str>,
    /// The template of parent IDs; it sees the node, not the pod.
    pub parent_id_template: Arc<Template>,
    /// Namespaces whose name contains a match of one of these get no identities.
    pub ignore_namespaces: Vec<Regex>,
    /// The only namespaces whose pods and endpoints are listed; none means all are, in one list.
    pub pod_namespaces: Vec<Arc<str>>,
    /// Which custom resources are this controller's.
    pub class: ClassRule,
    /// Whether ClusterSPIFFEIDs are acted upon.
    pub spiffe_ids: Acted,
    /// Whether ClusterStaticEntries are acted upon.
    pub static_entries: Acted,
    /// What annotations of pods may decide.
    pub annotations: AnnotationRule,
}

/// Whether a kind of custom resource is acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// Yes.
    Upon,
    /// No: it is as if there were none.
    Not,
}

/// Which custom resources are this controller's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassRule {
    /// The controller's class; classless objects are of the empty one.
    pub class_name: String,
    /// Whether classless objects are this controller's too.
    pub watch_classless: bool,
}

/// What the annotations that k8s-workload-registrar knew may decide; a pod's author is trusted less than
/// the author of a ClusterSPIFFEID, so by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnotationRule {
    /// `spiffe.io/spiffe-id` names the path of a pod's identity, in place of the template.
    pub spiffe_id: bool,
    /// `spiffe.io/federatesWith` adds trust domains, of these only.
    pub federates_with: Vec<TrustDomain>,
}

/// spire-controller-manager's template of parent IDs.
pub const DEFAULT_PARENT_ID_TEMPLATE: &str =
    "spiffe://{{ .TrustDomain }}/spire/agent/k8s_psat/{{ .ClusterName }}/{{ .NodeMeta.UID }}";

impl ClassRule {
    /// Whether an object of this class is this controller's.
    #[must_use]
    pub fn accepts(&self, class_name: &str) -> bool {
        class_name == self.class_name || (class_name.is_empty() && self.watch_classless)
    }
}

impl Settings {
    /// The settings of tests: cluster `test` of domain `cluster.local`, nothing ignored.
    #[cfg(test)]
    pub(crate) fn of_test(trust_domain: &str) -> Self {
        use super::template::Subject;
        Self {
            trust_domain: TrustDomain::parse(trust_domain).unwrap(),
            cluster_name: "test".into(),
            cluster_domain: "cluster.local".into(),
            parent_id_template: Arc::new(
                Template::compile(DEFAULT_PARENT_ID_TEMPLATE, Subject::Node).unwrap(),
            ),
            ignore_namespaces: Vec::new(),
            pod_namespaces: Vec::new(),
            class: ClassRule::default(),
            spiffe_ids: Acted::Upon,
            static_entries: Acted::Upon,
            annotations: AnnotationRule::default(),
        }
    }

    /// Whether pods of this namespace get no identities.
    #[must_use]
    pub fn ignores(&self, namespace: &str) -> bool {
        self.ignore_namespaces.iter().any(|pattern| pattern.is_match(namespace))
    }
}
