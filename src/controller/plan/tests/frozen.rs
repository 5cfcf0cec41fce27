//! Nothing is taken away without positive evidence.

use super::cluster::*;
use crate::controller::{
    plan::{Doubt, Evidence, Plan},
    wanted::Wanted,
    world::{Event, Kind, Owner, Phase, Scope},
};
use serde_json::json;
use std::sync::Arc;

const BOTH: [&str; 2] = ["p1 /ns/a/sa/sa", "p2 /ns/b/sa/sa"];

fn settled() -> Plan {
    let mut plan = with_pods(vec![rule_event("r", 1, json!({}))]);
    expect(&mut plan, &BOTH, &[]);
    plan
}

#[test]
fn a_rule_that_cannot_be_read_keeps_what_it_gave_and_goes_on_giving() {
    let mut plan = settled();
    plan.apply(Event::Unreadable(rule("r"), unreadable()));
    expect(&mut plan, &[], &[]);
    assert!(plan.rule_report("r").unwrap().problem.is_some());
    plan.apply(pod_event("p3", "a", &[]));
    expect(&mut plan, &["p3 /ns/a/sa/sa"], &[]);
    plan.apply(rule_event("r", 1, json!({})));
    expect(&mut plan, &[], &[]);
    assert!(plan.rule_report("r").unwrap().problem.is_none());
}

#[test]
fn a_rule_whose_template_does_not_parse_keeps_the_former_one() {
    let mut plan = settled();
    plan.apply(rule_event("r", 1, json!({"spiffeIDTemplate": "{{ .Nope }}"})));
    expect(&mut plan, &[], &[]);
    let problem = plan.rule_report("r").unwrap().problem.unwrap().to_string();
    assert!(problem.contains("no field Nope"), "{problem}");
}

#[test]
fn an_entry_that_fails_to_render_stays_as_it_was() {
    let mut plan = settled();
    let template = "spiffe://{{ .TrustDomain }}/{{ .PodMeta.Labels.tier }}";
    plan.apply(rule_event("r", 1, json!({"spiffeIDTemplate": template})));
    expect(&mut plan, &[], &[]);
    let report = plan.rule_report("r").unwrap();
    assert_eq!((report.stats.render_failures, report.failures.len()), (2, 2));
    plan.apply(pod_event("p1", "a", &[("tier", "front")]));
    expect(&mut plan, &["p1 /front"], &["p1 /ns/a/sa/sa"]);
    plan.apply(Event::OwnerDeleted(rule("r")));
    expect(&mut plan, &[], &["p1 /front", "p2 /ns/b/sa/sa"]);
}

#[test]
fn nodes_and_namespaces_that_vanish_take_nothing_with_them() {
    let mut plan = settled();
    list(&mut plan, Kind::Nodes, Vec::new());
    expect(&mut plan, &[], &[]);
    list(&mut plan, Kind::Namespaces, Vec::new());
    expect(&mut plan, &[], &[]);
    plan.apply(pod_event("p1", "a", &[("app", "other")]));
    expect(&mut plan, &[], &[]);
    plan.apply(Event::OwnerDeleted(rule("r")));
    expect(&mut plan, &[], &BOTH);
}

#[test]
fn only_a_list_that_ended_tells_that_something_is_gone() {
    let mut plan = settled();
    plan.apply(Event::ListBegan(Scope::all(Kind::Pods)));
    plan.apply(pod_event("p1", "a", &[("app", "web")]));
    expect(&mut plan, &[], &[]);
    // Given up, and begun anew.
    plan.apply(Event::ListBegan(Scope::all(Kind::Pods)));
    plan.apply(pod_event("p2", "b", &[("app", "db")]));
    plan.apply(Event::ListEnded(Scope::all(Kind::Pods)));
    let delta = plan.recompute();
    assert_eq!(told(&delta).1, ["p1 /ns/a/sa/sa"]);
    assert_eq!(delta.unset[0].evidence, Evidence::Absent);
    plan.apply(Event::PodDeleted("p2".into()));
    assert_eq!(plan.recompute().unset[0].evidence, Evidence::Seen);
}

#[test]
fn a_list_of_one_namespace_says_nothing_of_another() {
    let mut plan = settled();
    let scope = Scope { kind: Kind::Pods, namespace: Some("a".into()) };
    plan.apply(Event::ListBegan(scope.clone()));
    plan.apply(Event::ListEnded(scope));
    expect(&mut plan, &[], &["p1 /ns/a/sa/sa"]);
}

#[test]
fn an_unreadable_object_is_no_absent_one() {
    let mut plan = settled();
    plan.apply(Event::ListBegan(Scope::all(Kind::SpiffeIds)));
    plan.apply(Event::Unreadable(rule("r"), unreadable()));
    plan.apply(Event::ListEnded(Scope::all(Kind::SpiffeIds)));
    expect(&mut plan, &[], &[]);
    list(&mut plan, Kind::SpiffeIds, Vec::new());
    let delta = plan.recompute();
    assert_eq!(told(&delta).1, BOTH);
    assert!(delta.unset.iter().all(|unset| unset.evidence == Evidence::Absent));
}

#[test]
fn dns_names_wait_for_the_endpoints_to_be_listed() {
    let mut plan = Plan::new(settings());
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Endpoints) {
        list(&mut plan, kind, Vec::new());
    }
    plan.apply(node_event("n1", "node-1"));
    plan.apply(namespace_event("a", &[]));
    plan.apply(pod_event("p1", "a", &[]));
    plan.apply(rule_event("r", 1, json!({"autoPopulateDNSNames": true})));
    expect(&mut plan, &[], &[]);
    assert_eq!(plan.missing(), [Scope::all(Kind::Endpoints)]);
    assert_eq!(plan.rule_report("r").unwrap().stats.pods_waiting, 1);
    list(&mut plan, Kind::Endpoints, vec![endpoints_event("a", "s", "web", &["p1"])]);
    expect(&mut plan, &["p1 /ns/a/sa/sa"], &[]);
    assert!(plan.wanted().all(|(_, wanted)| wanted.spec.dns_names.len() == 4));
}

#[test]
fn what_may_not_be_watched_is_not_waited_for() {
    let mut plan = Plan::new(settings());
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Endpoints) {
        list(&mut plan, kind, Vec::new());
    }
    plan.apply(node_event("n1", "node-1"));
    plan.apply(namespace_event("a", &[]));
    plan.apply(pod_event("p1", "a", &[]));
    plan.apply(rule_event("r", 1, json!({"autoPopulateDNSNames": true})));
    expect(&mut plan, &[], &[]);
    plan.apply(Event::Renounced(Kind::Endpoints));
    expect(&mut plan, &["p1 /ns/a/sa/sa"], &[]);
}

#[test]
fn a_static_entry_that_fails_keeps_what_it_gave() {
    let good =
        json!({"spiffeID": "spiffe://d/x", "parentID": "spiffe://d/p", "selectors": ["a:1"]});
    let bad =
        json!({"spiffeID": "spiffe://other/x", "parentID": "spiffe://d/p", "selectors": ["a:1"]});
    let mut plan = listed();
    plan.apply(static_event("s", &good));
    expect(&mut plan, &["- /x"], &[]);
    plan.apply(static_event("s", &bad));
    expect(&mut plan, &[], &[]);
    assert!(plan.static_report("s").unwrap().problem.is_some());
    plan.apply(Event::Unreadable(Owner::StaticEntry("s".into()), unreadable()));
    expect(&mut plan, &[], &[]);
    plan.apply(Event::OwnerDeleted(Owner::StaticEntry("s".into())));
    expect(&mut plan, &[], &["- /x"]);
}

#[test]
fn entries_of_an_earlier_life_are_doubted_while_their_author_may_be_unreadable() {
    let mut plan = settled();
    let entry = |plan: &Plan, pod: &str| -> Arc<Wanted> {
        Arc::clone(plan.wanted().find(|(_, wanted)| wanted.pod.as_deref() == Some(pod)).unwrap().1)
    };
    let mut other = entry(&plan, "p1").spec.clone();
    other.spiffe_id = crate::spiffe::SpiffeId::parse("spiffe://d/other").unwrap();
    assert_eq!(plan.doubt(&other), None);
    plan.apply(Event::Unreadable(rule("never-read"), unreadable()));
    drop(plan.recompute());
    assert_eq!(plan.doubt(&other), Some(Doubt::UnreadableRule));
    plan.apply(Event::OwnerDeleted(rule("never-read")));
    drop(plan.recompute());
    assert_eq!(plan.doubt(&other), None);
    let failing =
        json!({"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/{{ .PodMeta.Labels.x }}"});
    plan.apply(rule_event("failing", 1, failing));
    drop(plan.recompute());
    assert_eq!(plan.doubt(&other), Some(Doubt::UndecidedPod));
    plan.apply(Event::PodDeleted("p1".into()));
    drop(plan.recompute());
    assert_eq!(plan.doubt(&other), None);
}

#[test]
fn a_pod_that_has_ended_has_nothing_whatever_became_of_its_node() {
    let mut plan = settled();
    let spec = plan.wanted().find(|(_, w)| w.pod.as_deref() == Some("p1")).unwrap().1.spec.clone();
    let mut ended = pod("p1", "a", &[]);
    ended.phase = Phase::Ended;
    plan.apply(Event::PodApplied(Arc::new(ended)));
    plan.apply(Event::NodeDeleted("n1".into()));
    expect(&mut plan, &[], &["p1 /ns/a/sa/sa"]);
    assert_eq!(plan.doubt(&spec), None);
}
