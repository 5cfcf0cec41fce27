//! Two real Envoys while the authority that signs for them changes: in the right order nothing is
//! lost, and in the wrong one much is, which proves that the load would notice.

use super::peers;
use finial::{
    agent::cache::UpdateKind, dev::mesh::Side, runtime::Clock, testing::ca::TestCa,
    transport::Takeover,
};

fn authority() -> TestCa {
    TestCa::new("example.org", Clock::system().now())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_authorities_come_and_go_without_a_lost_request() {
    let lab = peers::lab().await;
    let agent = lab.agent().await;
    let entries = lab.register_signed(&agent);
    let mut loaded = lab.start_loaded().await;
    let authorities = [authority(), authority(), authority()];
    let mut active = &agent.ca;
    let mut sequence = 1;
    for prepared in &authorities {
        sequence += 1;
        agent.trust(active.bundle(sequence, &[prepared]));
        agent.served(sequence).await;
        loaded.requests(50).await;
        loaded.rotate(&agent, prepared, &entries).await;
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

/// One agent keeps the right order for both Envoys. So the server Envoy has an agent of its own here,
/// which learns of the new authority too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_before_its_bundle_loses_requests_until_the_bundle_comes() {
    let mut lab = peers::lab().await;
    let (early, new) = (lab.agent().await, authority());
    let late_socket = lab.directory().join("late.sock");
    let late = lab.unsynced_agent(&late_socket, Takeover::Refuse).await;
    lab.plan.sds_sockets.server = late_socket;
    let old = &early.ca;
    late.apply(UpdateKind::Snapshot, Vec::new(), vec![old.bundle(1, &[])]);
    let entries = lab.register_signed(&early);
    late.sign(old, &lab.register(&late).server);
    let loaded = lab.start_loaded().await;
    loaded.requests(50).await;
    assert_eq!(loaded.load.failed(), 0, "{:?}", loaded.load.failures());

    early.trust(old.bundle(2, &[&new]));
    let svid = early.sign(&new, &entries.client);
    loaded.uses(Side::Client, &svid).await;
    loaded.requests(50).await;
    assert!(loaded.load.failed() > 0, "the server Envoy does not know the client's authority");
    let stats = loaded.stats(Side::Server).await;
    assert!(stats.value("listener.mesh.ssl.fail_verify_error") > 0, "{:?}", loaded.load.failures());

    late.trust(old.bundle(2, &[&new]));
    late.served(2).await;
    loaded.no_more_losses().await;
    loaded.assert_full_handshakes().await;
    loaded.mesh.stop().await;
}
