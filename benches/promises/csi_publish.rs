//! A node on which a hundred pods start at once: from the kubelet's call to the mounted volume, each call
//! on a connection of its own. In a mount namespace that is gone afterwards; needs root.

use super::{millis, number};
use crate::{
    harness::{
        machine::{Core, on_core},
        process::Process,
        product::Product,
        row::{Bound, Row},
    },
    load::stats::{median, percentile},
};
use anyhow::ensure;
use finial::{
    transport::channel,
    wire::proto::csi::v1::{
        NodePublishVolumeRequest, NodeUnpublishVolumeRequest, VolumeCapability,
        node_client::NodeClient,
        volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode},
    },
};
use futures_util::future::try_join_all;
use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::{CWD, OFlags, openat},
    mount::{
        MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind,
        mount_change, move_mount, open_tree, unmount,
    },
};
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
use tokio::{
    runtime,
    time::{Instant, sleep},
};
use tonic::transport::Channel;

const PODS: usize = 100;
/// Each with pods of its own.
const ROUNDS: usize = 10;
/// SPECIFICATION: p99 ≤ 20 ms.
const BOUND_MS: f64 = 20.0;
const START_WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    ensure!(rustix::process::geteuid().is_root(), "mounts are needed: run as root");
    // What a thread mounts in a namespace of its own, and what it starts mounts there too, nobody sees.
    thread::scope(|scope| {
        scope.spawn(in_own_mounts).join().unwrap_or_else(|failed| panic::resume_unwind(failed))
    })
}

fn in_own_mounts() -> anyhow::Result<Vec<Row>> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> anyhow::Result<Vec<Row>> {
    let node = Node::new()?;
    let _driver = node.driver().await?;
    let kubelets = try_join_all((0..PODS).map(|_| node.kubelet())).await?;
    let (mut hundreds, mut limits) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (raw, targets) = (node.pods(round * 2)?, node.pods(round * 2 + 1)?);
        limits.push(millis(on_core(Core::Product, || node.mount_all(&raw))?));
        hundreds.push(publish_all(&targets, &kubelets).await?);
    }
    node.unpublish_all(&kubelets).await?;
    // Of each hundred, and then the middle: all of one round are late when a neighbour has the processor.
    let of_each = |percent| -> Vec<f64> {
        hundreds.iter().map(|hundred| millis(percentile(hundred, percent))).collect()
    };
    let at = |percent| median(&of_each(percent));
    let worst = of_each(100.0).into_iter().fold(0.0, f64::max);
    let what = format!("volume published, {PODS} at once");
    Ok(vec![
        Row::new("csi_publish", format!("{what}, p99"), at(99.0), "ms")
            .limit(median(&limits))
            .bound(Bound::AtMost(BOUND_MS))
            .detail("max_ms", worst)
            .detail("rounds", number(hundreds.len())),
        Row::new("csi_publish", format!("{what}, p50"), at(50.0), "ms"),
    ])
}

struct Node {
    dir: TempDir,
    _agent: UnixListener,
}

impl Node {
    fn new() -> anyhow::Result<Self> {
        // In memory: how long a disk's file system takes for a directory depends on what was deleted there
        // in the last seconds.
        let dir = tempfile::Builder::new().prefix("finial-").tempdir_in("/dev/shm")?;
        let sockets = dir.path().join("sockets");
        fs::create_dir(&sockets)?;
        // As in the driver's container. The kernel looks at every mount that lies on the one that it clones,
        // and on this one no volume does.
        mount_bind(&sockets, &sockets)?;
        let _agent = UnixListener::bind(sockets.join("socket"))?;
        Ok(Self { dir, _agent })
    }

    /// The targets of a hundred pods more.
    fn pods(&self, group: usize) -> anyhow::Result<Vec<PathBuf>> {
        let target = |pod| {
            let volume = format!("pods/{group}-{pod}/volumes/kubernetes.io~csi/workload-socket");
            let directory = self.dir.path().join(volume);
            fs::create_dir_all(&directory)?;
            Ok(directory.join("mount"))
        };
        (0..PODS).map(target).collect()
    }

    async fn driver(&self) -> anyhow::Result<Process> {
        let path = |name| self.dir.path().join(name).display().to_string();
        let (sockets, socket) = (path("sockets"), path("csi.sock"));
        let args =
            ["-node-id", "n", "-workload-api-socket-dir", &sockets, "-csi-socket-path", &socket];
        let log = self.dir.path().join("log");
        let mut driver = Process::start(&Product::Finial, "spiffe-csi-driver", &args, &log)?;
        let deadline = Instant::now() + START_WITHIN;
        while self.kubelet().await.is_err() {
            driver.check_alive()?;
            ensure!(Instant::now() < deadline, "the driver does not answer: {}", driver.said());
            sleep(Duration::from_millis(5)).await;
        }
        Ok(driver)
    }

    async fn kubelet(&self) -> anyhow::Result<NodeClient<Channel>> {
        let channel = channel::connect_uds(&self.dir.path().join("csi.sock")).await?;
        Ok(NodeClient::new(channel))
    }

    /// The raw limit: the system calls without which there is no volume, for one pod after the other, as
    /// the kernel's lock has it; the last one waits for all.
    fn mount_all(&self, targets: &[PathBuf]) -> anyhow::Result<Duration> {
        let sockets = self.dir.path().join("sockets");
        let started = Instant::now();
        for target in targets {
            fs::create_dir(target)?;
            attach(&sockets, target)?;
        }
        Ok(started.elapsed())
    }

    /// Removes every volume, those of the raw limit too: to the driver they are its own.
    async fn unpublish_all(&self, kubelets: &[NodeClient<Channel>]) -> anyhow::Result<()> {
        for group in 0..ROUNDS * 2 {
            let targets = self.pods(group)?;
            let unpublished = targets.iter().zip(kubelets).map(|(target, kubelet)| {
                let target_path = target.display().to_string();
                let request = NodeUnpublishVolumeRequest { volume_id: "v".to_owned(), target_path };
                let mut kubelet = kubelet.clone();
                async move { kubelet.node_unpublish_volume(request).await }
            });
            try_join_all(unpublished).await?;
            ensure!(!targets.iter().any(|target| target.exists()), "a volume is left");
        }
        Ok(())
    }
}

impl Drop for Node {
    /// A mount would keep the directory from being removed.
    fn drop(&mut self) {
        if let Err(error) = unmount(self.dir.path().join("sockets"), UnmountFlags::DETACH) {
            eprintln!("{} stays: {error}", self.dir.path().display());
        }
    }
}

/// Publishes every volume at once and looks whether each is there.
async fn publish_all(
    targets: &[PathBuf],
    kubelets: &[NodeClient<Channel>],
) -> anyhow::Result<Vec<Duration>> {
    let published = targets.iter().zip(kubelets).map(|(target, kubelet)| {
        let (request, mut kubelet) = (publish_request(target), kubelet.clone());
        async move {
            let started = Instant::now();
            kubelet.node_publish_volume(request).await?;
            anyhow::Ok(started.elapsed())
        }
    });
    let latencies = try_join_all(published).await?;
    for target in targets {
        ensure!(target.join("socket").exists(), "{} is not mounted", target.display());
    }
    Ok(latencies)
}

fn attach(source: &Path, target: &Path) -> Result<(), rustix::io::Errno> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, source, clone)?;
    let spot = openat(CWD, target, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &spot, "", empty)
}

/// As a kubelet writes it for an inline volume.
fn publish_request(target: &Path) -> NodePublishVolumeRequest {
    let ephemeral = ("csi.storage.k8s.io/ephemeral".to_owned(), "true".to_owned());
    NodePublishVolumeRequest {
        volume_id: "v".to_owned(),
        target_path: target.display().to_string(),
        volume_capability: Some(VolumeCapability {
            access_type: Some(AccessType::Mount(MountVolume::default())),
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
        }),
        readonly: true,
        volume_context: HashMap::from([ephemeral]),
    }
}
