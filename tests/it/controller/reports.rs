//! Authors are told what became of their objects.

use super::fixture::{SPIFFE_IDS, STATIC_ENTRIES, TEMPLATE, World, pod, spiffe_id, static_entry};
use finial::testing::apiserver::Mood;
use serde_json::{Value, json};

fn ready(object: &Value) -> (&str, &str) {
    let condition = &object["status"]["conditions"][0];
    (
        condition["status"].as_str().unwrap_or_default(),
        condition["reason"].as_str().unwrap_or_default(),
    )
}

#[tokio::test]
async fn a_status_has_upstreams_counts_and_a_condition() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "a"));
    world.api.put(pod("prod", "b"));
    let controller = world.controller("").await;
    let path = format!("{SPIFFE_IDS}/all");
    let object =
        world.until_object(&path, |object| object["status"]["stats"]["entriesToSet"] == 2).await;
    let stats = &object["status"]["stats"];
    assert_eq!(
        (&stats["namespacesSelected"], &stats["podsSelected"], &stats["entryFailures"]),
        (&json!(1), &json!(2), &json!(0))
    );
    assert_eq!(ready(&object), ("True", "Reconciled"));
    assert_eq!(object["status"]["conditions"][0]["observedGeneration"], 1);
    controller.shutdown().await;
}

#[tokio::test]
async fn a_static_entry_that_is_set_stays_set() {
    let world = World::start().await;
    world.api.put(static_entry("db"));
    let controller = world.controller("gcInterval: 20ms").await;
    let path = format!("{STATIC_ENTRIES}/db");
    world.until_object(&path, |object| object["status"]["set"] == true).await;
    // Upstream says true in the pass that makes the entry only (kubernetes.md §2.10).
    world.until_settled("marker").await;
    world.until_object(&format!("{STATIC_ENTRIES}/marker"), |o| o["status"]["set"] == true).await;
    let object = world.api.object(&path).unwrap();
    assert_eq!(object["status"]["set"], true);
    assert_eq!(ready(&object), ("True", "Reconciled"));
    controller.shutdown().await;
}

#[tokio::test]
async fn a_template_that_fails_for_a_pod_is_told_with_pod_and_reason_and_once() {
    let world = World::start().await;
    let template = "spiffe://{{ .TrustDomain }}/{{ .PodMeta.Labels.tier }}";
    world.api.put(spiffe_id("tiers", &json!({"spiffeIDTemplate": template})));
    world.api.put(pod("prod", "web"));
    let controller = world.controller("gcInterval: 20ms").await;
    let path = format!("{SPIFFE_IDS}/tiers");
    let object =
        world.until_object(&path, |object| ready(object) == ("False", "RenderFailed")).await;
    let message = object["status"]["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("prod/web"), "{message}");
    assert_eq!(object["status"]["stats"]["podEntryRenderFailures"], 1);
    world.until_asked("POST /api/v1/namespaces/default/events", 1).await;
    world.until_settled("marker").await;
    world.until_object(&format!("{STATIC_ENTRIES}/marker"), |o| o["status"]["set"] == true).await;
    let events = world.api.objects("/api/v1/namespaces/default/events");
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["reason"], "RenderFailed");
    assert_eq!(events[0]["message"], message);
    controller.shutdown().await;
}

#[tokio::test]
async fn an_entry_that_the_server_refuses_is_told_and_others_are_made() {
    let world = World::start().await;
    // The server does not federate with itself.
    let mut refused = static_entry("own");
    refused["spec"]["federatesWith"] = json!(["example.org"]);
    world.api.put(refused);
    world.api.put(static_entry("good"));
    let controller = world.controller("").await;
    world.until_identities(&["/good"]).await;
    let path = format!("{STATIC_ENTRIES}/own");
    let object =
        world.until_object(&path, |object| ready(object) == ("False", "EntryRefused")).await;
    assert_eq!(object["status"]["set"], false);
    world.api.change(&path, |object| object["spec"]["federatesWith"] = json!([]));
    world.until_identities(&["/good", "/own"]).await;
    world.until_object(&path, |object| object["status"]["set"] == true).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn statuses_that_may_not_be_written_hold_nothing_up() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    world.api.set_mood_below(&format!("{SPIFFE_IDS}/all"), Mood::Fails(403));
    let controller = world.controller("").await;
    world.until_identities(&["/ns/prod/sa/web"]).await;
    world.until_asked(&format!("GET {SPIFFE_IDS}/all"), 2).await;
    world.api.set_mood_below(&format!("{SPIFFE_IDS}/all"), Mood::Answers);
    let path = format!("{SPIFFE_IDS}/all");
    world.until_object(&path, |object| ready(object) == ("True", "Reconciled")).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn a_federated_trust_domain_is_checked_and_said_to_wait_for_federation() {
    let world = World::start().await;
    let federated = |name: &str, url: &str| {
        json!({
            "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterFederatedTrustDomain",
            "metadata": {"name": name},
            "spec": {
                "trustDomain": "other.example", "bundleEndpointURL": url,
                "bundleEndpointProfile": {"type": "https_web"},
            },
        })
    };
    world.api.put(federated("good", "https://other.example/bundle"));
    world.api.put(federated("bad", "http://other.example/bundle"));
    let controller = world.controller("").await;
    let path = "/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains";
    for (name, reason) in [("good", "NotSupported"), ("bad", "Invalid")] {
        let path = format!("{path}/{name}");
        world.until_object(&path, |object| ready(object) == ("False", reason)).await;
    }
    controller.shutdown().await;
}
