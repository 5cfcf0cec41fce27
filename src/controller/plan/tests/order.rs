//! Whatever the order of events, and however often it was computed in between, the plan is the one that a
//! single look at the final state gives.

use super::cluster::*;
use crate::controller::{
    plan::{Delta, Plan},
    wanted::{EntryKey, Wanted},
    world::{Event, Kind, Owner, Phase},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// The state of one object: `None` is absent. Each step sets the state of one object.
#[derive(Clone, Debug)]
enum Step {
    Pod(u8, Option<(u8, u8, u8)>),
    Namespace(u8, u8),
    Node(u8, u8),
    Endpoints(u8, Option<(u8, u8)>),
    Rule(u8, Option<(u8, u8)>),
    Static(u8, Option<u8>),
    /// Computes in between.
    Compute,
    /// Lists all pods again, some deletions having been missed.
    Relist,
}

fn step() -> impl Strategy<Value = Step> {
    use proptest::option::of;
    prop_oneof![
        6 => (0..6_u8, of((0..3_u8, 0..3_u8, 0..4_u8))).prop_map(|(n, s)| Step::Pod(n, s)),
        2 => (0..3_u8, 0..3_u8).prop_map(|(n, s)| Step::Namespace(n, s)),
        1 => (0..2_u8, 0..2_u8).prop_map(|(n, s)| Step::Node(n, s)),
        2 => (0..3_u8, of((0..2_u8, 0..6_u8))).prop_map(|(n, s)| Step::Endpoints(n, s)),
        3 => (0..4_u8, of((0..6_u8, 0..3_u8))).prop_map(|(n, s)| Step::Rule(n, s)),
        1 => (0..2_u8, of(0..3_u8)).prop_map(|(n, s)| Step::Static(n, s)),
        3 => Just(Step::Compute),
        1 => Just(Step::Relist),
    ]
}

/// Rules that never fail: what a failure leaves depends on what was before, and has tests of its own.
fn rule_spec(kind: u8) -> Value {
    match kind {
        0 => json!({}),
        1 => json!({"podSelector": {"matchLabels": {"app": "l1"}}, "hint": "web"}),
        2 => json!({"namespaceSelector": {"matchLabels": {"team": "l2"}}, "ttl": "1h"}),
        3 => json!({"fallback": true, "spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/fallback"}),
        4 => json!({"autoPopulateDNSNames": true, "workloadSelectorTemplates": ["k8s:ns:ns0"]}),
        _ => json!({
            "spiffeIDTemplate": r#"spiffe://{{ .TrustDomain }}/l/{{ or (index .PodMeta.Labels "app") "none" }}"#,
        }),
    }
}

/// The objects as they are in the end.
#[derive(Default)]
struct World(BTreeMap<String, Step>);

impl World {
    fn note(&mut self, step: &Step) {
        let name = match step {
            Step::Pod(n, _) => format!("pod{n}"),
            Step::Namespace(n, _) => format!("namespace{n}"),
            Step::Node(n, _) => format!("node{n}"),
            Step::Endpoints(n, _) => format!("endpoints{n}"),
            Step::Rule(n, _) => format!("rule{n}"),
            Step::Static(n, _) => format!("static{n}"),
            Step::Compute | Step::Relist => return,
        };
        self.0.insert(name, step.clone());
    }

    fn pods(&self) -> impl Iterator<Item = Event> {
        let pods = self.0.values().filter(|step| matches!(step, Step::Pod(_, Some(_))));
        pods.filter_map(event)
    }
}

fn event(step: &Step) -> Option<Event> {
    Some(match step {
        Step::Pod(n, Some((namespace, label, shape))) => {
            let label = format!("l{label}");
            let labels = [("app", label.as_str())];
            let mut pod = pod(&format!("p{n}"), &format!("ns{namespace}"), &labels);
            pod.node = (*shape != 1).then(|| format!("n{}", shape % 2).into());
            pod.phase = if *shape == 3 { Phase::Ended } else { Phase::Live };
            Event::PodApplied(Arc::new(pod))
        }
        Step::Pod(n, None) => Event::PodDeleted(format!("p{n}").into()),
        Step::Namespace(n, label) => {
            namespace_event(&format!("ns{n}"), &[("team", &format!("l{label}"))])
        }
        Step::Node(n, uid) => node_event(&format!("n{n}"), &format!("node-{n}-{uid}")),
        Step::Endpoints(n, Some((service, pod))) => {
            endpoints_event("ns0", &format!("e{n}"), &format!("s{service}"), &[&format!("p{pod}")])
        }
        Step::Endpoints(n, None) => {
            Event::EndpointsDeleted { namespace: "ns0".into(), name: format!("e{n}").into() }
        }
        Step::Rule(n, Some((kind, age))) => {
            rule_event(&format!("r{n}"), (*age).into(), rule_spec(*kind))
        }
        Step::Rule(n, None) => Event::OwnerDeleted(rule(&format!("r{n}"))),
        Step::Static(n, Some(kind)) => static_event(
            &format!("s{n}"),
            &json!({"spiffeID": format!("spiffe://d/s{kind}"), "parentID": "spiffe://d/p", "selectors": ["a:1"]}),
        ),
        Step::Static(n, None) => Event::OwnerDeleted(Owner::StaticEntry(format!("s{n}").into())),
        Step::Compute | Step::Relist => return None,
    })
}

/// All that a server would have that did as it was told.
type Told = BTreeMap<EntryKey, Arc<Wanted>>;

fn follow(told: &mut Told, delta: Delta) {
    for unset in delta.unset {
        assert!(told.remove(&unset.key).is_some(), "unset what was never set");
    }
    for (key, wanted) in delta.set {
        assert_eq!(key, EntryKey::of(&wanted.spec));
        told.insert(key, wanted);
    }
}

/// Every namespace and node: what is missing of them is waited for, which depends on what was before.
fn furnish(plan: &mut Plan, world: &mut World) {
    let steps = (0..3).map(|n| Step::Namespace(n, 0)).chain((0..2).map(|n| Step::Node(n, 0)));
    for step in steps {
        world.note(&step);
        plan.apply(event(&step).unwrap());
    }
}

/// Pods without a node keep what they had; that depends on what was before, so they never lose their node.
fn loses_node(world: &World, step: &Step) -> bool {
    let Step::Pod(n, Some((.., 1))) = step else { return false };
    matches!(world.0.get(&format!("pod{n}")), Some(Step::Pod(_, Some((.., shape)))) if *shape != 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_order_of_events_ends_in_the_plan_of_the_final_state(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let (mut plan, mut world, mut told) = (listed(), World::default(), Told::new());
        furnish(&mut plan, &mut world);
        for step in &steps {
            if loses_node(&world, step) {
                continue;
            }
            match step {
                Step::Compute => follow(&mut told, plan.recompute()),
                Step::Relist => list(&mut plan, Kind::Pods, world.pods().collect()),
                _ => event(step).into_iter().for_each(|event| plan.apply(event)),
            }
            world.note(step);
        }
        follow(&mut told, plan.recompute());

        let mut fresh = listed();
        world.0.values().rev().filter_map(event).for_each(|event| fresh.apply(event));
        let mut expected = Told::new();
        follow(&mut expected, fresh.recompute());

        prop_assert_eq!(&told, &expected);
        let wanted: Told = plan.wanted().map(|(key, wanted)| (*key, Arc::clone(wanted))).collect();
        prop_assert_eq!(&told, &wanted);
        for n in 0..4 {
            let report = |plan: &Plan| plan.rule_report(&format!("r{n}")).map(|report| report.stats);
            prop_assert_eq!(report(&plan), report(&fresh));
        }
        prop_assert!(plan.recompute_fully().is_empty());
    }
}
