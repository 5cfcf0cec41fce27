//! Whatever fails, no entry is deleted for it, and afterwards everything is as it should be (F-34).

use super::fixture::{
    SPIFFE_IDS, STATIC_ENTRIES, TEMPLATE, World, path_of_pod, pod, spiffe_id, static_entry, within,
};
use finial::testing::apiserver::Mood;
use serde_json::json;

const PODS: &str = "/api/v1/pods";

/// A controller that has made an entry for pod `web`.
async fn converged(extra: &str) -> (World, finial::controller::RunningController) {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    let controller = world.controller(extra).await;
    world.until_identities(&["/ns/prod/sa/web"]).await;
    (world, controller)
}

#[tokio::test]
async fn a_list_that_fails_deletes_nothing_and_stops_nothing_else() {
    let (world, controller) = converged("").await;
    world.api.set_mood_below(PODS, Mood::Fails(500));
    world.api.delete(&path_of_pod("prod", "web"));
    world.api.compact();
    world.api.cut_watches();
    world.until_asked("WATCH /api/v1/pods", 2).await;
    world.until_settled("marker").await;
    assert_eq!(world.identities(), ["/marker", "/ns/prod/sa/web"]);
    world.api.set_mood_below(PODS, Mood::Answers);
    world.until_identities(&["/marker"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn a_controller_that_cannot_list_pods_deletes_no_entry_at_its_start() {
    let (world, controller) = converged("").await;
    controller.shutdown().await;
    world.api.set_mood_below(PODS, Mood::Fails(403));
    let controller = world.controller("").await;
    world.until_asked("GET /api/v1/pods", 3).await;
    world.until_settled("marker").await;
    assert_eq!(world.identities(), ["/marker", "/ns/prod/sa/web"]);
    world.api.delete(&path_of_pod("prod", "web"));
    world.api.set_mood_below(PODS, Mood::Answers);
    world.until_identities(&["/marker"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn one_namespace_that_fails_freezes_itself_only() {
    let world = World::start().await;
    world.api.put(super::fixture::namespace("dev", &json!({})));
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    world.api.put(pod("dev", "web"));
    let extra = "cacheNamespaces: {prod: , dev: }";
    let controller = world.controller(extra).await;
    world.until_identities(&["/ns/dev/sa/web", "/ns/prod/sa/web"]).await;
    controller.shutdown().await;
    world.api.set_mood_below("/api/v1/namespaces/dev/pods", Mood::Fails(500));
    let controller = world.controller(extra).await;
    world.api.delete(&path_of_pod("dev", "web"));
    world.api.put(pod("prod", "new"));
    let both = ["/ns/dev/sa/web", "/ns/prod/sa/new", "/ns/prod/sa/web"];
    world.until_identities(&both).await;
    world.api.set_mood_below("/api/v1/namespaces/dev/pods", Mood::Answers);
    world.until_identities(&["/ns/prod/sa/new", "/ns/prod/sa/web"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn a_custom_resource_that_cannot_be_read_keeps_what_it_gave() {
    let (world, controller) = converged("").await;
    let path = format!("{SPIFFE_IDS}/all");
    world.api.change(&path, |object| object["spec"]["dnsNameTemplates"] = json!("no list"));
    let object = world
        .until_object(&path, |object| object["status"]["conditions"][0]["reason"] == "Invalid")
        .await;
    let message = object["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("sequence"), "{message}");
    world.until_settled("marker").await;
    assert_eq!(world.identities(), ["/marker", "/ns/prod/sa/web"]);
    controller.shutdown().await;
}

#[tokio::test]
async fn nodes_that_are_not_listed_take_no_identity_away() {
    let (world, controller) = converged("").await;
    world.api.delete("/api/v1/nodes/n1");
    world.api.compact();
    world.api.cut_watches();
    world.until_asked("GET /api/v1/nodes", 2).await;
    world.until_settled("marker").await;
    assert_eq!(world.identities(), ["/marker", "/ns/prod/sa/web"]);
    controller.shutdown().await;
}

#[tokio::test]
async fn what_happened_while_a_watch_was_gone_is_made_up_for() {
    let (world, controller) = converged("").await;
    world.api.set_mood_below(PODS, Mood::Fails(503));
    world.api.cut_watches();
    world.until_asked("WATCH /api/v1/pods", 3).await;
    world.api.delete(&path_of_pod("prod", "web"));
    world.api.put(pod("prod", "new"));
    // Without its history the API server answers 410, and everything is listed.
    world.api.compact();
    world.api.set_mood_below(PODS, Mood::Answers);
    world.until_identities(&["/ns/prod/sa/new"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn an_api_server_that_goes_away_takes_nothing_with_it() {
    let (mut world, controller) = converged("").await;
    world.api.go_away().await;
    world.api.come_back().await;
    world.api.put(pod("prod", "new"));
    world.until_identities(&["/ns/prod/sa/new", "/ns/prod/sa/web"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn a_server_that_restarts_is_waited_for_and_compared_with() {
    let (mut world, controller) = converged("").await;
    world.stop_server().await;
    world.api.put(pod("prod", "new"));
    world.api.delete(&path_of_pod("prod", "web"));
    world.start_server().await;
    world.until_identities(&["/ns/prod/sa/new"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn pods_that_were_seen_to_go_while_the_server_was_away_are_no_mass_deletion() {
    let (mut world, controller) = converged("gcInterval: 1h").await;
    let names: Vec<String> = (0..60).map(|number| format!("p{number:02}")).collect();
    names.iter().for_each(|name| world.api.put(pod("prod", name)));
    let mut all: Vec<String> = names.iter().map(|name| format!("/ns/prod/sa/{name}")).collect();
    all.push("/ns/prod/sa/web".to_owned());
    world.until_identities(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.stop_server().await;
    names.iter().for_each(|name| world.api.delete(&path_of_pod("prod", name)));
    world.start_server().await;
    world.until_identities(&["/ns/prod/sa/web"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn entries_that_others_delete_are_made_again_by_the_full_pass() {
    let (world, controller) = converged("gcInterval: 50ms").await;
    let store = world.server().store();
    let gone = world.entries()[0].id.clone();
    store.delete_entries(vec![gone.clone()]).await.unwrap();
    world.until_identities(&["/ns/prod/sa/web"]).await;
    assert_ne!(world.entries()[0].id, gone);
    controller.shutdown().await;
}

#[tokio::test]
async fn many_entries_that_nobody_wants_are_held_until_another_pass_or_an_operator_confirms() {
    let world = World::start().await;
    for number in 0..60 {
        world.enter(&format!("c1.{number}"), &format!("/orphan/{number}")).await;
    }
    let controller = world.controller("entryIDPrefix: c1\ngcInterval: 1h").await;
    world.until_settled("marker").await;
    world.until_settled("second").await;
    assert_eq!(world.entries().len(), 62);
    controller.shutdown().await;
    let controller =
        world.controller("entryIDPrefix: c1\ngcInterval: 1h\nallowMassDeletes: true").await;
    world.until_identities(&["/marker", "/second"]).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn a_kind_that_the_cluster_does_not_have_is_done_without() {
    let world = World::start().await;
    world.api.set_mood_below(STATIC_ENTRIES, Mood::Fails(404));
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    let controller = world.controller("").await;
    world.until_identities(&["/ns/prod/sa/web"]).await;
    world.api.set_mood_below(STATIC_ENTRIES, Mood::Answers);
    world.api.put(static_entry("late"));
    within(world.until_identities(&["/late", "/ns/prod/sa/web"])).await;
    controller.shutdown().await;
}
