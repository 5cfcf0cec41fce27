//! An agent gives its socket to the next one, under load: an upgrade costs no request.

use super::peers;
use finial::{
    dev::mesh::Side,
    runtime::Clock,
    testing::{agent::ServingAgent, ca::TestCa},
    transport::Takeover,
};

#[tokio::test(flavor = "multi_thread")]
async fn envoys_move_to_the_agent_that_takes_the_name_over_and_lose_no_request() {
    let lab = peers::lab().await;
    let ca = TestCa::new("example.org", Clock::system().now());
    let first = ServingAgent::start(&lab.socket(), &ca).await;
    let _entries = lab.register(&first);
    first.rotate(&ca);
    let mut loaded = lab.start_loaded().await;
    loaded.requests(50).await;

    let second = ServingAgent::start_unsynced(&lab.socket(), &ca, Takeover::Replace).await;
    second.trust(ca.bundle(1, &[]));
    let _entries = lab.register(&second);
    second.list();
    first.stop().await;
    assert!(lab.socket().exists(), "the one that leaves takes nothing with it");
    for _rotation in 0..5 {
        let svids = second.rotate(&ca);
        loaded.both_use(&svids).await;
    }
    loaded.requests(50).await;
    loaded.finish_without_loss().await;
    for side in Side::BOTH {
        let stats = loaded.stats(side).await;
        assert_eq!(stats.value("cluster.sds-grpc.upstream_cx_total"), 2, "{side:?}");
    }
    loaded.mesh.stop().await;
}
