//! An agent gives its socket to the next one, under load: an upgrade costs no request.

use super::peers;
use finial::{agent::cache::UpdateKind, dev::mesh::Side, transport::Takeover};

#[tokio::test(flavor = "multi_thread")]
async fn envoys_move_to_the_agent_that_takes_the_name_over_and_lose_no_request() {
    let lab = peers::lab().await;
    let first = lab.agent().await;
    let _entries = lab.register_signed(&first);
    let mut loaded = lab.start_loaded().await;
    loaded.requests(50).await;

    let second = lab.unsynced_agent(&lab.socket(), Takeover::Replace).await;
    let entries = lab.register(&second);
    let known = vec![(*entries.client).clone(), (*entries.server).clone()];
    second.apply(UpdateKind::Snapshot, known, vec![first.ca.bundle(1, &[])]);
    first.stop().await;
    assert!(lab.socket().exists(), "the one that leaves takes nothing with it");
    for _rotation in 0..5 {
        loaded.rotate(&second, &first.ca, &entries).await;
    }
    loaded.requests(50).await;
    loaded.finish_without_loss().await;
    for side in Side::BOTH {
        let stats = loaded.stats(side).await;
        assert_eq!(stats.value("cluster.sds-grpc.upstream_cx_total"), 2, "{side:?}");
    }
    loaded.mesh.stop().await;
}
