//! Entries follow the cluster.

use super::fixture::{
    SPIFFE_IDS, TEMPLATE, World, agent, namespace, path_of_pod, pod, spiffe_id, within,
};
use crate::server::fixture as server;
use finial::{
    server::store::{Changes, Subject},
    spiffe::Selector,
};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn a_pod_has_its_entry_as_soon_as_it_is_created() {
    let world = World::start().await;
    world.api.put(spiffe_id(
        "all",
        &json!({"spiffeIDTemplate": TEMPLATE, "dnsNameTemplates": ["{{ .PodMeta.Name }}"]}),
    ));
    let controller = world.controller("entryIDPrefix: c1").await;
    world.api.put(pod("prod", "web"));
    world.until_identities(&["/ns/prod/sa/web"]).await;
    let entry = Arc::clone(&world.entries()[0]);
    assert!(entry.id.as_str().starts_with("c1."), "{}", entry.id);
    assert_eq!(entry.spec.parent_id, agent());
    assert_eq!(entry.spec.selectors.as_slice()[0].as_str(), "k8s:pod-uid:uid-of-prod-web");
    assert_eq!(entry.spec.dns_names[0].as_str(), "web");
    world.api.delete(&path_of_pod("prod", "web"));
    world.until_identities(&[]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn a_namespace_that_is_relabelled_gains_and_loses_identities() {
    let world = World::start().await;
    let only = json!({"matchLabels": {"team": "b"}});
    world
        .api
        .put(spiffe_id("b", &json!({"spiffeIDTemplate": TEMPLATE, "namespaceSelector": only})));
    world.api.put(pod("prod", "web"));
    let controller = world.controller("").await;
    world.until_settled("marker").await;
    assert_eq!(world.identities(), ["/marker"]);
    world.api.put(namespace("prod", &json!({"team": "b"})));
    world.until_identities(&["/marker", "/ns/prod/sa/web"]).await;
    world.api.put(namespace("prod", &json!({"team": "a"})));
    world.until_identities(&["/marker"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn an_edited_template_leaves_no_moment_without_identity() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    let controller = world.controller("").await;
    world.until_identities(&["/ns/prod/sa/web"]).await;
    let old = world.entries()[0].id.clone();
    let store = world.server().store();
    let before = store.sequence().current();
    world.api.change(&format!("{SPIFFE_IDS}/all"), |object| {
        object["spec"]["spiffeIDTemplate"] =
            json!("spiffe://{{ .TrustDomain }}/pod/{{ .PodMeta.Name }}");
    });
    world.until_identities(&["/pod/web"]).await;
    let new = world.entries()[0].id.clone();
    let Changes::Events(changes) = store.changes_since(before) else { panic!("too many changes") };
    let subjects: Vec<_> = changes.into_iter().map(|change| change.subject).collect();
    assert_eq!(subjects, [Subject::Entry(new), Subject::Entry(old)], "made first, then deleted");
    controller.shutdown().await;
}

#[tokio::test]
async fn what_can_be_changed_in_place_keeps_its_entry() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    let controller = world.controller("").await;
    world.until_identities(&["/ns/prod/sa/web"]).await;
    let before = Arc::clone(&world.entries()[0]);
    let mut changes = world.server().store().sequence();
    world.api.change(&format!("{SPIFFE_IDS}/all"), |object| {
        object["spec"]["ttl"] = json!("10m");
    });
    within(async {
        while world.entries()[0].spec.x509_svid_ttl_secs != 600 {
            changes.changed().await.unwrap();
        }
    })
    .await;
    assert_eq!(world.entries()[0].id, before.id);
    controller.shutdown().await;
}

#[tokio::test]
async fn entries_made_by_hand_are_left_alone_where_a_prefix_says_which_are_ours() {
    let world = World::start().await;
    world.enter("made-by-hand", "/by-hand/1").await;
    world.enter("c2.of-another-cluster", "/by-hand/2").await;
    world.enter("c1.orphan", "/orphan").await;
    let controller = world.controller("entryIDPrefix: c1").await;
    world.until_identities(&["/by-hand/1", "/by-hand/2"]).await;
    world.until_settled("marker").await;
    assert_eq!(world.identities(), ["/by-hand/1", "/by-hand/2", "/marker"]);
    controller.shutdown().await;
}

#[tokio::test]
async fn entries_of_a_former_prefix_are_taken_over_or_removed() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    let mut wanted = server::spec(&agent(), "/ns/prod/sa/web");
    wanted.selectors =
        [Selector::parse("k8s:pod-uid:uid-of-prod-web").unwrap()].into_iter().collect();
    world.enter_spec("unprefixed", wanted).await;
    world.enter("of-nobody", "/of-nobody").await;
    world.enter("c2.other", "/other").await;
    let controller = world.controller("entryIDPrefix: c1\nentryIDPrefixCleanup: ''").await;
    let mut changes = world.server().store().sequence();
    let is_done = || {
        let entries = world.entries();
        let mut ids: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        ids.sort_unstable();
        matches!(ids.as_slice(), [ours, "c2.other"] if ours.starts_with("c1."))
    };
    within(async {
        while !is_done() {
            changes.changed().await.unwrap();
        }
    })
    .await;
    assert_eq!(world.identities(), ["/ns/prod/sa/web", "/other"]);
    controller.shutdown().await;
}

#[tokio::test]
async fn a_storm_of_changes_ends_where_the_cluster_ends() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    let controller = world.controller("").await;
    for round in 0..4 {
        for number in 0..300 {
            let name = format!("p{number}");
            if (number + round) % 3 == 0 && round > 0 {
                if world.api.object(&path_of_pod("prod", &name)).is_some() {
                    world.api.delete(&path_of_pod("prod", &name));
                }
            } else {
                world.api.put(pod("prod", &name));
            }
        }
    }
    let mut left: Vec<String> = world
        .api
        .objects("/api/v1/pods")
        .iter()
        .map(|pod| format!("/ns/prod/sa/{}", pod["metadata"]["name"].as_str().unwrap()))
        .collect();
    left.sort();
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    world.until_identities(&left).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn service_names_are_watched_when_a_rule_asks_for_them() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    world.api.put(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "prod", "name": "shop-x1", "labels": {"kubernetes.io/service-name": "shop"},
        },
        "endpoints": [{
            "addresses": ["10.0.0.1"],
            "targetRef": {"kind": "Pod", "name": "web", "namespace": "prod", "uid": "uid-of-prod-web"},
        }],
    }));
    let controller = world.controller("clusterDomain: cluster.local").await;
    world.until_identities(&["/ns/prod/sa/web"]).await;
    assert_eq!(world.asked("GET /apis/discovery.k8s.io/v1/endpointslices"), 0);
    let mut changes = world.server().store().sequence();
    world.api.change(&format!("{SPIFFE_IDS}/all"), |object| {
        object["spec"]["autoPopulateDNSNames"] = json!(true);
    });
    within(async {
        while world.entries()[0].spec.dns_names.is_empty() {
            changes.changed().await.unwrap();
        }
    })
    .await;
    let names: Vec<_> =
        world.entries()[0].spec.dns_names.iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["shop", "shop.prod", "shop.prod.svc", "shop.prod.svc.cluster.local"]);
    controller.shutdown().await;
}
