//! Server and agent as processes that are killed, stopped and started again under two real Envoys and
//! their load: no request is lost, and rotations go on.

use super::{field::Field, peers};
use finial::{dev::mesh::Side, testing::envoy::LoadedMesh};

/// Two Envoys under load, served by a real agent that joined a real server.
async fn field() -> (Field, LoadedMesh) {
    let field = Field::start(peers::lab().await).await;
    let loaded = field.lab.start_loaded().await;
    loaded.requests(50).await;
    (field, loaded)
}

/// What every test here ends with.
async fn assert_rotations_go_on(field: &Field, mut loaded: LoadedMesh) {
    field.rotate(&loaded).await;
    loaded.requests(50).await;
    loaded.finish_without_loss().await;
    loaded.mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_under_load_comes_back_without_a_lost_request() {
    let (mut field, loaded) = field().await;
    field.kill_agent().await;
    loaded.requests(100).await;
    field.start_agent();
    field.reconnected(&loaded, 2).await;
    assert_rotations_go_on(&field, loaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_load_comes_back_without_a_lost_request() {
    let (mut field, loaded) = field().await;
    field.kill_server().await;
    loaded.requests(100).await;
    field.start_server().await;
    for side in Side::BOTH {
        let opened = loaded.stats(side).await.value("cluster.sds-grpc.upstream_rq_total");
        assert_eq!(opened, 2, "the agent stayed, and so did its streams");
    }
    assert_rotations_go_on(&field, loaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_back_before_its_server_serves_what_it_knew() {
    let (mut field, loaded) = field().await;
    field.kill_server().await;
    field.kill_agent().await;
    loaded.requests(100).await;
    field.start_agent();
    // Both secrets of both sides, from what the killed process left in memory.
    field.reconnected(&loaded, 2).await;
    loaded.requests(50).await;
    field.start_server().await;
    assert_rotations_go_on(&field, loaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_upgraded_under_load_takes_the_socket_over_without_a_lost_request() {
    let (mut field, loaded) = field().await;
    for upgrade in 1..=2 {
        field.replace_agent().await;
        field.reconnected(&loaded, upgrade + 1).await;
        loaded.requests(50).await;
    }
    assert_rotations_go_on(&field, loaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stands_still_costs_nothing_but_rotations() {
    let (field, loaded) = field().await;
    field.pause_agent();
    loaded.requests(200).await;
    field.resume_agent();
    assert_rotations_go_on(&field, loaded).await;
}
