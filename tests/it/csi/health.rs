//! What the driver says of itself, and of volumes.

use super::node::{Node, in_own_mounts, refusal};
use finial::{
    csi::Csi,
    wire::proto::csi::v1::{
        GetPluginCapabilitiesRequest, GetPluginInfoRequest, NodeGetCapabilitiesRequest,
        NodeGetInfoRequest, ProbeRequest, node_service_capability,
    },
};
use rustix::mount::mount_bind;
use std::fs;
use tonic::Code;

#[test]
fn the_driver_says_who_it_is_and_what_it_can() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let info = kubelet.identity().get_plugin_info(GetPluginInfoRequest {}).await.unwrap();
        let info = info.into_inner();
        assert_eq!(
            (info.name.as_str(), info.vendor_version.as_str()),
            ("csi.spiffe.io", env!("CARGO_PKG_VERSION"))
        );
        kubelet.identity().get_plugin_capabilities(GetPluginCapabilitiesRequest {}).await.unwrap();
        let info = kubelet.node().node_get_info(NodeGetInfoRequest {}).await.unwrap();
        assert_eq!(info.into_inner().node_id, "node-1");
        let can = kubelet.node().node_get_capabilities(NodeGetCapabilitiesRequest {}).await;
        let can: Vec<i32> = can
            .unwrap()
            .into_inner()
            .capabilities
            .into_iter()
            .map(|capability| {
                let Some(node_service_capability::Type::Rpc(rpc)) = capability.r#type else {
                    panic!("no RPC: {capability:?}")
                };
                rpc.r#type
            })
            .collect();
        // VOLUME_CONDITION and GET_VOLUME_STATS by their numbers in csi.proto.
        assert_eq!(can, [4, 2]);
    });
}

#[test]
fn probe_is_ready_as_long_as_there_is_something_to_mount() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let ready =
            async || kubelet.identity().probe(ProbeRequest {}).await.unwrap().into_inner().ready;
        assert_eq!(ready().await, Some(true));
        fs::rename(node.path("sockets"), node.path("away")).unwrap();
        assert_eq!(ready().await, Some(false));
        fs::rename(node.path("away"), node.path("sockets")).unwrap();
        assert_eq!(ready().await, Some(true));
    });
}

/// In a container the agent's directory is a mount: deleted on the host, it stays deleted there.
#[test]
fn probe_asks_for_a_restart_when_the_directory_was_deleted_under_the_driver() {
    in_own_mounts(async || {
        let node = Node::new();
        let mut config = node.config();
        config.socket_dir = node.path("in-container");
        fs::create_dir(&config.socket_dir).unwrap();
        mount_bind(node.path("sockets"), &config.socket_dir).unwrap();
        let _driver = Csi::start(config).await.unwrap();
        let kubelet = node.kubelet().await;
        fs::remove_dir_all(node.path("sockets")).unwrap();
        fs::create_dir(node.path("sockets")).unwrap();
        let status = kubelet.identity().probe(ProbeRequest {}).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("restart the driver"), "{status:?}");
        let target = node.target("web-0");
        assert_eq!(refusal(&node, kubelet.publish(&target).await).0, Code::Unavailable);
        assert_eq!((node.mounts(), target.exists()), (0, false));
    });
}

#[test]
fn the_condition_of_a_volume_says_why_an_identity_is_missing() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        let condition = async || {
            let condition = kubelet.condition(&target).await;
            (condition.abnormal, condition.message)
        };
        let abnormal = |text: &str| (true, text.to_owned());
        assert_eq!(condition().await, abnormal("volume path is not mounted"));
        kubelet.publish(&target).await.unwrap();
        assert_eq!(condition().await, (false, "mounted".to_owned()));
        fs::remove_file(node.path("sockets/socket")).unwrap();
        let text = "no agent socket in the volume; is the agent of this node running?";
        assert_eq!(condition().await, abnormal(text));
        fs::remove_dir(node.path("sockets")).unwrap();
        let (is_abnormal, text) = condition().await;
        assert!(is_abnormal && text.ends_with("restart the pod"), "{text}");
        kubelet.unpublish(&target).await.unwrap();
        assert_eq!(condition().await, abnormal("volume path is not mounted"));
        let nowhere = kubelet.condition(&node.path("pods/../../etc")).await;
        assert_eq!(nowhere.message, "volume path is not mounted");
    });
}
