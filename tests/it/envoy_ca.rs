//! Two real Envoys while the authority that signs for them changes: in the right order nothing is
//! lost, and in the wrong one much is, which proves that the load would notice.

use super::peers;
use finial::{
    dev::mesh::Side,
    runtime::Clock,
    testing::{agent::ServingAgent, ca::TestCa},
};

fn authority() -> TestCa {
    TestCa::new("example.org", Clock::system().now())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_authorities_come_and_go_without_a_lost_request() {
    let lab = peers::lab().await;
    let mut active = authority();
    let agent = ServingAgent::start(&lab.socket(), &active).await;
    let _entries = lab.register(&agent);
    agent.rotate(&active);
    let mut loaded = lab.start_loaded().await;
    let mut sequence = 1;
    for _rotation in 0..3 {
        let prepared = authority();
        sequence += 1;
        agent.trust(active.bundle(sequence, &[&prepared]));
        agent.served(sequence).await;
        loaded.requests(50).await;
        let svids = agent.rotate(&prepared);
        loaded.both_use(&svids).await;
        loaded.requests(50).await;
        sequence += 1;
        agent.trust(prepared.bundle(sequence, &[]));
        agent.served(sequence).await;
        loaded.requests(50).await;
        active = prepared;
    }
    loaded.finish_without_loss().await;
    loaded.mesh.stop().await;
    agent.stop().await;
}

/// Both Envoys get their secrets from one agent, which keeps the right order. So the server Envoy is
/// given to an agent of its own here, which learns of the new authority too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_before_its_bundle_loses_requests_until_the_bundle_comes() {
    let mut lab = peers::lab().await;
    let (old, new) = (authority(), authority());
    let early = ServingAgent::start(&lab.socket(), &old).await;
    let late_socket = lab.directory().join("late.sock");
    let late = ServingAgent::start(&late_socket, &old).await;
    lab.plan.sds_sockets.server = late_socket;
    let _entries = (lab.register(&early), lab.register(&late));
    early.rotate(&old);
    late.rotate(&old);
    let loaded = lab.start_loaded().await;
    loaded.requests(50).await;
    assert_eq!(loaded.load.failed(), 0, "{:?}", loaded.load.failures());

    early.trust(old.bundle(2, &[&new]));
    let svids = early.rotate(&new);
    loaded.uses(Side::Client, &svids[0]).await;
    loaded.requests(50).await;
    let lost = loaded.load.failed();
    assert!(lost > 0, "the server Envoy does not know the client's authority");
    let stats = loaded.stats(Side::Server).await;
    assert!(stats.value("listener.mesh.ssl.fail_verify_error") > 0, "{:?}", loaded.load.failures());

    late.trust(old.bundle(2, &[&new]));
    late.served(2).await;
    // Those under way meanwhile may still fail.
    loaded.requests(20).await;
    let lost = loaded.load.failed();
    loaded.requests(100).await;
    assert_eq!(loaded.load.failed(), lost, "the bundle came: {:#?}", loaded.load.failures());
    loaded.load.stop().await;
    loaded.assert_full_handshakes().await;
    loaded.mesh.stop().await;
}
