//! Two real Envoys talk mTLS while their certificates change under them.

use super::peers;
use finial::dev::{envoy::SdsApi, mesh::Side};

const ROTATIONS: u64 = 50;

async fn every_rotation_is_in_use_at_once_and_no_request_is_lost(envoy: &str, api: SdsApi) {
    let mut lab = peers::lab_of(envoy).await;
    lab.plan.sds_api = api;
    let agent = lab.agent().await;
    let entries = lab.register_signed(&agent);
    let mut loaded = lab.start_loaded().await;
    for _rotation in 0..ROTATIONS {
        loaded.rotate(&agent, &agent.ca, &entries).await;
        loaded.requests(10).await;
    }
    loaded.finish_without_loss().await;
    for side in Side::BOTH {
        // One for each secret at the start, one for each rotation.
        assert_eq!(loaded.context_updates(side).await, 2 + ROTATIONS, "{side:?}");
        let stats = loaded.stats(side).await;
        assert_eq!(stats.value("cluster.sds-grpc.upstream_cx_total"), 1, "one connection, kept");
    }
    loaded.mesh.stop().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_envoy_loses_no_request_over_50_rotations_per_side() {
    every_rotation_is_in_use_at_once_and_no_request_is_lost("FINIAL_ENVOY", SdsApi::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_envoy_loses_no_request_over_50_rotations_per_side() {
    every_rotation_is_in_use_at_once_and_no_request_is_lost("FINIAL_ENVOY_136", SdsApi::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_asks_for_deltas_loses_no_request_over_50_rotations_per_side() {
    every_rotation_is_in_use_at_once_and_no_request_is_lost("FINIAL_ENVOY", SdsApi::DeltaGrpc)
        .await;
}
