//! A small cluster to plan for.

use crate::controller::{
    crd::{ClusterSpiffeId, ClusterStaticEntry, CrdError},
    plan::{Delta, Plan},
    settings::Settings,
    wanted::Wanted,
    world::{
        Container, Endpoints, Event, Kind, Labels, Namespace, Node, Owner, Phase, Pod, PodSpec,
        Scope,
    },
};
use serde_json::{Value, json};
use std::sync::Arc;

/// The identity by namespace and service account.
pub(super) const BY_ACCOUNT: &str =
    "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}";

pub(super) fn settings() -> Settings {
    Settings::of_test("d")
}

/// A plan for an empty cluster that was listed once.
pub(super) fn listed() -> Plan {
    let mut plan = Plan::new(settings());
    list_all(&mut plan);
    plan
}

pub(super) fn list_all(plan: &mut Plan) {
    for kind in Kind::ALL {
        list(plan, kind, Vec::new());
    }
}

pub(super) fn list(plan: &mut Plan, kind: Kind, events: Vec<Event>) {
    plan.apply(Event::ListBegan(Scope::all(kind)));
    events.into_iter().for_each(|event| plan.apply(event));
    plan.apply(Event::ListEnded(Scope::all(kind)));
}

pub(super) fn pod(uid: &str, namespace: &str, labels: &[(&str, &str)]) -> Pod {
    Pod {
        uid: uid.into(),
        namespace: namespace.into(),
        name: uid.into(),
        generate_name: "".into(),
        node: Some("n1".into()),
        phase: Phase::Live,
        labels: labels.iter().copied().collect(),
        annotations: Labels::default(),
        owners: Arc::new([]),
        hostname: "".into(),
        spec: Arc::new(PodSpec {
            service_account_name: "sa".into(),
            containers: vec![Container::default()],
            ..PodSpec::default()
        }),
    }
}

pub(super) fn pod_event(uid: &str, namespace: &str, labels: &[(&str, &str)]) -> Event {
    Event::PodApplied(Arc::new(pod(uid, namespace, labels)))
}

pub(super) fn node_event(name: &str, uid: &str) -> Event {
    Event::NodeApplied(Arc::new(Node {
        uid: uid.into(),
        name: name.into(),
        labels: Labels::default(),
        annotations: Labels::default(),
        pod_cidr: "".into(),
        pod_cidrs: Vec::new(),
        provider_id: "".into(),
        unschedulable: false,
    }))
}

pub(super) fn namespace_event(name: &str, labels: &[(&str, &str)]) -> Event {
    let labels = labels.iter().copied().collect();
    Event::NamespaceApplied(Namespace { name: name.into(), labels })
}

pub(super) fn endpoints_event(namespace: &str, name: &str, service: &str, pods: &[&str]) -> Event {
    Event::EndpointsApplied(Endpoints {
        namespace: namespace.into(),
        name: name.into(),
        service: service.into(),
        pods: pods.iter().map(|uid| (*uid).into()).collect(),
    })
}

pub(super) fn rule_event(name: &str, age: u32, spec: Value) -> Event {
    Event::SpiffeIdApplied(Box::new(rule_object(name, age, spec)))
}

pub(super) fn rule_object(name: &str, age: u32, spec: Value) -> ClusterSpiffeId {
    let mut spec = spec;
    spec.as_object_mut().unwrap().entry("spiffeIDTemplate").or_insert_with(|| BY_ACCOUNT.into());
    serde_json::from_value(json!({
        "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID",
        "metadata": {
            "name": name, "uid": name, "generation": 1,
            "creationTimestamp": format!("20{:02}-01-01T00:00:00Z", 99 - age),
        },
        "spec": spec,
    }))
    .unwrap()
}

pub(super) fn static_event(name: &str, spec: &Value) -> Event {
    let object: ClusterStaticEntry = serde_json::from_value(json!({
        "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterStaticEntry",
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2050-01-01T00:00:00Z"},
        "spec": spec,
    }))
    .unwrap();
    Event::StaticEntryApplied(Box::new(object))
}

pub(super) fn rule(name: &str) -> Owner {
    Owner::SpiffeId(name.into())
}

pub(super) fn unreadable() -> CrdError {
    serde_json::from_str::<String>("3").unwrap_err().into()
}

/// A plan with a node, namespaces `a` and `b`, and a pod in each.
pub(super) fn with_pods(rules: Vec<Event>) -> Plan {
    let mut plan = listed();
    plan.apply(node_event("n1", "node-1"));
    plan.apply(namespace_event("a", &[("team", "red")]));
    plan.apply(namespace_event("b", &[("team", "blue")]));
    plan.apply(pod_event("p1", "a", &[("app", "web")]));
    plan.apply(pod_event("p2", "b", &[("app", "db")]));
    rules.into_iter().for_each(|event| plan.apply(event));
    plan
}

fn pod_and_path(wanted: &Wanted) -> (String, String) {
    let pod = wanted.pod.as_deref().unwrap_or("-");
    (pod.to_owned(), wanted.spec.spiffe_id.path().to_owned())
}

/// What a change sets and unsets, as pods and paths.
pub(super) fn told(delta: &Delta) -> (Vec<String>, Vec<String>) {
    let spell = |wanted: &Wanted| {
        let (pod, path) = pod_and_path(wanted);
        format!("{pod} {path}")
    };
    let mut set: Vec<_> = delta.set.iter().map(|(_, wanted)| spell(wanted)).collect();
    let mut unset: Vec<_> = delta.unset.iter().map(|unset| spell(&unset.wanted)).collect();
    set.sort_unstable();
    unset.sort_unstable();
    (set, unset)
}

/// Asserts what the next computation sets and unsets.
#[track_caller]
pub(super) fn expect(plan: &mut Plan, set: &[&str], unset: &[&str]) {
    let delta = plan.recompute();
    let (was_set, was_unset) = told(&delta);
    assert_eq!((was_set, was_unset), (owned(set), owned(unset)));
    assert!(plan.recompute_fully().is_empty(), "the full computation found something");
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
