//! Istio's probe and a node full of sidecars, beside two real Envoys under load.

use super::peers;
use finial::testing::{
    grpc,
    sds::{FirstMessage, SdsClient, SdsStream},
};
use futures_util::future;
use std::{path::Path, time::Duration};

/// What pilot-agent gives the socket before it removes it (istio-envoy.md §1).
const PROBE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_of_an_istio_proxy_is_answered_in_time_under_load() {
    let lab = peers::lab().await;
    let agent = lab.agent().await;
    let entries = lab.register_signed(&agent);
    let mut loaded = lab.start_loaded().await;
    for _rotation in 0..20 {
        let probes = future::join_all((0..20).map(|_| grpc::settings_latency(&agent.path))).await;
        let slowest = probes.into_iter().map(Result::unwrap).max().unwrap();
        assert!(slowest < PROBE, "SETTINGS after {slowest:?}");
        loaded.rotate(&agent, &agent.ca, &entries).await;
    }
    loaded.finish_without_loss().await;
    loaded.mesh.stop().await;
}

/// Connects as an Envoy of its own, with both of its streams.
async fn sidecar(path: &Path) -> (SdsClient, [SdsStream; 2]) {
    let client = SdsClient::connect(path).await.unwrap();
    let client = client.with_first_message(FirstMessage::EnvoySized);
    let mut streams =
        [client.stream(&["default"]).await.unwrap(), client.stream(&["ROOTCA"]).await.unwrap()];
    for stream in &mut streams {
        assert_eq!(stream.accept().await.unwrap().secrets.len(), 1);
    }
    (client, streams)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_and_fifty_sidecars_reconnect_at_once_and_disturb_no_envoy() {
    let lab = peers::lab().await;
    let agent = lab.agent().await;
    let own = format!("unix:path:{}", std::env::current_exe().unwrap().display());
    agent.register("ns/default/sa/crowd", &[&own]);
    let entries = lab.register_signed(&agent);
    let mut loaded = lab.start_loaded().await;
    for _round in 0..2 {
        let crowd = future::join_all((0..250).map(|_| sidecar(&agent.path)));
        let crowd = tokio::time::timeout(Duration::from_secs(60), crowd).await.unwrap();
        loaded.rotate(&agent, &agent.ca, &entries).await;
        crowd.iter().for_each(|(client, _)| client.hang_up());
    }
    loaded.finish_without_loss().await;
    loaded.mesh.stop().await;
}
