//! Pods keep the agent when its pod is replaced, and with it the emptyDir that its sockets were in.

use super::node::{Node, in_own_mounts, until};
use finial::csi::{Csi, CsiConfig};
use rustix::mount::mount_bind;
use std::{
    fs,
    os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// The container of a driver in the agent's pod `uid`, which sees the pod's emptyDir as a mount.
fn container(node: &Node, uid: &str) -> (CsiConfig, PathBuf) {
    let volume = node.path(&format!("pods/{uid}/volumes/kubernetes.io~empty-dir/sockets"));
    let (seen, plugin) = (node.path(&format!("seen-by-{uid}")), node.path("plugins/csi.spiffe.io"));
    for path in [&volume, &seen, &plugin] {
        fs::create_dir_all(path).unwrap();
    }
    mount_bind(&volume, &seen).unwrap();
    let csi_socket_path = plugin.join("csi.sock");
    (CsiConfig { socket_dir: seen, csi_socket_path, ..node.config() }, volume)
}

/// An agent publishes its socket: it listens under another name and renames.
fn publish(volume: &Path) -> UnixListener {
    let listener = UnixListener::bind(volume.join(".new")).unwrap();
    fs::rename(volume.join(".new"), volume.join("socket")).unwrap();
    listener
}

/// Whether a connect to the socket at `path` reaches this listener.
fn reaches(path: &Path, listener: &UnixListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    let _client = UnixStream::connect(path);
    listener.accept().is_ok()
}

#[test]
fn a_pod_keeps_the_agent_whose_pod_and_empty_dir_are_replaced() {
    in_own_mounts(async || {
        let node = Node::new();
        let (config, volume) = container(&node, "first");
        let first = publish(&volume);
        let driver = Csi::start(config.clone()).await.unwrap();
        let kubelet = node.kubelet_at(&config.csi_socket_path).await;
        let target = node.target("workload");
        kubelet.publish(&target).await.unwrap();
        assert!(reaches(&target.join("socket"), &first));

        driver.shutdown().await;
        drop(first);
        fs::remove_dir_all(node.path("pods/first")).unwrap();
        let (config, volume) = container(&node, "second");
        let driver = Csi::start(config).await.unwrap();
        let second = publish(&volume);
        until("the new agent", async || reaches(&target.join("socket"), &second)).await;
        driver.shutdown().await;
    });
}

#[test]
fn an_agents_sockets_are_followed_under_each_of_their_names() {
    in_own_mounts(async || {
        let node = Node::new();
        let (config, volume) = container(&node, "agent");
        let driver = Csi::start(config.clone()).await.unwrap();
        let target = node.target("workload");
        node.kubelet_at(&config.csi_socket_path).await.publish(&target).await.unwrap();
        assert!(!target.join("socket").exists(), "there is no agent yet");

        for restart in 0..3 {
            let agent = publish(&volume);
            let also = volume.join("api.sock");
            drop(fs::remove_file(&also));
            symlink("socket", &also).unwrap();
            for name in ["socket", "api.sock"] {
                let what = format!("{name}, start {restart}");
                until(&what, async || reaches(&target.join(name), &agent)).await;
            }
        }
        assert_eq!(fs::read_dir(&target).unwrap().count(), 2, "nothing else is in there");
        driver.shutdown().await;
    });
}

#[test]
fn a_directory_that_lasts_by_itself_is_mounted_as_it_is() {
    in_own_mounts(async || {
        let node = Node::new();
        let (driver, kubelet) = node.driver().await;
        let target = node.target("workload");
        kubelet.publish(&target).await.unwrap();
        fs::write(node.path("sockets/new"), "").unwrap();
        assert!(target.join("new").exists());
        driver.shutdown().await;
    });
}
