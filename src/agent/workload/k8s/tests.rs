use super::*;
use crate::testing::{
    cgroup::ControlGroup,
    kubelet::{Front, Reply, TestKubelet, pod},
};
use serde_json::json;
use std::{
    fs,
    process::{Child, Command},
    time::Duration,
};

const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const ID: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";

fn attestor(kubelet: &TestKubelet, container_selectors: ContainerSelectors) -> K8sAttestor {
    K8sAttestor::new(&K8s {
        kubelet: KubeletAddress::ReadOnly { port: kubelet.port },
        max_poll_attempts: 3,
        poll_retry_interval: Duration::from_millis(1),
        container_selectors,
        attest_again_every: Duration::from_secs(15),
    })
}

/// A process in a control group such as a container runtime makes. Dropping it ends both.
struct Contained {
    process: Child,
    group: ControlGroup,
}

impl Contained {
    fn new(path: &str) -> Self {
        let group = ControlGroup::new(path);
        let process = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(group.procs(), process.id().to_string()).unwrap();
        Self { process, group }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn texts(selectors: &[Selector]) -> Vec<&str> {
    let mut texts: Vec<_> = selectors.iter().map(Selector::as_str).collect();
    texts.sort_unstable();
    texts
}

#[tokio::test]
async fn a_process_is_told_by_its_pod_and_container() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    kubelet.reply(Reply::Pods(vec![pod("other", "other", "other"), pod(UID, "till-1", ID)]));
    let caller = Contained::new(&format!("kubepods/burstable/pod{UID}/{ID}"));
    let selectors =
        attestor(&kubelet, ContainerSelectors::Given).attest(caller.pid()).await.unwrap();
    assert_eq!(
        texts(&selectors),
        [
            "k8s:container-image:registry.local/till:1",
            "k8s:container-image:registry.local/till@sha256:12",
            "k8s:container-name:main",
            "k8s:node-name:node-1",
            "k8s:ns:shop",
            "k8s:pod-image-count:1",
            "k8s:pod-image:registry.local/till:1",
            "k8s:pod-image:registry.local/till@sha256:12",
            "k8s:pod-init-image-count:0",
            "k8s:pod-label:app:till-1",
            "k8s:pod-name:till-1",
            "k8s:pod-owner-uid:ReplicaSet:o1",
            "k8s:pod-owner:ReplicaSet:rs",
            &format!("k8s:pod-uid:{UID}"),
            "k8s:sa:till",
        ]
    );
}

#[tokio::test]
async fn a_group_that_names_another_pod_below_a_container_changes_nothing() {
    const VICTIM: &str = "00000000-1111-2222-3333-444444444444";
    let victims = ID.replace('9', "0");
    let kubelet = TestKubelet::start(Front::Clear).await;
    kubelet.reply(Reply::Pods(vec![pod(VICTIM, "victim", &victims), pod(UID, "till-1", ID)]));
    let caller = Contained::new(&format!("kubepods/pod{UID}/{ID}"));
    caller.group.enter_below(&format!("pod{VICTIM}/{victims}"), caller.process.id());
    let selectors =
        attestor(&kubelet, ContainerSelectors::Given).attest(caller.pid()).await.unwrap();
    assert!(texts(&selectors).contains(&"k8s:pod-name:till-1"), "{selectors:?}");
}

#[tokio::test]
async fn who_is_in_no_container_has_no_selectors_and_the_kubelet_is_not_asked() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    let caller = Contained::new("user.slice");
    let selectors =
        attestor(&kubelet, ContainerSelectors::Given).attest(caller.pid()).await.unwrap();
    assert_eq!((selectors.len(), kubelet.requests()), (0, 0));
}

#[tokio::test]
async fn a_container_that_is_not_listed_yet_is_waited_for() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    kubelet.reply(Reply::Pods(vec![pod(UID, "till-1", "another")]));
    let caller = Contained::new(&format!("kubepods/pod{UID}/{ID}"));
    let attestor = attestor(&kubelet, ContainerSelectors::Given);
    let appears = async {
        kubelet.asked(1).await;
        kubelet.reply(Reply::Pods(vec![pod(UID, "till-1", ID)]));
    };
    let (attested, ()) = tokio::join!(attestor.attest(caller.pid()), appears);
    assert!(texts(&attested.unwrap()).contains(&"k8s:container-name:main"));
    // For three milliseconds, as configured: the second list is the last.
    kubelet.reply(Reply::Pods(Vec::new()));
    let before = kubelet.requests();
    let error = self::attestor(&kubelet, ContainerSelectors::Given).attest(caller.pid()).await;
    assert!(matches!(error, Err(K8sError::Unlisted { .. })), "{error:?}");
    assert_eq!(kubelet.requests() - before, 2);
}

#[tokio::test]
async fn without_container_selectors_a_pod_is_known_before_its_containers() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    let mut starting = pod(UID, "till-1", ID);
    starting["status"] = json!({"containerStatuses": [{"name": "main", "containerID": ""}]});
    kubelet.reply(Reply::Pods(vec![starting]));
    let caller = Contained::new(&format!("kubepods/pod{UID}/{ID}"));
    let attestor = attestor(&kubelet, ContainerSelectors::Omitted);
    let selectors = attestor.attest(caller.pid()).await.unwrap();
    let texts = texts(&selectors);
    assert!(texts.contains(&"k8s:pod-name:till-1"), "{texts:?}");
    assert!(!texts.iter().any(|text| text.starts_with("k8s:container-")), "{texts:?}");
}

#[tokio::test]
async fn a_container_that_two_pods_claim_is_nobodys() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    kubelet.reply(Reply::Pods(vec![pod(UID, "till-1", ID), pod("u2", "thief", ID)]));
    for path in [format!("kubepods/pod{UID}/{ID}"), format!("crio-{ID}.scope")] {
        let caller = Contained::new(&path);
        let attested = attestor(&kubelet, ContainerSelectors::Given).attest(caller.pid()).await;
        assert!(matches!(attested, Err(K8sError::TwoPods(_))), "{path}: {attested:?}");
    }
}

#[tokio::test]
async fn a_kubelet_that_fails_fails_those_whom_it_has_never_listed() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    let attestor = attestor(&kubelet, ContainerSelectors::Given);
    kubelet.reply(Reply::Pods(vec![pod(UID, "till-1", ID)]));
    let known = Contained::new(&format!("kubepods/pod{UID}/{ID}"));
    let unknown = Contained::new(&format!("kubepods/pod{UID}/{}", ID.replace('9', "0")));
    let before = attestor.attest(known.pid()).await.unwrap();
    kubelet.reply(Reply::Status(503, "restarting"));
    let again = async {
        // The last answer is fresh for a millisecond.
        loop {
            match attestor.attest(unknown.pid()).await {
                Err(K8sError::Kubelet(_)) => break,
                other => assert!(matches!(other, Err(K8sError::Unlisted { .. })), "{other:?}"),
            }
        }
        attestor.attest(known.pid()).await
    };
    let again = tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    assert_eq!(again.unwrap(), before);
}
