//! The driver as a container runs it: a process with flags, an environment, a log and signals.

use super::node::{Node, in_own_mounts, publish_request, until};
use finial::wire::proto::csi::v1::NodeGetInfoRequest;
use futures_util::future::{join_all, try_join_all};
use rustix::process::{Pid, Signal, kill_process};
use std::{cell::Cell, fs, os::unix::fs::symlink, process::Stdio};
use tokio::process::{Child, Command};

impl Node {
    /// Starts `spiffe-csi-driver` with the flags of upstream's manifest and `more`.
    fn process(&self, more: &[&str]) -> Child {
        let program = self.path("spiffe-csi-driver");
        if !program.exists() {
            symlink(env!("CARGO_BIN_EXE_finial"), &program).unwrap();
        }
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let flag =
            |name: &str, path: &str| [format!("-{name}"), self.path(path).display().to_string()];
        Command::new(program)
            .args(flag("workload-api-socket-dir", "sockets"))
            .args(["-plugin-name", "csi.spiffe.io"])
            .args(flag("csi-socket-path", "csi.sock"))
            .args(more)
            .env_clear()
            .env("MY_NODE_NAME", "node-7")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn serves(&self) {
        let connects =
            async || std::os::unix::net::UnixStream::connect(self.path("csi.sock")).is_ok();
        until("the driver", connects).await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

/// As in a pod without `hostPID`: the driver is the first process of a PID namespace, and the kubelet outside.
#[test]
fn a_driver_that_does_not_see_the_kubelets_process_answers_it() {
    in_own_mounts(async || {
        let node = Node::new();
        let (program, sockets) = (node.path("spiffe-csi-driver"), node.path("sockets"));
        symlink(env!("CARGO_BIN_EXE_finial"), &program).unwrap();
        let _driver = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child"])
            .arg(program)
            .arg("-workload-api-socket-dir")
            .arg(sockets)
            .arg("-csi-socket-path")
            .arg(node.path("csi.sock"))
            .env("MY_NODE_NAME", "node-7")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        node.serves().await;
        let info = node.kubelet().await.node().node_get_info(NodeGetInfoRequest {}).await.unwrap();
        assert_eq!(info.into_inner().node_id, "node-7");
    });
}

async fn terminate(mut driver: Child) {
    let pid = Pid::from_raw(i32::try_from(driver.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(driver.wait().await.unwrap().success());
}

#[test]
fn sigterm_takes_the_driver_from_the_kubelet_and_no_mount_from_a_pod() {
    in_own_mounts(async || {
        let node = Node::new();
        let registry = node.path("plugins_registry").display().to_string();
        let driver = node.process(&["-plugin-registration-path", &registry]);
        let registration = node.path("plugins_registry/csi.spiffe.io-reg.sock");
        until("the registration socket", async || registration.exists()).await;
        let kubelet = node.kubelet().await;
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        terminate(driver).await;
        assert!(!registration.exists() && !node.path("csi.sock").exists());
        assert!(target.join("socket").exists(), "the pod keeps its socket");
        let driver = node.process(&[]);
        node.serves().await;
        let kubelet = node.kubelet().await;
        kubelet.publish(&target).await.unwrap();
        assert_eq!(node.mounts(), 1);
        kubelet.unpublish(&target).await.unwrap();
        assert_eq!(node.mounts(), 0);
        terminate(driver).await;
    });
}

/// F-35: killed between any two system calls, under load.
#[test]
fn a_driver_killed_in_the_middle_of_publishes_and_unpublishes_leaks_no_mount() {
    in_own_mounts(async || {
        let node = Node::new();
        let targets: Vec<_> = (0..30).map(|pod| node.target(&format!("web-{pod}"))).collect();
        for round in 0..12 {
            let mut driver = node.process(&[]);
            node.serves().await;
            let kubelet = node.kubelet().await;
            let answered = Cell::new(0);
            let calls = targets.iter().map(|target| async {
                while kubelet.publish(target).await.is_ok() {
                    answered.set(answered.get() + 1);
                    if kubelet.unpublish(target).await.is_err() {
                        break;
                    }
                }
            });
            let kill = async {
                until("an answer", async || answered.get() > round * 5).await;
                driver.kill().await.unwrap();
            };
            tokio::join!(join_all(calls), kill);
        }
        let driver = node.process(&[]);
        node.serves().await;
        let kubelet = node.kubelet().await;
        try_join_all(targets.iter().map(|target| kubelet.publish(target))).await.unwrap();
        assert_eq!(node.mounts(), targets.len());
        assert!(targets.iter().all(|target| target.join("socket").exists()));
        try_join_all(targets.iter().map(|target| kubelet.unpublish(target))).await.unwrap();
        assert_eq!(node.mounts(), 0);
        assert!(targets.iter().all(|target| !target.exists()));
        terminate(driver).await;
    });
}

#[test]
fn each_publish_is_told_with_its_pod_and_no_token_ever() {
    in_own_mounts(async || {
        let node = Node::new();
        let driver = node.process(&["-logLevel", "trace"]);
        node.serves().await;
        let kubelet = node.kubelet().await;
        let info = kubelet.node().node_get_info(NodeGetInfoRequest {}).await;
        assert_eq!(info.unwrap().into_inner().node_id, "node-7", "from MY_NODE_NAME");
        let target = node.target("web-0");
        kubelet.publish(&target).await.unwrap();
        let mut refused = publish_request(&target);
        refused.readonly = false;
        kubelet.send(refused).await.unwrap_err();
        terminate(driver).await;
        let log = node.log();
        for event in ["volume published", "volume not published"] {
            let line = log.lines().find(|line| line.contains(event));
            let line = line.unwrap_or_else(|| panic!("no {event:?} in {log}"));
            for part in ["shop", "web-0", "3c1b", "csi-1"] {
                assert!(line.contains(part), "{part} is not in {line}");
            }
        }
        assert!(!log.contains("secret-token"), "{log}");
    });
}

#[test]
fn a_driver_without_a_node_or_a_directory_says_what_is_missing() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_finial"))
            .arg("csi")
            .args(arguments)
            .env_clear()
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let said = |text: &str| (Some(1), format!("Error: {text}\n"));
    assert_eq!(run(&[]), said("node ID is required"));
    let no_directory = said("workload API socket directory is required");
    assert_eq!(run(&["-node-id", "node-1"]), no_directory);
    assert_eq!(run(&["-node-id=node-1", "-workload-api-socket-dir="]), no_directory);
    let (code, text) = run(&["-nonsense"]);
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with("flag provided but not defined: -nonsense\nUsage of csi:\n"),
        "{text}"
    );
}
