//! Requests that no volume can come of: upstream's codes and texts, and nothing done.

use super::node::{Kubelet, Node, in_own_mounts, publish_request, refusal};
use finial::wire::proto::csi::v1::{
    NodeGetInfoRequest, NodeGetInfoResponse, NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
    volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume, access_mode::Mode},
};
use http::uri::PathAndQuery;
use std::{fs, path::Path};
use tonic::{Code, Request, client::Grpc};
use tonic_prost::ProstCodec;

type Change = fn(&mut NodePublishVolumeRequest);

const REFUSED: [(&str, Change); 12] = [
    ("request missing required volume id", |r| r.volume_id.clear()),
    ("request missing required target path", |r| r.target_path.clear()),
    ("request missing required volume capability", |r| r.volume_capability = None),
    ("request missing required volume capability access type", |r| {
        r.volume_capability.as_mut().unwrap().access_type = None;
    }),
    ("request volume capability access type must be a simple mount", |r| {
        let block = AccessType::Block(BlockVolume {});
        r.volume_capability.as_mut().unwrap().access_type = Some(block);
    }),
    ("request volume capability access type must be a simple mount", |r| {
        let mount = MountVolume { fs_type: "ext4".into(), ..MountVolume::default() };
        r.volume_capability.as_mut().unwrap().access_type = Some(AccessType::Mount(mount));
    }),
    ("request volume capability access type must be a simple mount", |r| {
        let mount = MountVolume { mount_flags: vec!["rw".into()], ..MountVolume::default() };
        r.volume_capability.as_mut().unwrap().access_type = Some(AccessType::Mount(mount));
    }),
    ("request missing required volume capability access mode", |r| {
        r.volume_capability.as_mut().unwrap().access_mode = None;
    }),
    ("request volume capability access mode is not valid", |r| {
        let mode = AccessMode { mode: Mode::SingleNodeReaderOnly.into() };
        r.volume_capability.as_mut().unwrap().access_mode = Some(mode);
    }),
    ("pod.spec.volumes[].csi.readOnly must be set to 'true'", |r| r.readonly = false),
    ("only ephemeral volumes are supported", |r| r.volume_context.clear()),
    ("only ephemeral volumes are supported", |r| {
        r.volume_context.insert("csi.storage.k8s.io/ephemeral".into(), "yes".into());
    }),
];

#[test]
fn each_missing_or_wrong_part_is_refused_in_upstreams_words() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        for (text, change) in REFUSED {
            let mut request = publish_request(&target);
            change(&mut request);
            let refused = refusal(&node, kubelet.send(request).await);
            assert_eq!(refused, (Code::InvalidArgument, text.to_owned()));
            assert!(!target.exists());
        }
        for (volume_id, target_path, text) in [
            ("", "/t", "request missing required volume id"),
            ("csi-1", "", "request missing required target path"),
        ] {
            let request = NodeUnpublishVolumeRequest {
                volume_id: volume_id.into(),
                target_path: target_path.into(),
            };
            let answer = kubelet.node().node_unpublish_volume(request).await.map(drop);
            assert_eq!(refusal(&node, answer), (Code::InvalidArgument, text.to_owned()));
        }
        kubelet.publish(&target).await.unwrap();
    });
}

#[test]
fn targets_that_no_kubelet_would_choose_are_refused_both_ways() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let good = node.target("web-0").display().to_string();
        fs::create_dir_all(node.path("elsewhere/pods")).unwrap();
        let long = "x".repeat(5_000);
        let long_name = "x".repeat(300);
        for bad in [
            "mount",
            "/etc",
            &node.path("sockets").display().to_string(),
            &good.replace("/web-0/", "/../pods/web-0/"),
            &good.replace("/pods/", "/elsewhere/pods/"),
            &good.replace("~csi", "~secret"),
            &good.replace("web-0", "web\0"),
            &good.replace("web-0", &long),
        ] {
            refused(&node, &kubelet, bad, Code::InvalidArgument).await;
        }
        // A name that no file system takes.
        refused(&node, &kubelet, &good.replace("web-0", &long_name), Code::Internal).await;
        assert_eq!(node.mounts(), 0);
        assert!(Path::new("/etc/passwd").exists() && node.path("sockets/socket").exists());
    });
}

async fn refused(node: &Node, kubelet: &Kubelet, target: &str, code: Code) {
    let target = Path::new(target);
    for answer in [kubelet.publish(target).await, kubelet.unpublish(target).await] {
        let (refused, text) = refusal(node, answer);
        assert_eq!(refused, code, "{text}");
        assert!(text.len() < 2_500, "the whole path is sent back");
    }
}

#[test]
fn without_a_directory_to_mount_the_kubelet_is_told_to_come_again() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        fs::rename(node.path("sockets"), node.path("away")).unwrap();
        let (code, text) = refusal(&node, kubelet.publish(&target).await);
        assert_eq!(code, Code::Unavailable);
        assert!(text.contains("DIR/sockets does not exist"), "{text}");
        assert_eq!((node.mounts(), target.exists()), (0, false));
        fs::rename(node.path("away"), node.path("sockets")).unwrap();
        kubelet.publish(&target).await.unwrap();
    });
}

#[test]
fn calls_that_a_driver_of_ephemeral_volumes_does_not_have_are_unimplemented() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        for path in [
            "/csi.v1.Node/NodeStageVolume",
            "/csi.v1.Node/NodeExpandVolume",
            "/csi.v1.Controller/CreateVolume",
        ] {
            let mut client = Grpc::new(kubelet.channel());
            client.ready().await.unwrap();
            let codec = ProstCodec::<NodeGetInfoRequest, NodeGetInfoResponse>::default();
            let request = Request::new(NodeGetInfoRequest {});
            let answer = client.unary(request, PathAndQuery::from_static(path), codec).await;
            assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "{path}");
        }
    });
}
