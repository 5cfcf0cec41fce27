//! Istio's quick start for SPIRE (`samples/security/spire`), with image names replaced and nothing else.

use crate::{
    cluster::{self, Cluster, Failed, tell, within},
    figures,
    guide::Reader,
    mesh,
};
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;

/// What the quick start calls its images, and what they are called here.
const IMAGES: [(&str, &str); 5] = [
    (
        "ghcr.io/spiffe/spire-server:1.5.4",
        concat!("localhost/spire-server:", env!("CARGO_PKG_VERSION")),
    ),
    (
        "ghcr.io/spiffe/spire-agent:1.5.4",
        concat!("localhost/spire-agent:", env!("CARGO_PKG_VERSION")),
    ),
    (
        "ghcr.io/spiffe/spire-controller-manager:0.2.3",
        concat!("localhost/spire-controller-manager:", env!("CARGO_PKG_VERSION")),
    ),
    (
        "ghcr.io/spiffe/spiffe-csi-driver:0.2.0",
        concat!("localhost/spiffe-csi-driver:", env!("CARGO_PKG_VERSION")),
    ),
    (
        "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.4.0",
        "localhost/csi-node-driver-registrar:1",
    ),
];

/// How soon after its server is back an agent gives new pods their identity.
const WITHIN_SECS_OF_RETURN: f64 = 1.0;

const CLIENT_ID: &str = "spiffe://example.org/ns/default/sa/client";

/// A workload that is told its identity as it changes.
pub(crate) const CLIENT: &str = concat!(
    r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: client}
---
apiVersion: v1
kind: Pod
metadata:
  name: client
  labels: {app: client, spiffe.io/spire-managed-identity: "true"}
spec:
  serviceAccountName: client
  terminationGracePeriodSeconds: 1
  containers:
  - name: client
    image: localhost/spire-agent:"#,
    env!("CARGO_PKG_VERSION"),
    r#"
    command: [/opt/spire/bin/spire-agent, api, watch, -socketPath, /run/secrets/workload-spiffe-uds/socket]
    volumeMounts: [{name: workload-socket, mountPath: /run/secrets/workload-spiffe-uds, readOnly: true}]
  volumes: [{name: workload-socket, csi: {driver: csi.spiffe.io, readOnly: true}}]
"#
);

/// The manifest with our images.
pub(crate) fn manifest() -> String {
    let mut manifest = cluster::istio("spire/spire-quickstart.yaml");
    for (theirs, ours) in IMAGES {
        assert!(manifest.contains(theirs), "the quick start has no image {theirs}");
        manifest = manifest.replace(theirs, ours);
    }
    let foreign =
        manifest.lines().find(|line| line.contains("image: ") && !line.contains("localhost/"));
    assert_eq!(foreign, None, "an image of the quick start was not replaced");
    manifest
}

/// The manifest with folders of the node where the quick start forgets: the server's data with its pod, and
/// the directory of the sockets with the agent's.
pub(crate) fn keeping(manifest: &str) -> String {
    let sockets = "- name: spire-agent-socket-dir\n          emptyDir: {}\n";
    let kept = "- name: spire-agent-socket-dir\n          hostPath: {path: /run/spire/agent-sockets, type: DirectoryOrCreate}\n";
    let socket = "- name: spire-server-socket\n          emptyDir: {}\n";
    let data = "        - name: spire-data\n          hostPath: {path: /run/spire/server-data, type: DirectoryOrCreate}\n";
    let mount = "            - name: spire-server-socket\n              mountPath: /tmp/spire-server/private\n";
    let data_mount = "            - {name: spire-data, mountPath: /run/spire/server/data}\n";
    // The folder is root's.
    let shared = "      shareProcessNamespace: true\n";
    let root = "      securityContext: {runAsUser: 0}\n";
    let mut kept_manifest = manifest.to_owned();
    for (old, new) in [
        (sockets, kept.to_owned()),
        (socket, format!("{socket}{data}")),
        (mount, format!("{data_mount}{mount}")),
        (shared, format!("{shared}{root}")),
    ] {
        assert_eq!(kept_manifest.matches(old).count(), 1, "{old}");
        kept_manifest = kept_manifest.replace(old, &new);
    }
    kept_manifest
}

/// Installs it, and waits as Istio's README says.
pub(crate) fn install(cluster: &Cluster, manifest: &str) {
    let started = Instant::now();
    cluster.apply(manifest);
    cluster.rolled_out("spire", "deployment/spire-server");
    cluster.rolled_out("spire", "daemonset/spire-agent");
    tell("server, agent and CSI driver are ready", started);
}

/// Runs `spire-server` as the guide does.
#[track_caller]
pub(crate) fn server(cluster: &Cluster, arguments: &str) -> String {
    let pod = cluster.pod("spire", "app=spire-server");
    cluster.shell(&format!(
        "kubectl exec -t {pod} -n spire -c spire-server -- ./bin/spire-server {arguments}"
    ))
}

#[test]
fn istios_quick_start_runs_with_only_its_image_names_replaced() {
    let cluster = Cluster::up(&["istio.tar"]);
    install(&cluster, &manifest());
    let mut reader = reader(&cluster);
    reader.plays(include_str!("../fixtures/guides/quick-start.txt"));
    the_bundle_is_published(&cluster);

    a_labelled_pod_has_its_identity(&cluster);
    a_pod_outlives_the_agents_empty_dir(&cluster);
    // A pod can end only while there is a driver, and the guide deletes none of its own.
    cluster.kubectl(&["delete", "deployment/sleep", "pod/client", "--timeout=30s"]);
    cluster.shell("kubectl wait --for=delete pod -l app=sleep --timeout=30s");
    reader.plays(include_str!("../fixtures/guides/cleanup.txt"));
}

/// By hand, as the guide has it for an installation of one's own: one without a controller, which would delete
/// such entries, and with the server's socket where the guide's is.
#[test]
fn entries_made_by_hand_give_gateway_and_sidecar_their_identities() {
    let cluster = Cluster::up(&["istio.tar"]);
    install(&cluster, &without_a_controller(&manifest()));
    reader(&cluster).plays(include_str!("../fixtures/guides/by-hand.txt"));
}

fn reader(cluster: &Cluster) -> Reader<'_> {
    let sleep = cluster::istio("spire/sleep-spire.yaml");
    let image = "docker.io/curlimages/curl:8.16.0";
    assert!(sleep.contains(image), "{sleep}");
    let sleep = sleep.replace(image, "localhost/busybox:1");
    Reader::new(cluster, &[("sleep-spire.yaml", &sleep), ("machine.yaml", mesh::MACHINE)])
}

fn without_a_controller(manifest: &str) -> String {
    let (before, rest) = manifest.split_once("        - name: spire-controller-manager\n").unwrap();
    let (_, after) = rest.split_once("      volumes:\n").unwrap();
    let socket = "mountPath: /tmp/spire-server/private\n";
    let setting = "      bind_port = \"8081\"\n";
    let text = format!("{before}      volumes:\n{after}");
    assert_eq!((text.matches(socket).count(), text.matches(setting).count()), (1, 1), "{text}");
    text.replace(socket, "mountPath: /run/spire/sockets\n").replace(
        setting,
        &format!("{setting}      socket_path = \"/run/spire/sockets/server.sock\"\n"),
    )
}

/// To the agents, which are told to trust it.
fn the_bundle_is_published(cluster: &Cluster) {
    let bundle = server(cluster, "bundle show");
    let published = cluster.kubectl(&[
        "get",
        "configmap",
        "-n",
        "spire",
        "spire-bundle",
        "-o",
        r"jsonpath={.data.bundle\.crt}",
    ]);
    assert_eq!(published.trim(), bundle.replace('\r', "").trim());
}

/// Waits for the agent, for what `agent list` shows of it.
fn attested(cluster: &Cluster) -> String {
    within(Duration::from_secs(10), "the agent attests", || {
        let shown = server(cluster, "agent list");
        shown.starts_with("Found 1 attested agent").then_some(shown)
    })
}

#[test]
fn a_pod_that_is_made_without_a_server_waits_for_it_and_then_has_its_identity() {
    let cluster = Cluster::up(&[]);
    install(&cluster, &keeping(&manifest()));
    attested(&cluster);
    cluster.declare(&cluster::istio("spire/clusterspiffeid.yaml"));
    let scale = ["scale", "-n", "spire", "deployment/spire-server"];
    cluster.kubectl(&[&scale[..], &["--replicas=0"]].concat());
    cluster.shell("kubectl wait -n spire --for=delete pod -l app=spire-server --timeout=60s");

    cluster.apply(CLIENT);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);
    let refused = fetch(&cluster).expect_err("nobody has registered it");
    assert!(refused.text.contains("no identity issued"), "{}", refused.text);

    reached_at(&cluster);
    cluster.kubectl(&[&scale[..], &["--replicas=1"]].concat());
    cluster.rolled_out("spire", "deployment/spire-server");
    let back = Instant::now();
    within(Duration::from_secs(30), "the pod's identity", || {
        fetch(&cluster).ok().filter(|id| id == CLIENT_ID)
    });
    tell("after the server is ready, the pod has its identity", back);
    let served = UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let reached: f64 = cluster.shell("cat $RUN/reached").trim().parse().unwrap();
    let what = "a pod that was made without a server has its identity after the server's return by";
    figures::judge(what, served - reached, WITHIN_SECS_OF_RETURN);
}

/// Writes down, in seconds of the epoch, when the server's address first leads to it. That is up to a second
/// after the server is ready: kube-proxy writes its rules once a second at most.
fn reached_at(cluster: &Cluster) {
    cluster.shell(
        "ip=$(kubectl get service -n spire spire-server -o jsonpath='{.spec.clusterIP}')
        (until timeout 0.1 bash -c \"</dev/tcp/$ip/8081\"; do sleep 0.05; done
        echo $EPOCHREALTIME >$RUN/reached) >/dev/null 2>&1 </dev/null &",
    );
}

/// A pod like any other, which the guide's ClusterSPIFFEID selects.
fn a_labelled_pod_has_its_identity(cluster: &Cluster) {
    let started = Instant::now();
    cluster.apply(CLIENT);
    within(Duration::from_secs(60), "the pod's entry", || {
        let shown = server(cluster, &format!("entry show -spiffeID {CLIENT_ID}"));
        shown.starts_with("Found 1 entry").then_some(())
    });
    tell("a pod is registered", started);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);
    tell("it is ready", started);
    within(Duration::from_secs(10), "the pod's identity", || {
        cluster.kubectl(&["logs", "client"]).contains(CLIENT_ID).then_some(())
    });
    tell("it has its identity", started);
    assert_eq!(fetch(cluster).unwrap(), CLIENT_ID);
    let status = cluster.object(&["clusterspiffeid", "example"]);
    assert_eq!(status["status"]["stats"]["podsSelected"], 3, "{status}");
}

/// The quick start's agent has its sockets in a volume that goes with its pod.
fn a_pod_outlives_the_agents_empty_dir(cluster: &Cluster) {
    let started = Instant::now();
    cluster.kubectl(&["delete", "pod", "-n", "spire", "-l", "app=spire-agent"]);
    cluster.rolled_out("spire", "daemonset/spire-agent");
    within(Duration::from_secs(30), "the new agent, for a pod that was there before", || {
        fetch(cluster).ok().filter(|id| id == CLIENT_ID)
    });
    tell("a pod has another agent", started);
}

/// The identity that the client's pod is given, by the command of SPIRE's guide.
pub(crate) fn fetch(cluster: &Cluster) -> Result<String, Failed> {
    let command = "kubectl exec client -- /opt/spire/bin/spire-agent api fetch x509 \
        -socketPath /run/secrets/workload-spiffe-uds/socket";
    let words: Vec<&str> = command.split_whitespace().collect();
    cluster.run(&words).map(|fetched| line(&fetched, "SPIFFE ID").to_owned())
}

/// What a line of SPIRE's output says of `key`.
#[track_caller]
fn line<'a>(text: &'a str, key: &str) -> &'a str {
    let mut values = text.lines().filter_map(|line| line.split_once(':'));
    let found = values.find(|(name, _)| name.trim() == key);
    found.unwrap_or_else(|| panic!("no {key} in {text}")).1.trim()
}
