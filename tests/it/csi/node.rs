//! A node for a driver: the kubelet's directories, an agent's socket, a mount namespace.

use finial::{
    csi::{Csi, CsiConfig, RunningCsi},
    transport::channel,
    wire::proto::csi::v1::{
        NodeGetVolumeStatsRequest, NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
        VolumeCapability, VolumeCondition,
        identity_client::IdentityClient,
        node_client::NodeClient,
        volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode},
    },
};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};
use std::{
    collections::HashMap,
    fs,
    os::unix::net::UnixListener,
    panic,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{Code, Status, transport::Channel};

/// Far more than anything here takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what another process does.
const POLL: Duration = Duration::from_millis(5);

/// Runs `work` on a thread with a mount namespace of its own, in which everything it starts lives too:
/// what is mounted there is gone with it, and never seen outside.
pub(crate) fn in_own_mounts<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    assert!(rustix::process::geteuid().is_root(), "mounts are needed: run as root");
    let alone = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    };
    thread::scope(|scope| {
        scope.spawn(alone).join().unwrap_or_else(|failed| panic::resume_unwind(failed))
    })
}

/// The directories of a node; a driver may run in it.
pub(super) struct Node {
    pub(super) dir: TempDir,
    _agent: UnixListener,
}

impl Node {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["pods", "plugins_registry", "sockets"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let _agent = UnixListener::bind(dir.path().join("sockets/socket")).unwrap();
        Self { dir, _agent }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn config(&self) -> CsiConfig {
        CsiConfig {
            node_id: "node-1".to_owned(),
            plugin_name: "csi.spiffe.io".to_owned(),
            csi_socket_path: self.path("csi.sock"),
            socket_dir: self.path("sockets"),
            pods_dir: Some(self.path("pods")),
            node_root: PathBuf::from("/"),
            registration: None,
            http: None,
        }
    }

    pub(super) async fn driver(&self) -> (RunningCsi, Kubelet) {
        let driver = Csi::start(self.config()).await.unwrap();
        (driver, self.kubelet().await)
    }

    /// A kubelet that has found the driver.
    pub(super) async fn kubelet(&self) -> Kubelet {
        self.kubelet_at(&self.path("csi.sock")).await
    }

    /// A kubelet that has found the driver at another path.
    pub(super) async fn kubelet_at(&self, socket: &Path) -> Kubelet {
        Kubelet { channel: channel::connect_uds(socket).await.unwrap() }
    }

    /// Where the kubelet would have the volume of pod `uid`. Makes the directory for it, as it does.
    pub(super) fn target(&self, uid: &str) -> PathBuf {
        let directory = self.path(&format!("pods/{uid}/volumes/kubernetes.io~csi/workload-socket"));
        fs::create_dir_all(&directory).unwrap();
        directory.join("mount")
    }

    /// How many mounts there are below the directory of pods.
    pub(super) fn mounts(&self) -> usize {
        mounts_below(&self.path("pods"))
    }
}

/// Mounts of this namespace at or below `path`, each counted.
pub(super) fn mounts_below(path: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let points = mounts.lines().map(|line| Path::new(line.split(' ').nth(4).unwrap()));
    points.filter(|point| point.starts_with(path)).count()
}

/// The kubelet's side of a driver's socket.
#[derive(Clone)]
pub(super) struct Kubelet {
    channel: Channel,
}

impl Kubelet {
    pub(super) fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.channel.clone())
    }

    pub(super) fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) async fn send(&self, request: NodePublishVolumeRequest) -> Result<(), Status> {
        self.node().node_publish_volume(request).await.map(drop)
    }

    pub(super) async fn publish(&self, target: &Path) -> Result<(), Status> {
        self.send(publish_request(target)).await
    }

    pub(super) async fn unpublish(&self, target: &Path) -> Result<(), Status> {
        let target_path = target.to_str().unwrap().to_owned();
        let request = NodeUnpublishVolumeRequest { volume_id: "csi-1".into(), target_path };
        self.node().node_unpublish_volume(request).await.map(drop)
    }

    pub(super) async fn condition(&self, target: &Path) -> VolumeCondition {
        let volume_path = target.to_str().unwrap().to_owned();
        let request = NodeGetVolumeStatsRequest { volume_id: "csi-1".into(), volume_path };
        let answer = self.node().node_get_volume_stats(request).await.unwrap().into_inner();
        answer.volume_condition.unwrap()
    }
}

/// What the kubelet sends for an inline volume of a driver with `podInfoOnMount`.
pub(super) fn publish_request(target: &Path) -> NodePublishVolumeRequest {
    let context = [
        ("ephemeral", "true"),
        ("pod.name", "web-0"),
        ("pod.namespace", "shop"),
        ("pod.uid", "3c1b"),
        ("serviceAccount.name", "web"),
        ("serviceAccount.tokens", "{\"vault\":{\"token\":\"secret-token\"}}"),
    ];
    let context =
        context.map(|(key, value)| (format!("csi.storage.k8s.io/{key}"), value.to_owned()));
    NodePublishVolumeRequest {
        volume_id: "csi-1".into(),
        target_path: target.to_str().unwrap().to_owned(),
        volume_capability: Some(VolumeCapability {
            access_type: Some(AccessType::Mount(MountVolume::default())),
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
        }),
        readonly: true,
        volume_context: HashMap::from(context),
    }
}

/// A refusal as a code and a text, without the path of the test's directory.
pub(super) fn refusal(node: &Node, answer: Result<(), Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    let directory = node.dir.path().to_str().unwrap();
    (status.code(), status.message().replace(directory, "DIR"))
}

/// Asks again until `is_so`.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} does not come");
        tokio::time::sleep(POLL).await;
    }
}
