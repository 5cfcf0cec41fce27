//! What each event may change.

use super::super::{
    crd::{ClusterSpiffeId, ClusterStaticEntry, CrdError},
    rule::Rule,
    world::{Event, Kind, Owner, Scope},
};
use super::{cluster::endpoints_id, delta::Evidence, place::put_outcomes, state::Plan};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

impl Plan {
    /// Takes one piece of news.
    pub fn apply(&mut self, event: Event) {
        apply(self, event);
    }

    fn mark_pods(&mut self, uids: impl IntoIterator<Item = Arc<str>>, evidence: Evidence) {
        uids.into_iter().for_each(|uid| self.dirty.mark_pod(uid, evidence));
    }

    fn mark_namespace(&mut self, name: &str) {
        let pods: Vec<_> =
            self.cluster.pods_of_namespace(name).map(|pod| Arc::clone(&pod.uid)).collect();
        self.mark_pods(pods, Evidence::Seen);
        self.touch_rules();
    }

    /// Has the counts of namespaces told again.
    fn touch_rules(&mut self) {
        let names = self.owners.rules.keys().map(|name| Owner::SpiffeId(Arc::clone(name)));
        self.dirty.touched.extend(names);
    }

    /// Pods whose services changed, if somebody cares.
    fn mark_served(&mut self, uids: BTreeSet<Arc<str>>, evidence: Evidence) {
        if self.owners.add_service_names() {
            self.mark_pods(uids, evidence);
        }
    }
}

fn apply(plan: &mut Plan, event: Event) {
    match event {
        Event::PodApplied(pod) => {
            plan.lists.tell(Kind::Pods, &pod.uid);
            let uid = Arc::clone(&pod.uid);
            if plan.cluster.put_pod(pod) {
                plan.dirty.mark_pod(uid, Evidence::Seen);
            }
        }
        Event::NamespaceApplied(namespace) => {
            plan.lists.tell(Kind::Namespaces, &namespace.name);
            let name = Arc::clone(&namespace.name);
            if plan.cluster.put_namespace(namespace) {
                plan.mark_namespace(&name);
            }
        }
        Event::NodeApplied(node) => {
            plan.lists.tell(Kind::Nodes, &node.name);
            let name = Arc::clone(&node.name);
            if plan.cluster.put_node(node) {
                let pods: Vec<_> = plan.cluster.pods_of_node(&name).cloned().collect();
                plan.mark_pods(pods, Evidence::Seen);
            }
        }
        Event::EndpointsApplied(endpoints) => {
            let id = endpoints_id(&endpoints.namespace, &endpoints.name);
            plan.lists.tell(Kind::Endpoints, &id);
            let pods = plan.cluster.put_endpoints(endpoints);
            plan.mark_served(pods, Evidence::Seen);
        }
        Event::SpiffeIdApplied(object) => spiffe_id_applied(plan, *object),
        Event::StaticEntryApplied(object) => static_entry_applied(plan, *object),
        Event::Unreadable(owner, error) => unreadable(plan, owner, error),
        Event::PodDeleted(uid) => delete(plan, Kind::Pods, &uid, Evidence::Seen),
        Event::NamespaceDeleted(name) => delete(plan, Kind::Namespaces, &name, Evidence::Seen),
        Event::NodeDeleted(name) => delete(plan, Kind::Nodes, &name, Evidence::Seen),
        Event::EndpointsDeleted { namespace, name } => {
            delete(plan, Kind::Endpoints, &endpoints_id(&namespace, &name), Evidence::Seen);
        }
        Event::OwnerDeleted(owner) => {
            delete(plan, kind_of(&owner), owner.name(), Evidence::Seen);
        }
        Event::ListBegan(scope) => {
            let known = known(plan, &scope);
            plan.lists.begin(scope, known);
        }
        Event::ListEnded(scope) => list_ended(plan, scope),
        Event::Renounced(kind) => {
            plan.lists.renounce(kind);
            completed(plan, kind);
        }
    }
}

const fn kind_of(owner: &Owner) -> Kind {
    match owner {
        Owner::SpiffeId(_) => Kind::SpiffeIds,
        Owner::StaticEntry(_) => Kind::StaticEntries,
    }
}

fn known(plan: &Plan, scope: &Scope) -> HashSet<Arc<str>> {
    match scope.kind {
        Kind::SpiffeIds => plan.owners.rules.keys().cloned().collect(),
        Kind::StaticEntries => plan.owners.static_entries.keys().cloned().collect(),
        _ => plan.cluster.ids(scope),
    }
}

fn list_ended(plan: &mut Plan, scope: Scope) {
    let kind = scope.kind;
    for id in plan.lists.end(scope) {
        delete(plan, kind, &id, Evidence::Absent);
    }
    completed(plan, kind);
}

/// Has those looked at that waited for a kind of object.
fn completed(plan: &mut Plan, kind: Kind) {
    if kind == Kind::Endpoints && plan.owners.add_service_names() {
        let names: Vec<_> = plan.owners.rules().map(|rule| Arc::clone(&rule.name)).collect();
        for name in names {
            let pods = plan.outcomes.waiting(&name);
            plan.mark_pods(pods, Evidence::Seen);
        }
    }
}

fn delete(plan: &mut Plan, kind: Kind, id: &Arc<str>, evidence: Evidence) {
    plan.lists.tell(kind, id);
    match kind {
        Kind::Pods => {
            if plan.cluster.remove_pod(id) {
                plan.dirty.pods.remove(id);
                put_outcomes(plan, id, Vec::new(), evidence);
            }
        }
        // Its pods have deletions of their own, and keep what they have until then.
        Kind::Namespaces => {
            if plan.cluster.remove_namespace(id) {
                plan.touch_rules();
            }
        }
        Kind::Nodes => plan.cluster.remove_node(id),
        Kind::Endpoints => {
            let pods = plan.cluster.remove_endpoints(id);
            plan.mark_served(pods, evidence);
        }
        Kind::SpiffeIds => remove_rule(plan, id, evidence),
        Kind::StaticEntries => {
            plan.dirty.touched.insert(Owner::StaticEntry(Arc::clone(id)));
            plan.dirty.mark_static_entry(Arc::clone(id), evidence);
            if let Some(state) = plan.owners.static_entries.get_mut(id) {
                state.form = None;
                state.problem = None;
            }
        }
    }
}

fn spiffe_id_applied(plan: &mut Plan, object: ClusterSpiffeId) {
    let name: Arc<str> = object.metadata.name.as_deref().unwrap_or_default().into();
    plan.lists.tell(Kind::SpiffeIds, &name);
    if !plan.settings.class.accepts(&object.spec.class_name) {
        remove_rule(plan, &name, Evidence::Seen);
        return;
    }
    plan.dirty.touched.insert(Owner::SpiffeId(Arc::clone(&name)));
    if !plan.owners.put_rule(&name, object) {
        return;
    }
    let before = plan.outcomes.pods_of(&name);
    plan.mark_pods(before, Evidence::Seen);
    let form = plan.owners.rules.get(&name).and_then(|state| state.form.as_ref());
    let now = form.map(|form| selected(plan, &form.rule)).unwrap_or_default();
    plan.mark_pods(now, Evidence::Seen);
}

fn selected(plan: &Plan, rule: &Rule) -> Vec<Arc<str>> {
    let namespaces = plan.cluster.namespaces().filter(|(_, labels)| rule.selects_namespace(labels));
    let pods = namespaces.flat_map(|(name, _)| plan.cluster.pods_of_namespace(name));
    pods.filter(|pod| rule.selects_pod(&pod.labels)).map(|pod| Arc::clone(&pod.uid)).collect()
}

fn remove_rule(plan: &mut Plan, name: &Arc<str>, evidence: Evidence) {
    if plan.owners.rules.remove(name).is_some() {
        plan.dirty.touched.insert(Owner::SpiffeId(Arc::clone(name)));
    }
    let pods = plan.outcomes.pods_of(name);
    plan.mark_pods(pods, evidence);
}

fn static_entry_applied(plan: &mut Plan, object: ClusterStaticEntry) {
    let name: Arc<str> = object.metadata.name.as_deref().unwrap_or_default().into();
    if !plan.settings.class.accepts(&object.spec.class_name) {
        delete(plan, Kind::StaticEntries, &name, Evidence::Seen);
        return;
    }
    plan.lists.tell(Kind::StaticEntries, &name);
    plan.dirty.touched.insert(Owner::StaticEntry(Arc::clone(&name)));
    if plan.owners.put_static_entry(&name, object) {
        plan.dirty.mark_static_entry(name, Evidence::Seen);
    }
}

fn unreadable(plan: &mut Plan, owner: Owner, error: CrdError) {
    plan.lists.tell(kind_of(&owner), owner.name());
    plan.owners.put_unreadable(&owner, error);
    plan.dirty.touched.insert(owner);
}
