//! The objects of a cluster that are known, and the indexes from each to the pods that it concerns.

use super::super::world::{Endpoints, Kind, Labels, Namespace, Node, Pod, Scope};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pods: HashMap<Arc<str>, Arc<Pod>>,
    namespaces: BTreeMap<Arc<str>, Labels>,
    nodes: HashMap<Arc<str>, Arc<Node>>,
    /// By namespace and name.
    endpoints: HashMap<Arc<str>, Endpoints>,
    by_namespace: HashMap<Arc<str>, HashSet<Arc<str>>>,
    by_node: HashMap<Arc<str>, HashSet<Arc<str>>>,
    /// The endpoints in which a pod is.
    by_pod: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Cluster {
    /// Takes a pod in, and says whether that is news.
    pub(super) fn put_pod(&mut self, pod: Arc<Pod>) -> bool {
        let known = self.pods.get(&pod.uid);
        if known == Some(&pod) {
            return false;
        }
        if let Some(known) = known.map(Arc::clone) {
            self.unlink_pod(&known);
        }
        let uid = || Arc::clone(&pod.uid);
        self.by_namespace.entry(Arc::clone(&pod.namespace)).or_default().insert(uid());
        if let Some(node) = &pod.node {
            self.by_node.entry(Arc::clone(node)).or_default().insert(uid());
        }
        self.pods.insert(Arc::clone(&pod.uid), pod);
        true
    }

    /// Forgets a pod, and says whether it was known.
    pub(super) fn remove_pod(&mut self, uid: &Arc<str>) -> bool {
        let Some(pod) = self.pods.remove(uid) else { return false };
        self.unlink_pod(&pod);
        true
    }

    fn unlink_pod(&mut self, pod: &Pod) {
        unlink(&mut self.by_namespace, &pod.namespace, &pod.uid);
        if let Some(node) = &pod.node {
            unlink(&mut self.by_node, node, &pod.uid);
        }
    }

    /// Takes a namespace in, and says whether that is news.
    pub(super) fn put_namespace(&mut self, namespace: Namespace) -> bool {
        let Namespace { name, labels } = namespace;
        if self.namespaces.get(&name) == Some(&labels) {
            return false;
        }
        self.namespaces.insert(name, labels);
        true
    }

    /// Forgets a namespace, and says whether it was known.
    pub(super) fn remove_namespace(&mut self, name: &str) -> bool {
        self.namespaces.remove(name).is_some()
    }

    /// Takes a node in, and says whether that is news.
    pub(super) fn put_node(&mut self, node: Arc<Node>) -> bool {
        if self.nodes.get(&node.name) == Some(&node) {
            return false;
        }
        self.nodes.insert(Arc::clone(&node.name), node);
        true
    }

    /// Forgets a node.
    pub(super) fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Takes endpoints in, and gives the pods that they concern now and did before.
    pub(super) fn put_endpoints(&mut self, endpoints: Endpoints) -> BTreeSet<Arc<str>> {
        let id = endpoints_id(&endpoints.namespace, &endpoints.name);
        if self.endpoints.get(&id) == Some(&endpoints) {
            return BTreeSet::new();
        }
        let mut concerned = self.remove_endpoints(&id);
        for uid in &endpoints.pods {
            self.by_pod.entry(Arc::clone(uid)).or_default().insert(Arc::clone(&id));
        }
        concerned.extend(endpoints.pods.iter().cloned());
        self.endpoints.insert(id, endpoints);
        concerned
    }

    /// Forgets endpoints, and gives the pods that they concerned.
    pub(super) fn remove_endpoints(&mut self, id: &Arc<str>) -> BTreeSet<Arc<str>> {
        let Some(endpoints) = self.endpoints.remove(id) else { return BTreeSet::new() };
        for uid in &endpoints.pods {
            if let Some(ids) = self.by_pod.get_mut(uid) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_pod.remove(uid);
                }
            }
        }
        endpoints.pods
    }

    pub(super) fn pod(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.get(uid)
    }

    pub(super) fn pod_uids(&self) -> impl Iterator<Item = Arc<str>> {
        self.pods.keys().cloned()
    }

    pub(super) fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &Labels)> {
        self.namespaces.iter()
    }

    pub(super) fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    pub(super) fn pods_of_namespace(&self, name: &str) -> impl Iterator<Item = &Arc<Pod>> {
        self.by_namespace.get(name).into_iter().flatten().filter_map(|uid| self.pods.get(uid))
    }

    pub(super) fn pods_of_node(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        self.by_node.get(name).into_iter().flatten()
    }

    /// The services that a pod stands behind, each once.
    pub(super) fn services(&self, pod: &Pod) -> Vec<Arc<str>> {
        let ids = self.by_pod.get(&pod.uid).into_iter().flatten();
        let slices = ids.filter_map(|id| self.endpoints.get(id));
        let in_namespace = slices.filter(|slice| slice.namespace == pod.namespace);
        let services: BTreeSet<_> = in_namespace.map(|slice| Arc::clone(&slice.service)).collect();
        services.into_iter().collect()
    }

    /// What a list of this scope would have to tell of.
    pub(super) fn ids(&self, scope: &Scope) -> HashSet<Arc<str>> {
        let covers = |namespace: &Arc<str>| scope.namespace.as_ref().is_none_or(|n| n == namespace);
        match scope.kind {
            Kind::Pods => {
                let pods = self.pods.values().filter(|pod| covers(&pod.namespace));
                pods.map(|pod| Arc::clone(&pod.uid)).collect()
            }
            Kind::Endpoints => {
                let of = self.endpoints.iter().filter(|(_, slice)| covers(&slice.namespace));
                of.map(|(id, _)| Arc::clone(id)).collect()
            }
            Kind::Namespaces => self.namespaces.keys().cloned().collect(),
            Kind::Nodes => self.nodes.keys().cloned().collect(),
            Kind::SpiffeIds | Kind::StaticEntries => HashSet::new(),
        }
    }
}

/// What endpoints are known by.
pub(super) fn endpoints_id(namespace: &str, name: &str) -> Arc<str> {
    // Neither can contain a slash.
    format!("{namespace}/{name}").into()
}

fn unlink(index: &mut HashMap<Arc<str>, HashSet<Arc<str>>>, at: &Arc<str>, uid: &Arc<str>) {
    if let Some(uids) = index.get_mut(at) {
        uids.remove(uid);
        if uids.is_empty() {
            index.remove(at);
        }
    }
}
