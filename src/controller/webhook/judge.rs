//! Says of an object whether the controller can act on it: with the same code by which it will, and by
//! rendering it for a pod that stands for all pods. Pure.

use super::advice;
use crate::controller::{
    crd::{
        self, ClusterFederatedTrustDomain, ClusterSpiffeId, ClusterSpiffeIdSpec, ClusterStaticEntry,
    },
    render::{self, Subject},
    rule::Rule,
    settings::Settings,
    template::Data,
    world::{Node, Pod, Trimmer},
};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use std::sync::Arc;

/// Judges objects for one controller.
pub(in crate::controller) struct Judge {
    settings: Arc<Settings>,
}

/// What is said of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It can be acted on.
    Good {
        /// What its author should know.
        warnings: Vec<String>,
    },
    /// It cannot.
    Bad {
        /// Why.
        reason: String,
    },
}

impl Judge {
    /// A judge by the controller's settings.
    pub(in crate::controller) const fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    /// Judges an object of a kind. Of other kinds than ours nothing is said.
    pub(super) fn judge(&self, kind: &str, object: DynamicObject) -> Verdict {
        let judged = match kind {
            "ClusterSPIFFEID" => self.spiffe_id(object),
            "ClusterStaticEntry" => self.static_entry(object),
            "ClusterFederatedTrustDomain" => self.federation(object),
            _ => Ok(Vec::new()),
        };
        match judged {
            Ok(warnings) => Verdict::Good { warnings },
            Err(reason) => Verdict::Bad { reason },
        }
    }

    fn spiffe_id(&self, object: DynamicObject) -> Result<Vec<String>, String> {
        let object: ClusterSpiffeId = crd::read(object).map_err(|error| error.to_string())?;
        let rule = Rule::compile(&object).map_err(|error| error.to_string())?;
        let mut warnings = advice::warnings(&object.spec);
        if let Some(failure) = self.try_render(&rule, &object.spec) {
            // What the pods' labels and annotations will be is not known here.
            if depends_on_the_pod(&object.spec) {
                warnings.push(format!(
                    "a pod without further labels and annotations gets no identity: {failure}"
                ));
            } else {
                return Err(failure);
            }
        }
        Ok(warnings)
    }

    /// Why a pod that stands for all gets no entry.
    fn try_render(&self, rule: &Rule, spec: &ClusterSpiffeIdSpec) -> Option<String> {
        let (pod, node) = stand_in(spec)?;
        let parent = match render::parent(&self.settings, &node) {
            Ok(parent) => parent,
            Err(failure) => return Some(failure.to_string()),
        };
        let subject = Subject {
            settings: &self.settings,
            data: Data::of_pod(&self.settings, &node, &pod),
            pod: &pod,
            parent: &parent,
            services: Vec::new(),
        };
        render::entry(rule, &subject).err().map(|failure| failure.to_string())
    }

    fn static_entry(&self, object: DynamicObject) -> Result<Vec<String>, String> {
        let object: ClusterStaticEntry = crd::read(object).map_err(|error| error.to_string())?;
        let rendered = render::static_entry(&self.settings, &object.spec);
        rendered.map(|_| Vec::new()).map_err(|failure| failure.to_string())
    }

    fn federation(&self, object: DynamicObject) -> Result<Vec<String>, String> {
        let object: ClusterFederatedTrustDomain =
            crd::read(object).map_err(|error| error.to_string())?;
        let checked = object.spec.check(&self.settings.trust_domain);
        checked.map(|_| Vec::new()).map_err(|error| error.to_string())
    }
}

/// A pod and its node with a value for everything that each pod has, and the labels that are selected.
fn stand_in(spec: &ClusterSpiffeIdSpec) -> Option<(Pod, Node)> {
    let labels = spec.pod_selector.as_ref().and_then(|selector| selector.match_labels.clone());
    let read = |value: Value| serde_json::from_value(value).ok();
    let pod = read(json!({
        "metadata": {
            "name": "sample-5d8f7c9b6-x7k2p", "generateName": "sample-5d8f7c9b6-", "namespace": "sample",
            "uid": "00000000-0000-4000-8000-000000000001", "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "nodeName": "sample-node", "serviceAccountName": "sample", "hostname": "sample",
            "containers": [{"name": "sample", "image": "example.org/sample:1", "ports": [{"containerPort": 8080, "name": "http"}]}],
        },
        "status": {"phase": "Running"},
    }))?;
    let node = serde_json::from_value(json!({
        "metadata": {"name": "sample-node", "uid": "00000000-0000-4000-8000-000000000002"},
        "spec": {"podCIDR": "10.0.0.0/24", "providerID": "sample://node"},
    }));
    let mut trimmer = Trimmer::default();
    Some((trimmer.pod(pod).ok()?, trimmer.node(node.ok()?).ok()?))
}

fn depends_on_the_pod(spec: &ClusterSpiffeIdSpec) -> bool {
    let templates = [&spec.dns_name_templates, &spec.workload_selector_templates];
    let mut all = templates.into_iter().flatten().chain([&spec.spiffe_id_template]);
    all.any(|template| template.contains("Labels") || template.contains("Annotations"))
}
