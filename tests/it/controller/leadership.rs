//! Several controllers, of which one writes.

use super::fixture::{TEMPLATE, World, path_of_pod, pod, spiffe_id, within};
use finial::{controller::lease::Role, testing::apiserver::Mood};
use serde_json::json;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/spire/leases/l";
/// Times short enough for a test, long enough for a slow machine.
const ELECTED: &str = "leaderElection: {leaderElect: true, resourceName: l, resourceNamespace: spire, \
                       leaseDuration: 3s, renewDeadline: 2s, retryPeriod: 100ms}";

#[tokio::test]
async fn one_of_two_leads_and_the_other_follows_when_it_ends() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    let first = world.controller(ELECTED).await;
    within(first.role().wait_for(|role| *role == Role::Leads)).await.unwrap();
    let second = world.controller(ELECTED).await;
    world.until_asked(&format!("GET {LEASE}"), 10).await;
    assert_eq!(second.role().current(), Role::StandsBy);
    world.api.put(pod("prod", "web"));
    world.until_identities(&["/ns/prod/sa/web"]).await;
    first.shutdown().await;
    // The lease was given back: nobody has to wait for its end.
    within(second.role().wait_for(|role| *role == Role::Leads)).await.unwrap();
    world.api.delete(&path_of_pod("prod", "web"));
    world.until_identities(&[]).await;
    let lease = world.api.object(LEASE).unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 1, "{lease:#}");
    second.shutdown().await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stands_by_and_leads_again_later() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    let controller = world.controller(ELECTED).await;
    within(controller.role().wait_for(|role| *role == Role::Leads)).await.unwrap();
    world.api.set_mood_below(LEASE, Mood::Fails(500));
    within(controller.role().wait_for(|role| *role == Role::StandsBy)).await.unwrap();
    world.api.put(pod("prod", "web"));
    world.until_asked(&format!("GET {LEASE}"), 30).await;
    assert_eq!(world.identities(), Vec::<String>::new(), "who stands by writes nothing");
    world.api.set_mood_below(LEASE, Mood::Answers);
    world.until_identities(&["/ns/prod/sa/web"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn a_lease_that_another_took_is_not_taken_from_it() {
    let world = World::start().await;
    let controller = world.controller(ELECTED).await;
    within(controller.role().wait_for(|role| *role == Role::Leads)).await.unwrap();
    world.api.change(LEASE, |lease| {
        lease["spec"]["holderIdentity"] = json!("spire-controller-manager-0");
        lease["spec"]["leaseDurationSeconds"] = json!(60);
    });
    within(controller.role().wait_for(|role| *role == Role::StandsBy)).await.unwrap();
    controller.shutdown().await;
    let lease = world.api.object(LEASE).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "spire-controller-manager-0");
}
