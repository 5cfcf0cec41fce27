//! Workloads in pods: told by what the kubelet says of the container that their process is in, through
//! the agent's socket (agent.md §3.3–3.4).

use finial::{
    agent::{
        cache::UpdateKind,
        config::{ContainerSelectors, Executable, K8s, KubeletAddress, NodeName, WorkloadAttestor},
    },
    k8s::tls::{Authentication, Verification},
    runtime::Clock,
    testing::{
        ca::TestCa,
        cgroup::ControlGroup,
        kubelet::{Front, Reply, TestKubelet, pod},
        serving::{Manner, ServedAgent},
    },
};
use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const ID: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
/// Found without asking anybody.
const NODE: &str = "localhost";

struct Node {
    kubelet: TestKubelet,
    agent: ServedAgent,
    _directory: TempDir,
}

impl Node {
    /// An agent that asks a kubelet, and an entry for the pods of one service account.
    async fn start() -> Self {
        let kubelet = TestKubelet::start(Front::Tls(NODE)).await;
        let k8s = WorkloadAttestor::K8s(K8s {
            kubelet: KubeletAddress::Secure {
                port: kubelet.port,
                node_name: NodeName::Given(NODE.to_owned()),
                verification: Verification::Authorities(kubelet.ca_path()),
                authentication: Authentication::Token(kubelet.token_path()),
            },
            max_poll_attempts: 60,
            poll_retry_interval: Duration::from_millis(500),
            container_selectors: ContainerSelectors::Given,
            attest_again_every: Duration::from_millis(20),
        });
        let unix = WorkloadAttestor::Unix { executable: Executable::Ignored };
        let directory = tempfile::tempdir().unwrap();
        let ca = TestCa::new("example.org", Clock::system().now());
        let manner = Manner { attestors: vec![k8s, unix], ..Manner::default() };
        let agent = ServedAgent::start_at(&directory.path().join("socket"), ca, manner).await;
        let till = agent.entry_for("till", &["k8s:ns:shop", "k8s:sa:till", "unix:uid:0"]);
        agent.apply(UpdateKind::Snapshot, vec![till], vec![agent.ca.bundle(1, &[])]);
        agent.sign_due();
        Self { kubelet, agent, _directory: directory }
    }

    /// What a workload in `group` is given.
    async fn fetch_in(&self, group: &ControlGroup) -> Output {
        fetch(&group.procs(), &self.agent.path).await
    }
}

/// Runs `api fetch x509` in the group that `procs` belongs to.
async fn fetch(procs: &Path, socket: &Path) -> Output {
    let fetch = ["agent", "api", "fetch", "x509", "-timeout", "20s", "-socketPath"];
    in_group(procs, &fetch).arg(socket).output().await.unwrap()
}

/// The program in the group that `procs` belongs to.
fn in_group(procs: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
        .arg(procs)
        .arg(env!("CARGO_BIN_EXE_finial"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_workload_in_a_pod_has_the_identity_of_its_service_account() {
    let node = Node::start().await;
    node.kubelet.reply(Reply::Pods(vec![pod(UID, "till-1", ID)]));
    let group = ControlGroup::new(&format!("kubepods/burstable/pod{UID}/{ID}"));
    let fetched = node.fetch_in(&group).await;
    let text = String::from_utf8_lossy(&fetched.stdout);
    assert!(text.contains("spiffe://example.org/till"), "{text}{fetched:?}");
}

#[tokio::test]
async fn a_process_outside_of_all_pods_has_none_of_their_identities() {
    let node = Node::start().await;
    node.kubelet.reply(Reply::Pods(vec![pod(UID, "till-1", ID)]));
    let fetched = node.fetch_in(&ControlGroup::new("system.slice/sshd.service")).await;
    let text = String::from_utf8_lossy(&fetched.stderr);
    assert!(!fetched.status.success() && text.contains("PermissionDenied"), "{text}");
    assert_eq!(node.kubelet.requests(), 0);
}

#[tokio::test]
async fn a_workload_is_answered_as_soon_as_the_kubelet_lists_its_container() {
    let node = Node::start().await;
    let group = ControlGroup::new(&format!("kubepods/pod{UID}/{ID}"));
    let appears = async {
        node.kubelet.asked(2).await;
        node.kubelet.reply(Reply::Pods(vec![pod(UID, "till-1", ID)]));
    };
    let (fetched, ()) = tokio::join!(node.fetch_in(&group), appears);
    assert!(String::from_utf8_lossy(&fetched.stdout).contains("/till"), "{fetched:?}");
}

#[tokio::test]
async fn while_the_kubelet_fails_nobody_is_attested_by_half() {
    let node = Node::start().await;
    node.kubelet.reply(Reply::Status(403, "forbidden"));
    // What the other attestor says alone would do for this entry.
    let half = node.agent.entry_for("half", &["unix:uid:0"]);
    node.agent.apply(UpdateKind::Delta, vec![half], Vec::new());
    node.agent.sign_due();
    let group = ControlGroup::new(&format!("kubepods/pod{UID}/{ID}"));
    let fetched = node.fetch_in(&group).await;
    let text = String::from_utf8_lossy(&fetched.stderr);
    assert!(!fetched.status.success() && text.contains("Unavailable"), "{text}{fetched:?}");
}

#[tokio::test]
async fn a_pod_that_is_labelled_while_it_runs_is_given_what_belongs_to_the_label() {
    let node = Node::start().await;
    node.kubelet.reply(Reply::Pods(vec![pod(UID, "till-1", ID)]));
    let gold = node.agent.entry_for("gold", &["k8s:pod-label:tier:gold"]);
    node.agent.apply(UpdateKind::Delta, vec![gold], Vec::new());
    node.agent.sign_due();
    let group = ControlGroup::new(&format!("kubepods/pod{UID}/{ID}"));
    let mut watching = in_group(&group.procs(), &["agent", "api", "watch", "-socketPath"])
        .arg(&node.agent.path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    let mut until = async |wanted: &str| {
        while let Some(line) = lines.next_line().await.unwrap() {
            said.push(line);
            if said.last().is_some_and(|line| line.contains(wanted)) {
                return;
            }
        }
        panic!("{wanted} was never said: {said:?}");
    };
    let changed = async {
        until("spiffe://example.org/till").await;
        let mut labelled = pod(UID, "till-1", ID);
        labelled["metadata"]["labels"]["tier"] = "gold".into();
        node.kubelet.reply(Reply::Pods(vec![labelled]));
        until("spiffe://example.org/gold").await;
    };
    tokio::time::timeout(Duration::from_secs(20), changed).await.unwrap();
    watching.kill().await.unwrap();
}
