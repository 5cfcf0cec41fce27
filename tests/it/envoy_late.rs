//! An Envoy that waits for an identity which nobody has registered yet, and names that are not ours.

use super::peers;
use finial::dev::{
    envoy::Stats,
    mesh::{Mesh, Side},
};
use std::time::Duration;
use tokio::time::Instant;

/// Waits until `side` has `count` open streams.
async fn streams(mesh: &Mesh, side: Side, count: u64) {
    let admin = mesh.envoys.of(side).admin();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let open = match Stats::read(admin).await {
            Ok(stats) => stats.value("cluster.sds-grpc.upstream_rq_active"),
            // Not even its admin interface is there.
            Err(_) => 0,
        };
        if open == count {
            return;
        }
        assert!(Instant::now() < deadline, "{side:?} has {open} streams open, expected {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_waits_is_live_as_soon_as_its_entry_is_there() {
    let lab = peers::lab().await;
    let agent = lab.agent().await;
    let mut mesh = lab.start();
    for side in Side::BOTH {
        streams(&mesh, side, 2).await;
        assert!(!mesh.envoys.of(side).admin().is_ready().await, "{side:?} has no identity yet");
    }
    let registered = Instant::now();
    let _entries = lab.register_signed(&agent);
    mesh.ready(Duration::from_secs(10)).await.unwrap();
    let waited = registered.elapsed();
    // Envoy's own retry would come after 0.5 s at the earliest (istio-envoy.md §13).
    assert!(waited < Duration::from_millis(500), "live {waited:?} after the entry");
    for side in Side::BOTH {
        let stats = Stats::read(mesh.envoys.of(side).admin()).await.unwrap();
        for name in ["default", "ROOTCA"] {
            assert_eq!(stats.value(&format!("sds.{name}.update_failure")), 0, "{side:?} {name}");
        }
        assert_eq!(stats.value("cluster.sds-grpc.upstream_rq_total"), 2, "{side:?}: none reopened");
    }
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_ours_disturbs_no_other_and_is_held() {
    let mut lab = peers::lab().await;
    lab.plan.foreign_names = vec!["file-root:system".to_owned()];
    let agent = lab.agent().await;
    let entries = lab.register_signed(&agent);
    let mut loaded = lab.start_loaded().await;
    for side in Side::BOTH {
        streams(&loaded.mesh, side, 3).await;
    }
    for _rotation in 0..5 {
        loaded.rotate(&agent, &agent.ca, &entries).await;
    }
    loaded.requests(50).await;
    loaded.finish_without_loss().await;
    for side in Side::BOTH {
        let stats = loaded.stats(side).await;
        assert_eq!(stats.value("cluster.sds-grpc.upstream_rq_active"), 3, "{side:?}");
        assert_eq!(stats.value("cluster.sds-grpc.upstream_rq_total"), 3, "{side:?}: none reopened");
        assert_eq!(stats.value("sds.file-root_system.update_success"), 0, "{side:?}");
    }
    loaded.mesh.stop().await;
}
