//! The kubelet's plugin watcher, played by the test: it finds the socket, asks, calls, and answers.

use super::node::{Node, PATIENCE, in_own_mounts, until};
use finial::{
    csi::{Csi, CsiConfig, config::Registration},
    transport::channel,
    wire::proto::{
        csi::v1::{NodeGetInfoRequest, node_client::NodeClient},
        pluginregistration::{
            InfoRequest, PluginInfo, RegistrationStatus, registration_client::RegistrationClient,
        },
    },
};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

fn registering(node: &Node) -> CsiConfig {
    let registration = Registration {
        socket_path: node.path("plugins_registry/csi.spiffe.io-reg.sock"),
        endpoint: node.path("csi.sock").display().to_string(),
    };
    let http = Some("127.0.0.1:0".parse().unwrap());
    CsiConfig { registration: Some(registration), http, ..node.config() }
}

/// Sockets that the kubelet would look at: names with a dot in front are none.
fn plugins(node: &Node) -> Vec<PathBuf> {
    let entries = fs::read_dir(node.path("plugins_registry")).unwrap();
    let names = entries.map(|entry| entry.unwrap().path());
    names.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.')).collect()
}

async fn info(socket: &Path) -> PluginInfo {
    let channel = channel::connect_uds(socket).await.unwrap();
    // The kubelet gives it a second.
    let mut client = RegistrationClient::new(channel);
    let asked = timeout(Duration::from_secs(1), client.get_info(InfoRequest {}));
    asked.await.unwrap().unwrap().into_inner()
}

async fn notify(socket: &Path, error: Option<&str>) {
    let status = RegistrationStatus {
        plugin_registered: error.is_none(),
        error: error.unwrap_or_default().to_owned(),
    };
    let channel = channel::connect_uds(socket).await.unwrap();
    RegistrationClient::new(channel).notify_registration_status(status).await.unwrap();
}

async fn page(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: driver\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|found| found.ino())
}

#[test]
fn a_kubelet_finds_the_driver_calls_it_and_is_asked_for_no_more() {
    in_own_mounts(async || {
        let node = Node::new();
        let driver = Csi::start(registering(&node)).await.unwrap();
        let http = driver.http_addr.unwrap();
        let found = plugins(&node);
        assert_eq!(found, [node.path("plugins_registry/csi.spiffe.io-reg.sock")]);
        let mode = fs::metadata(&found[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let plugin = info(&found[0]).await;
        assert_eq!((plugin.r#type.as_str(), plugin.name.as_str()), ("CSIPlugin", "csi.spiffe.io"));
        assert_eq!(plugin.supported_versions, ["1.0.0"]);
        let channel = channel::connect_uds(Path::new(&plugin.endpoint)).await.unwrap();
        let node_info =
            NodeClient::new(channel).node_get_info(NodeGetInfoRequest {}).await.unwrap();
        assert_eq!(node_info.into_inner().node_id, "node-1");

        let waiting = page(http, "/ready").await;
        assert!(waiting.starts_with("HTTP/1.1 500 "), "{waiting}");
        assert!(page(http, "/live").await.starts_with("HTTP/1.1 200 "));
        notify(&found[0], None).await;
        until("readiness", async || page(http, "/ready").await.starts_with("HTTP/1.1 200 ")).await;
        let metrics = page(http, "/metrics").await;
        let registered = metrics.lines().find(|l| l.starts_with("spiffe_csi_driver_registered"));
        assert!(registered.is_some_and(|line| line.ends_with(" 1")), "{metrics}");
        driver.shutdown().await;
        assert_eq!(plugins(&node), Vec::<PathBuf>::new());
        assert!(!node.path("csi.sock").exists());
    });
}

/// Kubernetes 1.35 asks every 10 s; an older one only after its own restart.
#[test]
fn the_kubelet_is_answered_again_and_again_whatever_the_agent_does() {
    in_own_mounts(async || {
        let node = Node::new();
        let driver = Csi::start(registering(&node)).await.unwrap();
        let socket = plugins(&node).remove(0);
        let before = inode(&socket);
        notify(&socket, None).await;
        fs::remove_dir_all(node.path("sockets")).unwrap();
        for _ in 0..20 {
            assert_eq!(info(&socket).await.name, "csi.spiffe.io");
        }
        notify(&socket, None).await;
        assert_eq!(inode(&socket), before, "the socket stays for the life of the driver");
        driver.shutdown().await;
    });
}

#[test]
fn a_driver_that_was_refused_comes_again_and_serves_meanwhile() {
    in_own_mounts(async || {
        let node = Node::new();
        let driver = Csi::start(registering(&node)).await.unwrap();
        let (socket, http) = (plugins(&node).remove(0), driver.http_addr.unwrap());
        let before = inode(&socket);
        let refused = Instant::now();
        notify(&socket, Some("node \"node-1\" is unknown")).await;
        until("the end of the old socket", async || inode(&socket) != before).await;
        let waiting = page(http, "/ready").await;
        assert!(waiting.contains("refused by the kubelet: node"), "{waiting}");
        let target = node.target("web-0");
        node.kubelet().await.publish(&target).await.unwrap();
        until("another socket", async || inode(&socket).is_some()).await;
        let took = refused.elapsed();
        assert!(took > Duration::from_millis(900) && took < PATIENCE, "{took:?}");
        assert_eq!(info(&socket).await.name, "csi.spiffe.io");
        notify(&socket, None).await;
        until("readiness", async || page(http, "/ready").await.starts_with("HTTP/1.1 200 ")).await;
        driver.shutdown().await;
        assert_eq!(plugins(&node), Vec::<PathBuf>::new());
    });
}

#[test]
fn an_upgrade_takes_both_sockets_over_and_the_old_driver_leaves_them_alone() {
    in_own_mounts(async || {
        let node = Node::new();
        let old = Csi::start(registering(&node)).await.unwrap();
        let sockets = [plugins(&node).remove(0), node.path("csi.sock")];
        let target = node.target("web-0");
        node.kubelet().await.publish(&target).await.unwrap();
        let new = Csi::start(registering(&node)).await.unwrap();
        let taken = sockets.clone().map(|socket| inode(&socket).unwrap());
        old.shutdown().await;
        assert_eq!(sockets.clone().map(|socket| inode(&socket).unwrap()), taken);
        assert_eq!(info(&sockets[0]).await.name, "csi.spiffe.io");
        let kubelet = node.kubelet().await;
        kubelet.publish(&target).await.unwrap();
        assert_eq!(node.mounts(), 1);
        kubelet.unpublish(&target).await.unwrap();
        new.shutdown().await;
    });
}
