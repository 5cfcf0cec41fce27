//! Which pods get which entries.

use super::cluster::*;
use crate::controller::{
    plan::Plan,
    settings::{Acted, ClassRule},
    world::{Event, Kind, Labels, Owner, Phase},
};
use regex::Regex;
use serde_json::json;
use std::sync::Arc;

#[test]
fn a_rule_gives_each_pod_that_it_selects_an_entry() {
    let mut plan = with_pods(vec![rule_event("r", 1, json!({}))]);
    expect(&mut plan, &["p1 /ns/a/sa/sa", "p2 /ns/b/sa/sa"], &[]);
    plan.apply(pod_event("p3", "a", &[]));
    expect(&mut plan, &["p3 /ns/a/sa/sa"], &[]);
    plan.apply(Event::PodDeleted("p1".into()));
    expect(&mut plan, &[], &["p1 /ns/a/sa/sa"]);
    plan.apply(Event::OwnerDeleted(rule("r")));
    expect(&mut plan, &[], &["p2 /ns/b/sa/sa", "p3 /ns/a/sa/sa"]);
    assert!(plan.rule_report("r").is_none());
}

#[test]
fn selectors_of_pods_and_namespaces_follow_their_labels() {
    let spec = json!({
        "namespaceSelector": {"matchLabels": {"team": "red"}},
        "podSelector": {"matchLabels": {"app": "web"}},
    });
    let mut plan = with_pods(vec![rule_event("r", 1, spec)]);
    expect(&mut plan, &["p1 /ns/a/sa/sa"], &[]);
    plan.apply(namespace_event("b", &[("team", "red")]));
    expect(&mut plan, &[], &[]);
    plan.apply(pod_event("p2", "b", &[("app", "web")]));
    expect(&mut plan, &["p2 /ns/b/sa/sa"], &[]);
    plan.apply(namespace_event("a", &[]));
    expect(&mut plan, &[], &["p1 /ns/a/sa/sa"]);
    let stats = plan.rule_report("r").unwrap().stats;
    assert_eq!((stats.namespaces_selected, stats.pods_selected, stats.entries_to_set), (1, 1, 1));
}

#[test]
fn an_edited_rule_sets_the_new_entries_with_the_old_ones_unset() {
    let mut plan = with_pods(vec![rule_event("r", 1, json!({}))]);
    expect(&mut plan, &["p1 /ns/a/sa/sa", "p2 /ns/b/sa/sa"], &[]);
    let spec = json!({"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/p/{{ .PodMeta.Name }}"});
    plan.apply(rule_event("r", 1, spec));
    expect(&mut plan, &["p1 /p/p1", "p2 /p/p2"], &["p1 /ns/a/sa/sa", "p2 /ns/b/sa/sa"]);
}

#[test]
fn a_field_that_is_no_part_of_the_key_changes_the_entry_in_place() {
    let mut plan = with_pods(vec![rule_event("r", 1, json!({}))]);
    drop(plan.recompute());
    let keys = |plan: &Plan| {
        let mut keys: Vec<_> = plan.wanted().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    };
    let before = keys(&plan);
    plan.apply(rule_event("r", 1, json!({"ttl": "1h"})));
    expect(&mut plan, &["p1 /ns/a/sa/sa", "p2 /ns/b/sa/sa"], &[]);
    assert_eq!(keys(&plan), before);
}

#[test]
fn the_oldest_of_equal_entries_masks_the_others() {
    let mut plan = with_pods(vec![
        rule_event("young", 1, json!({"hint": "young"})),
        rule_event("old", 9, json!({"hint": "old"})),
    ]);
    let hints = |plan: &Plan| -> Vec<String> {
        plan.wanted().map(|(_, wanted)| wanted.spec.hint.as_str().to_owned()).collect()
    };
    drop(plan.recompute());
    assert_eq!(hints(&plan), ["old", "old"]);
    let counts = |plan: &Plan, name: &str| {
        let stats = plan.rule_report(name).unwrap().stats;
        (stats.entries_to_set, stats.entries_masked)
    };
    assert_eq!((counts(&plan, "old"), counts(&plan, "young")), ((2, 0), (0, 2)));
    plan.apply(Event::OwnerDeleted(rule("old")));
    expect(&mut plan, &["p1 /ns/a/sa/sa", "p2 /ns/b/sa/sa"], &[]);
    assert_eq!(hints(&plan), ["young", "young"]);
    assert_eq!(counts(&plan, "young"), (2, 0));
}

#[test]
fn of_rules_of_one_age_the_one_that_is_deleted_last_and_then_the_lesser_uid_wins() {
    let with = |name: &str, deleted: Option<&str>| {
        let mut object = rule_object(name, 1, json!({"hint": name}));
        object.metadata.deletion_timestamp =
            deleted.map(|time| serde_json::from_value(json!(time)).unwrap());
        Event::SpiffeIdApplied(Box::new(object))
    };
    for (one, other, winner) in [
        (None, None, "x"),
        (Some("2090-01-01T00:00:00Z"), None, "y"),
        (Some("2090-01-01T00:00:00Z"), Some("2091-01-01T00:00:00Z"), "y"),
        (Some("2091-01-01T00:00:00Z"), Some("2090-01-01T00:00:00Z"), "x"),
    ] {
        let mut plan = with_pods(vec![with("x", one), with("y", other)]);
        drop(plan.recompute());
        assert!(plan.wanted().all(|(_, wanted)| wanted.spec.hint.as_str() == winner), "{winner}");
    }
}

#[test]
fn a_fallback_serves_only_pods_to_which_nobody_else_gives_an_entry() {
    let first = json!({"podSelector": {"matchLabels": {"app": "web"}}});
    let path = "spiffe://{{ .TrustDomain }}/fallback";
    let mut plan = with_pods(vec![
        rule_event("a-fallback", 9, json!({"fallback": true, "spiffeIDTemplate": path})),
        rule_event("first", 1, first),
    ]);
    expect(&mut plan, &["p1 /ns/a/sa/sa", "p2 /fallback"], &[]);
    plan.apply(pod_event("p2", "b", &[("app", "web")]));
    expect(&mut plan, &["p2 /ns/b/sa/sa"], &["p2 /fallback"]);
    plan.apply(Event::OwnerDeleted(rule("first")));
    expect(&mut plan, &["p1 /fallback", "p2 /fallback"], &["p1 /ns/a/sa/sa", "p2 /ns/b/sa/sa"]);
}

#[test]
fn rules_of_other_classes_are_as_if_they_were_not_there() {
    let mut settings = settings();
    settings.class = ClassRule { class_name: "mine".into(), watch_classless: true };
    let mut plan = Plan::new(settings);
    list_all(&mut plan);
    plan.apply(node_event("n1", "node-1"));
    plan.apply(namespace_event("a", &[]));
    plan.apply(pod_event("p1", "a", &[]));
    plan.apply(rule_event("r", 1, json!({"className": "mine"})));
    expect(&mut plan, &["p1 /ns/a/sa/sa"], &[]);
    plan.apply(rule_event("r", 1, json!({"className": "other"})));
    expect(&mut plan, &[], &["p1 /ns/a/sa/sa"]);
    plan.apply(rule_event("r", 1, json!({})));
    expect(&mut plan, &["p1 /ns/a/sa/sa"], &[]);
}

#[test]
fn the_class_rule_is_upstreams() {
    let accepts = |mine: &str, classless, class: &str| {
        ClassRule { class_name: mine.to_owned(), watch_classless: classless }.accepts(class)
    };
    assert!(accepts("", false, "") && accepts("", true, "") && accepts("c", true, ""));
    assert!(accepts("c", false, "c") && !accepts("c", false, "") && !accepts("c", true, "d"));
}

#[test]
fn ignored_namespaces_and_ended_pods_get_nothing() {
    let mut settings = settings();
    settings.ignore_namespaces = vec![Regex::new("kube-system").unwrap()];
    let mut plan = Plan::new(settings);
    list_all(&mut plan);
    plan.apply(node_event("n1", "node-1"));
    plan.apply(namespace_event("my-kube-system-x", &[]));
    plan.apply(namespace_event("a", &[]));
    plan.apply(pod_event("p1", "my-kube-system-x", &[]));
    plan.apply(pod_event("p2", "a", &[]));
    plan.apply(rule_event("r", 1, json!({})));
    expect(&mut plan, &["p2 /ns/a/sa/sa"], &[]);
    let mut ended = pod("p2", "a", &[]);
    ended.phase = Phase::Ended;
    plan.apply(Event::PodApplied(Arc::new(ended)));
    expect(&mut plan, &[], &["p2 /ns/a/sa/sa"]);
    let stats = plan.rule_report("r").unwrap().stats;
    assert_eq!(
        (stats.namespaces_selected, stats.namespaces_ignored, stats.pods_selected),
        (2, 1, 0)
    );
}

#[test]
fn a_pod_without_a_node_waits_and_is_no_failure() {
    let mut plan = with_pods(vec![rule_event("r", 1, json!({}))]);
    drop(plan.recompute());
    let mut early = pod("p3", "a", &[]);
    early.node = None;
    plan.apply(Event::PodApplied(Arc::new(early)));
    expect(&mut plan, &[], &[]);
    assert_eq!(plan.rule_report("r").unwrap().stats.render_failures, 0);
    plan.apply(pod_event("p3", "a", &[]));
    expect(&mut plan, &["p3 /ns/a/sa/sa"], &[]);
}

#[test]
fn a_node_that_is_made_anew_is_another_parent() {
    let mut plan = with_pods(vec![rule_event("r", 1, json!({}))]);
    drop(plan.recompute());
    plan.apply(node_event("n1", "node-2"));
    let both = ["p1 /ns/a/sa/sa", "p2 /ns/b/sa/sa"];
    expect(&mut plan, &both, &both);
    assert!(plan.wanted().all(|(_, w)| w.spec.parent_id.path().ends_with("/node-2")));
}

#[test]
fn services_become_dns_names_where_a_rule_asks_for_it() {
    let mut plan = with_pods(vec![rule_event("r", 1, json!({}))]);
    drop(plan.recompute());
    plan.apply(endpoints_event("a", "web-1", "web", &["p1"]));
    expect(&mut plan, &[], &[]);
    assert!(!plan.needs_endpoints());
    plan.apply(rule_event("r", 1, json!({"autoPopulateDNSNames": true})));
    expect(&mut plan, &["p1 /ns/a/sa/sa"], &[]);
    plan.apply(endpoints_event("a", "web-2", "web", &["p1"]));
    expect(&mut plan, &[], &[]);
    plan.apply(Event::EndpointsDeleted { namespace: "a".into(), name: "web-1".into() });
    expect(&mut plan, &[], &[]);
    plan.apply(endpoints_event("a", "web-2", "web", &[]));
    expect(&mut plan, &["p1 /ns/a/sa/sa"], &[]);
    assert!(plan.wanted().all(|(_, wanted)| wanted.spec.dns_names.is_empty()));
}

#[test]
fn contradicted_pods_are_counted_and_left_out() {
    let spec = json!({"workloadSelectorTemplates": ["k8s:ns:a", "k8s:pod-label:app:web"]});
    let mut plan = with_pods(vec![rule_event("r", 1, spec)]);
    expect(&mut plan, &["p1 /ns/a/sa/sa"], &[]);
    let stats = plan.rule_report("r").unwrap().stats;
    assert_eq!((stats.pods_selected, stats.pods_contradicted, stats.entries_to_set), (2, 1, 1));
    plan.apply(pod_event("p1", "a", &[("app", "db")]));
    expect(&mut plan, &[], &["p1 /ns/a/sa/sa"]);
}

#[test]
fn static_entries_are_set_changed_and_withdrawn() {
    let spec = |path: &str| json!({"spiffeID": format!("spiffe://d/{path}"), "parentID": "spiffe://d/p", "selectors": ["a:1"]});
    let mut plan = listed();
    plan.apply(static_event("s", &spec("x")));
    expect(&mut plan, &["- /x"], &[]);
    plan.apply(static_event("twin", &spec("x")));
    expect(&mut plan, &[], &[]);
    assert!(plan.static_report("twin").unwrap().is_masked);
    assert!(!plan.static_report("s").unwrap().is_masked);
    plan.apply(static_event("s", &spec("y")));
    expect(&mut plan, &["- /x", "- /y"], &[]);
    plan.apply(Event::OwnerDeleted(Owner::StaticEntry("s".into())));
    expect(&mut plan, &[], &["- /y"]);
    plan.apply(Event::OwnerDeleted(Owner::StaticEntry("twin".into())));
    expect(&mut plan, &[], &["- /x"]);
}

#[test]
fn nothing_is_wanted_for_pods_before_the_rules_were_listed() {
    let mut plan = Plan::new(settings());
    plan.apply(node_event("n1", "node-1"));
    plan.apply(namespace_event("a", &[]));
    plan.apply(pod_event("p1", "a", &[]));
    plan.apply(rule_event("fallback", 1, json!({"fallback": true})));
    assert!(plan.recompute().is_empty());
    let events = vec![
        rule_event("fallback", 1, json!({"fallback": true})),
        rule_event("first", 1, json!({"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/first"})),
    ];
    list(&mut plan, Kind::SpiffeIds, events);
    assert_eq!(told(&plan.recompute()), (vec!["p1 /first".to_owned()], Vec::new()));
}

#[test]
fn news_that_changes_nothing_is_no_work() {
    let mut plan = with_pods(vec![rule_event("r", 1, json!({}))]);
    drop(plan.recompute());
    plan.apply(pod_event("p1", "a", &[("app", "web")]));
    plan.apply(node_event("n1", "node-1"));
    plan.apply(namespace_event("a", &[("team", "red")]));
    assert!(!plan.has_news());
}

#[test]
fn kinds_that_are_not_acted_upon_are_never_missed() {
    let mut settings = settings();
    settings.static_entries = Acted::Not;
    let plan = Plan::new(settings);
    assert!(plan.missing().iter().all(|scope| scope.kind != Kind::StaticEntries));
    assert!(Labels::default().is_empty());
}
