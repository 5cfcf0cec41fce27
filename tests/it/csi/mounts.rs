//! Publish and unpublish: concurrent, repeated, stacked, interrupted, on volumes in every state.

use super::node::{Node, in_own_mounts, mounts_below, refusal};
use finial::transport::alias;
use futures_util::future::{join_all, try_join_all};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount,
};
use std::{
    fs::{self, File},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, symlink},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};
use tonic::Code;

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[test]
fn a_pod_sees_the_agents_socket_whenever_it_is_made_and_unpublish_leaves_nothing() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        assert_eq!(node.mounts(), 1);
        assert!(is_socket(&target.join("socket")));
        let _agent = UnixListener::bind(node.path("sockets/.next")).unwrap();
        fs::rename(node.path("sockets/.next"), node.path("sockets/api.sock")).unwrap();
        assert!(is_socket(&target.join("api.sock")), "an agent that starts later is seen");
        kubelet.unpublish(&target).await.unwrap();
        assert!(!target.exists() && target.parent().unwrap().is_dir());
        assert_eq!(node.mounts(), 0);
        assert!(is_socket(&node.path("sockets/socket")), "the host keeps its own");
    });
}

#[test]
fn a_pod_reaches_the_agent_by_each_of_its_names_through_the_read_only_mount() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        let own = node.path("sockets/spire-agent.sock");
        let _agent = UnixListener::bind(&own).unwrap();
        fs::remove_file(node.path("sockets/socket")).unwrap();
        let names = ["socket", "api.sock"].map(str::to_owned);
        assert!(alias::offer(&own, &names).is_empty());
        for name in ["socket", "api.sock", "spire-agent.sock"] {
            UnixStream::connect(target.join(name)).unwrap();
        }
    });
}

#[test]
fn the_target_is_for_root_and_its_group_only_as_upstreams() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        rustix::mount::unmount(&target, rustix::mount::UnmountFlags::empty()).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o750);
    });
}

#[test]
fn repeats_mount_once_one_after_the_other_and_all_at_once() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        for _ in 0..10 {
            kubelet.publish(&target).await.unwrap();
        }
        assert_eq!(node.mounts(), 1);
        kubelet.unpublish(&target).await.unwrap();
        for _ in 0..20 {
            try_join_all((0..50).map(|_| kubelet.publish(&target))).await.unwrap();
            assert_eq!(node.mounts(), 1);
            try_join_all((0..50).map(|_| kubelet.unpublish(&target))).await.unwrap();
            assert_eq!((node.mounts(), target.exists()), (0, false));
        }
    });
}

#[test]
fn a_hundred_pods_at_once_over_a_connection_each_get_their_volume() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, _kubelet) = node.driver().await;
        let targets: Vec<_> = (0..100).map(|pod| node.target(&format!("web-{pod}"))).collect();
        let call = async |target: &Path| {
            let kubelet = node.kubelet().await;
            kubelet.publish(target).await
        };
        try_join_all(targets.iter().map(|target| call(target))).await.unwrap();
        assert_eq!(node.mounts(), 100);
        assert!(targets.iter().all(|target| is_socket(&target.join("socket"))));
        let kubelet = node.kubelet().await;
        try_join_all(targets.iter().map(|target| kubelet.unpublish(target))).await.unwrap();
        assert_eq!(node.mounts(), 0);
    });
}

#[test]
fn publish_against_unpublish_has_one_winner_and_leaves_nothing_behind() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        let mut losers = 0;
        for _ in 0..200 {
            let both = (0..4).map(async |call| match call % 2 {
                0 => kubelet.publish(&target).await,
                _ => kubelet.unpublish(&target).await,
            });
            for answer in join_all(both).await {
                let code = answer.map_or_else(|status| status.code(), |()| Code::Ok);
                assert!(matches!(code, Code::Ok | Code::Aborted), "{code:?}");
                losers += usize::from(code == Code::Aborted);
            }
            assert!(node.mounts() <= 1);
        }
        assert!(losers > 0, "they never met");
        kubelet.unpublish(&target).await.unwrap();
        assert_eq!((node.mounts(), target.exists()), (0, false));
    });
}

#[test]
fn what_an_interrupted_driver_left_is_used_or_removed() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let [made, mounted] = ["made", "mounted"].map(|pod| node.target(pod));
        fs::create_dir(&made).unwrap();
        fs::create_dir(&mounted).unwrap();
        mount_bind(node.path("sockets"), &mounted).unwrap();
        for target in [&made, &mounted] {
            kubelet.publish(target).await.unwrap();
        }
        assert_eq!(node.mounts(), 2);
        for target in [&made, &mounted] {
            kubelet.unpublish(target).await.unwrap();
        }
        fs::create_dir(&made).unwrap();
        kubelet.unpublish(&made).await.unwrap();
        assert_eq!((node.mounts(), made.exists(), mounted.exists()), (0, false, false));
    });
}

#[test]
fn mounts_that_older_drivers_stacked_are_all_removed() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        fs::create_dir(&target).unwrap();
        for _ in 0..300 {
            mount_bind(node.path("sockets"), &target).unwrap();
        }
        kubelet.publish(&target).await.unwrap();
        assert_eq!(node.mounts(), 300, "a repeat adds none");
        kubelet.unpublish(&target).await.unwrap();
        assert_eq!((node.mounts(), target.exists()), (0, false));
    });
}

#[test]
fn a_volume_in_use_is_unpublished_and_lasts_for_its_user() {
    in_own_mounts(async || {
        let node = Node::new();
        fs::write(node.path("sockets/file"), "held").unwrap();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        let held = File::open(target.join("file")).unwrap();
        kubelet.unpublish(&target).await.unwrap();
        assert_eq!((node.mounts(), target.exists()), (0, false));
        assert_eq!(std::io::read_to_string(held).unwrap(), "held");
    });
}

/// In a container the driver's directory of pods is one end of a shared mount, and the host has the other.
#[test]
fn the_host_gets_what_the_driver_mounts_and_loses_it_even_in_use() {
    in_own_mounts(async || {
        let node = Node::new();
        fs::write(node.path("sockets/file"), "held").unwrap();
        let (pods, host) = (node.path("pods"), node.path("host"));
        fs::create_dir(&host).unwrap();
        mount_bind(&pods, &pods).unwrap();
        mount_change(&pods, MountPropagationFlags::SHARED).unwrap();
        mount_bind(&pods, &host).unwrap();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        let seen = host.join(target.strip_prefix(&pods).unwrap());
        assert!(is_socket(&seen.join("socket")));
        assert_eq!((node.mounts(), mounts_below(&host)), (2, 2), "the volume's and its own");
        let _held = File::open(seen.join("file")).unwrap();
        kubelet.unpublish(&target).await.unwrap();
        assert_eq!((node.mounts(), mounts_below(&host), seen.exists()), (1, 1, false));
    });
}

#[test]
fn unpublish_succeeds_where_nothing_is() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        kubelet.unpublish(&target).await.unwrap();
        fs::remove_dir_all(node.path("pods/web-0")).unwrap();
        kubelet.unpublish(&target).await.unwrap();
        fs::remove_dir(node.path("pods")).unwrap();
        kubelet.unpublish(&target).await.unwrap();
    });
}

#[test]
fn a_mount_of_a_directory_that_was_deleted_is_renewed() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        fs::remove_dir_all(node.path("sockets")).unwrap();
        fs::create_dir(node.path("sockets")).unwrap();
        fs::write(node.path("sockets/new"), "").unwrap();
        assert!(!target.join("new").exists());
        kubelet.publish(&target).await.unwrap();
        assert!(target.join("new").exists());
        assert_eq!(node.mounts(), 1);
    });
}

#[test]
fn what_somebody_else_put_at_the_target_is_left_alone() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        fs::create_dir(node.path("other")).unwrap();

        let foreign = node.target("foreign");
        fs::create_dir(&foreign).unwrap();
        mount_bind(node.path("other"), &foreign).unwrap();
        let (code, text) = refusal(&node, kubelet.publish(&foreign).await);
        assert_eq!(code, Code::Internal);
        assert!(text.contains("another directory is mounted there"), "{text}");
        assert_eq!(node.mounts(), 1);

        let file = node.target("file");
        fs::write(&file, "mine").unwrap();
        assert_eq!(refusal(&node, kubelet.publish(&file).await).0, Code::Internal);
        assert_eq!(refusal(&node, kubelet.unpublish(&file).await).0, Code::Internal);
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");

        let link = node.target("link");
        symlink(node.path("other"), &link).unwrap();
        assert_eq!(refusal(&node, kubelet.publish(&link).await).0, Code::InvalidArgument);
        assert_eq!(refusal(&node, kubelet.unpublish(&link).await).0, Code::InvalidArgument);
        assert!(link.is_symlink() && node.path("other").is_dir());

        let full = node.target("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join("file"), "").unwrap();
        let (code, text) = refusal(&node, kubelet.unpublish(&full).await);
        assert_eq!(code, Code::Internal);
        assert!(text.starts_with("unable to remove target path \"DIR/pods/full/"), "{text}");
        assert!(full.join("file").exists());
    });
}

///
#[test]
fn a_symbolic_link_on_the_way_is_refused_and_the_host_untouched() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let outside = node.path("outside/volumes/kubernetes.io~csi/workload-socket");
        fs::create_dir_all(outside.join("mount")).unwrap();
        for link in ["pod", "pod/volumes", "pod/volumes/kubernetes.io~csi/workload-socket"] {
            fs::remove_dir_all(node.path("pods")).unwrap();
            let (at, to) = (node.path("pods").join(link), node.path("outside"));
            let to = to.join(link.strip_prefix("pod").unwrap().trim_start_matches('/'));
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            symlink(&to, &at).unwrap();
            let target = node.path("pods/pod/volumes/kubernetes.io~csi/workload-socket/mount");
            assert!(target.is_dir(), "the link leads to it");
            for answer in [kubelet.publish(&target).await, kubelet.unpublish(&target).await] {
                let (code, text) = refusal(&node, answer);
                assert_eq!(code, Code::InvalidArgument, "{text}");
                assert!(text.contains("symbolic link"), "{text}");
            }
            assert_eq!(kubelet.condition(&target).await.message, "volume path is not mounted");
            assert_eq!(mounts_below(node.dir.path()), 0);
            assert!(outside.join("mount").is_dir());
        }
    });
}

#[test]
fn a_kubelet_directory_behind_a_link_of_the_operators_is_served() {
    in_own_mounts(async || {
        let node = Node::new();
        fs::rename(node.path("pods"), node.path("big-disk")).unwrap();
        symlink(node.path("big-disk"), node.path("pods")).unwrap();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        assert!(is_socket(&target.join("socket")));
        kubelet.unpublish(&target).await.unwrap();
        assert_eq!(mounts_below(node.dir.path()), 0);
    });
}

#[test]
fn a_publish_that_cannot_be_done_leaves_nothing_half_done() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let target = node.target("web-0");
        mount_bind(node.path("sockets"), node.path("sockets")).unwrap();
        mount_change(node.path("sockets"), MountPropagationFlags::UNBINDABLE).unwrap();
        let (code, text) = refusal(&node, kubelet.publish(&target).await);
        assert_eq!(code, Code::Internal);
        assert!(text.starts_with("unable to mount \"DIR/pods/web-0/"), "{text}");
        assert_eq!((node.mounts(), target.exists()), (0, false));
    });
}

#[test]
fn a_file_system_that_is_full_or_read_only_is_told_in_upstreams_words() {
    in_own_mounts(async || {
        let node = Node::new();
        let (_driver, kubelet) = node.driver().await;
        let pods = node.path("pods");
        let inodes = c"size=1m,nr_inodes=6";
        mount("tmpfs", &pods, "tmpfs", MountFlags::empty(), inodes).unwrap();
        // With the root these are all six.
        let target = node.target("web-0");
        fs::write(pods.join("file"), "").unwrap();
        let (code, text) = refusal(&node, kubelet.publish(&target).await);
        assert_eq!(code, Code::Internal);
        assert!(text.starts_with("unable to create target path \"DIR/pods/web-0/"), "{text}");
        assert!(text.contains("No space left"), "{text}");
        fs::remove_file(pods.join("file")).unwrap();
        mount_remount(&pods, MountFlags::RDONLY, c"").unwrap();
        let (code, text) = refusal(&node, kubelet.publish(&target).await);
        assert_eq!(code, Code::Internal);
        assert!(text.contains("Read-only file system"), "{text}");
    });
}
