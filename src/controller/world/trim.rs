//! Makes the world's values of the API server's objects, and shares what recurs.
//!
//! The one place that knows the API's types. Runs in the task that watches, before anything is kept.

use super::{
    endpoints::Endpoints,
    labels::Labels,
    node::{Namespace, Node},
    pod::{Container, OwnerReference, Phase, Pod, PodSpec, Port},
    share::Shelf,
};
use k8s_openapi::{
    api::{core::v1 as core, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::{collections::BTreeMap, sync::Arc};

/// Trims objects. One for all kinds, so that they share names.
#[derive(Debug, Default)]
pub struct Trimmer {
    texts: Shelf<str>,
    labels: Shelf<Labels>,
    specs: Shelf<PodSpec>,
}

/// Why an object is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object has no {0}, which every object of an API server has")]
pub struct Unfit(&'static str);

/// `kubectl apply` keeps a copy of the whole object here, kilobytes of it.
const COPY_OF_OBJECT: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Names the service of an EndpointSlice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Trimmer {
    /// Trims a pod.
    ///
    /// # Errors
    /// When it has no UID, name or namespace.
    pub fn pod(&mut self, pod: core::Pod) -> Result<Pod, Unfit> {
        let meta = pod.metadata;
        let spec = pod.spec.unwrap_or_default();
        let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
        let has_ended = matches!(phase.as_str(), "Succeeded" | "Failed");
        Ok(Pod {
            uid: own(meta.uid, "uid")?,
            namespace: self.named(meta.namespace, "namespace")?,
            name: own(meta.name, "name")?,
            generate_name: self.text(meta.generate_name),
            node: spec.node_name.as_deref().filter(|n| !n.is_empty()).map(|n| self.texts.share(n)),
            phase: if has_ended { Phase::Ended } else { Phase::Live },
            labels: self.labels(meta.labels),
            annotations: self.labels(meta.annotations),
            owners: self.owners(meta.owner_references.unwrap_or_default()),
            hostname: self.texts.share(spec.hostname.as_deref().unwrap_or_default()),
            spec: self.spec(spec),
        })
    }

    /// Trims a node.
    ///
    /// # Errors
    /// When it has no UID or name.
    pub fn node(&mut self, node: core::Node) -> Result<Node, Unfit> {
        let meta = node.metadata;
        let spec = node.spec.unwrap_or_default();
        Ok(Node {
            uid: own(meta.uid, "uid")?,
            name: self.named(meta.name, "name")?,
            labels: self.labels(meta.labels),
            annotations: self.labels(meta.annotations),
            pod_cidr: self.text(spec.pod_cidr),
            pod_cidrs: spec.pod_cidrs.unwrap_or_default().into_iter().map(Into::into).collect(),
            provider_id: self.text(spec.provider_id),
            unschedulable: spec.unschedulable.unwrap_or_default(),
        })
    }

    /// Trims a namespace.
    ///
    /// # Errors
    /// When it has no name.
    pub fn namespace(&mut self, namespace: core::Namespace) -> Result<Namespace, Unfit> {
        let meta = namespace.metadata;
        Ok(Namespace { name: self.named(meta.name, "name")?, labels: self.labels(meta.labels) })
    }

    /// Trims an EndpointSlice. One without a service stands behind none.
    ///
    /// # Errors
    /// When it has no name or namespace.
    pub fn endpoint_slice(&mut self, slice: EndpointSlice) -> Result<Option<Endpoints>, Unfit> {
        let labels = slice.metadata.labels.as_ref();
        let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)).cloned() else {
            return Ok(None);
        };
        let targets = slice.endpoints.into_iter().filter_map(|endpoint| endpoint.target_ref);
        self.endpoints(slice.metadata, &service, targets).map(Some)
    }

    /// Trims an Endpoints object, which has the name of its service.
    ///
    /// # Errors
    /// When it has no name or namespace.
    pub fn legacy_endpoints(&mut self, endpoints: core::Endpoints) -> Result<Endpoints, Unfit> {
        let service = endpoints.metadata.name.clone().unwrap_or_default();
        let addresses = endpoints.subsets.unwrap_or_default().into_iter().flat_map(|subset| {
            let ready = subset.addresses.unwrap_or_default();
            ready.into_iter().chain(subset.not_ready_addresses.unwrap_or_default())
        });
        let targets: Vec<_> = addresses.filter_map(|address| address.target_ref).collect();
        self.endpoints(endpoints.metadata, &service, targets)
    }

    fn endpoints(
        &mut self,
        meta: ObjectMeta,
        service: &str,
        targets: impl IntoIterator<Item = core::ObjectReference>,
    ) -> Result<Endpoints, Unfit> {
        let pods = targets.into_iter().filter(|target| target.kind.as_deref() == Some("Pod"));
        Ok(Endpoints {
            namespace: self.named(meta.namespace, "namespace")?,
            name: own(meta.name, "name")?,
            service: self.texts.share(service),
            pods: pods.filter_map(|pod| pod.uid).map(Into::into).collect(),
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "a field of an object that is used up")]
    fn named(&mut self, text: Option<String>, what: &'static str) -> Result<Arc<str>, Unfit> {
        match text.as_deref() {
            None | Some("") => Err(Unfit(what)),
            Some(text) => Ok(self.texts.share(text)),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a field of an object that is used up")]
    fn text(&mut self, text: Option<String>) -> Arc<str> {
        self.texts.share(text.as_deref().unwrap_or_default())
    }

    fn labels(&mut self, labels: Option<BTreeMap<String, String>>) -> Labels {
        let pairs = labels.unwrap_or_default().into_iter().filter(|(key, _)| key != COPY_OF_OBJECT);
        let texts = &mut self.texts;
        let labels: Labels =
            pairs.map(|(key, value)| (texts.share(&*key), texts.share(&*value))).collect();
        Labels::clone(&self.labels.settle(labels))
    }

    fn owners(
        &mut self,
        owners: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>,
    ) -> Arc<[OwnerReference]> {
        let texts = &mut self.texts;
        let trim = |owner: k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
            OwnerReference {
                api_version: texts.share(&*owner.api_version),
                kind: texts.share(&*owner.kind),
                name: texts.share(&*owner.name),
                uid: texts.share(&*owner.uid),
                controller: owner.controller,
            }
        };
        owners.into_iter().map(trim).collect()
    }

    fn spec(&mut self, spec: core::PodSpec) -> Arc<PodSpec> {
        let spec = PodSpec {
            containers: spec.containers.into_iter().map(|c| self.container(c)).collect(),
            init_containers: self.containers(spec.init_containers),
            ephemeral_containers: self.ephemeral_containers(spec.ephemeral_containers),
            service_account_name: self.text(spec.service_account_name),
            restart_policy: self.text(spec.restart_policy),
            termination_grace_period_seconds: spec.termination_grace_period_seconds,
            active_deadline_seconds: spec.active_deadline_seconds,
            dns_policy: self.text(spec.dns_policy),
            node_selector: self.labels(spec.node_selector),
            automount_service_account_token: spec.automount_service_account_token,
            host_network: spec.host_network.unwrap_or_default(),
            host_pid: spec.host_pid.unwrap_or_default(),
            host_ipc: spec.host_ipc.unwrap_or_default(),
            share_process_namespace: spec.share_process_namespace,
            image_pull_secrets: (spec.image_pull_secrets.unwrap_or_default().into_iter())
                .map(|secret| self.texts.share(secret.name.as_str()))
                .collect(),
            subdomain: self.text(spec.subdomain),
            scheduler_name: self.text(spec.scheduler_name),
            priority_class_name: self.text(spec.priority_class_name),
            priority: spec.priority,
            runtime_class_name: spec.runtime_class_name.map(|name| self.texts.share(&*name)),
            enable_service_links: spec.enable_service_links,
            set_hostname_as_fqdn: spec.set_hostname_as_fqdn,
            host_users: spec.host_users,
        };
        self.specs.settle(spec)
    }

    fn containers(&mut self, containers: Option<Vec<core::Container>>) -> Vec<Container> {
        containers.unwrap_or_default().into_iter().map(|c| self.container(c)).collect()
    }

    fn container(&mut self, container: core::Container) -> Container {
        Container {
            name: self.texts.share(&*container.name),
            image: self.text(container.image),
            working_dir: self.text(container.working_dir),
            ports: self.ports(container.ports),
            image_pull_policy: self.text(container.image_pull_policy),
            restart_policy: container.restart_policy.map(|policy| self.texts.share(&*policy)),
        }
    }

    fn ephemeral_containers(
        &mut self,
        containers: Option<Vec<core::EphemeralContainer>>,
    ) -> Vec<Container> {
        let trim = |container: core::EphemeralContainer| Container {
            name: self.texts.share(&*container.name),
            image: self.text(container.image),
            working_dir: self.text(container.working_dir),
            ports: self.ports(container.ports),
            image_pull_policy: self.text(container.image_pull_policy),
            restart_policy: container.restart_policy.map(|policy| self.texts.share(&*policy)),
        };
        containers.unwrap_or_default().into_iter().map(trim).collect()
    }

    fn ports(&mut self, ports: Option<Vec<core::ContainerPort>>) -> Vec<Port> {
        let trim = |port: core::ContainerPort| Port {
            name: self.text(port.name),
            host_port: port.host_port.unwrap_or_default(),
            container_port: port.container_port,
            protocol: self.text(port.protocol),
            host_ip: self.text(port.host_ip),
        };
        ports.unwrap_or_default().into_iter().map(trim).collect()
    }
}

/// A name that no other object has: shared with nobody.
fn own(text: Option<String>, what: &'static str) -> Result<Arc<str>, Unfit> {
    text.filter(|text| !text.is_empty()).map(Into::into).ok_or(Unfit(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn pod(uid: &str, phase: &str) -> core::Pod {
        from_value(json!({
            "metadata": {
                "uid": uid, "name": "web-0", "namespace": "shop", "labels": {"app": "web"},
                "annotations": {COPY_OF_OBJECT: "{…}", "kept": "yes"},
            },
            "spec": {
                "nodeName": "n1", "serviceAccountName": "front",
                "containers": [{"name": "c", "image": "web:1", "env": [{"name": "A", "value": "b"}]}],
                "initContainers": [{"name": "i", "ports": [{"containerPort": 80}]}],
            },
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn replicas_share_what_they_have_in_common() {
        let mut trimmer = Trimmer::default();
        let one = trimmer.pod(pod("u1", "Running")).unwrap();
        let two = trimmer.pod(pod("u2", "Pending")).unwrap();
        assert!(Arc::ptr_eq(&one.spec, &two.spec));
        assert!(Arc::ptr_eq(&one.namespace, &two.namespace));
        assert_eq!(one.annotations, [("kept", "yes")].into_iter().collect());
        let names: Vec<_> = one.containers().map(|container| &*container.name).collect();
        assert_eq!(names, ["i", "c"]);
    }

    #[test]
    fn pods_that_have_ended_and_pods_without_a_node_are_told() {
        let mut trimmer = Trimmer::default();
        for (phase, expected) in [
            ("Running", Phase::Live),
            ("", Phase::Live),
            ("Succeeded", Phase::Ended),
            ("Failed", Phase::Ended),
        ] {
            assert_eq!(trimmer.pod(pod("u", phase)).unwrap().phase, expected, "{phase}");
        }
        let mut early = pod("u", "Pending");
        early.spec.as_mut().unwrap().node_name = Some(String::new());
        assert_eq!(trimmer.pod(early.clone()).unwrap().node, None);
        early.metadata.uid = None;
        assert_eq!(trimmer.pod(early), Err(Unfit("uid")));
    }

    #[test]
    fn slices_and_endpoints_tell_the_same_pods_ready_or_not() {
        let target = |uid: &str| json!({"kind": "Pod", "uid": uid});
        let slice = from_value(json!({
            "metadata": {"name": "web-x1", "namespace": "shop", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": target("u1")},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}, "targetRef": target("u2")},
                {"addresses": ["10.0.0.3"], "targetRef": {"kind": "Node", "uid": "n"}},
                {"addresses": ["10.0.0.4"]},
            ],
        }))
        .unwrap();
        let legacy = from_value(json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "subsets": [{
                "addresses": [{"ip": "10.0.0.1", "targetRef": target("u1")}],
                "notReadyAddresses": [{"ip": "10.0.0.2", "targetRef": target("u2")}],
            }],
        }))
        .unwrap();
        let mut trimmer = Trimmer::default();
        let slice = trimmer.endpoint_slice(slice).unwrap().unwrap();
        let legacy = trimmer.legacy_endpoints(legacy).unwrap();
        assert_eq!((&*slice.service, &*slice.name), ("web", "web-x1"));
        assert_eq!((&slice.service, &slice.pods), (&legacy.service, &legacy.pods));
        assert_eq!(slice.pods.len(), 2);
        let headless = from_value(json!({
            "metadata": {"name": "x", "namespace": "shop"}, "addressType": "IPv4", "endpoints": [],
        }))
        .unwrap();
        assert_eq!(trimmer.endpoint_slice(headless), Ok(None));
    }
}
