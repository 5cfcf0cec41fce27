//! What fails in a cluster, one after the other, while one meshed pod asks another all the time and the server's
//! authority is replaced every other minute: no request is lost, and afterwards the pods that were there before
//! go on being renewed.

use crate::{
    charts,
    cluster::{self, Cluster, tell},
    mesh::{self, load::Load},
    quick_start,
};
use std::{thread, time::Duration};
use tokio::time::Instant;

/// How long the API server is away.
const API_AWAY: Duration = Duration::from_secs(60);

/// How long handshakes may fail when an authority is lost, and with it the old bundle.
const NEW_AUTHORITY: Duration = Duration::from_secs(2);

/// A fault, and how it ends.
type Fault = (&'static str, fn(&Cluster));

const FAULTS: [Fault; 7] = [
    ("the agent's pod is deleted", agent_deleted),
    ("the agent is upgraded", agent_upgraded),
    ("the agent is rolled back", agent_rolled_back),
    ("the server's pod is deleted, its data kept", server_deleted),
    ("the leading controller is killed", leader_killed),
    ("kubelet and containerd are killed and started again", node_restarted),
    ("the API server is away for a minute", api_away),
];

/// An authority that is prepared after half of its life and leads in the last sixth of the one before; and a
/// controller that another one can only follow when its lease has run out.
const SETTINGS: &str =
    "--set spire-server.caTTL=3m --set spire-server.controllerManager.leaderElection.enabled=true";

#[test]
fn no_request_is_lost_whatever_restarts_and_old_pods_go_on_being_renewed() {
    let cluster = Cluster::up(&["istio.tar"]);
    mesh::install_on_charts(&cluster, SETTINGS);
    let (server, client) = (cluster.pod("mesh", "app=server"), cluster.pod("mesh", "app=client"));
    let first_authority = mesh::authority(&cluster, "mesh", &server);
    for (what, happens) in FAULTS {
        let started = Instant::now();
        let load = Load::start(&cluster, &client, &server);
        happens(&cluster);
        tell(what, started);
        let after = [&server, &client].map(|pod| mesh::serial(&cluster, "mesh", pod));
        load.until_renewed(&cluster, &[(&server, &after[0]), (&client, &after[1])]);
        tell("both pods have new certificates", started);
        load.stop(&cluster).assert_faultless();
    }
    for pod in [&server, &client] {
        assert_ne!(mesh::authority(&cluster, "mesh", pod), first_authority, "no CA was rotated");
    }
}

/// The quick start keeps nothing: not the directory of the sockets, and not the authority.
#[test]
fn what_the_quick_start_forgets_costs_no_request_or_at_most_two_seconds() {
    let cluster = Cluster::up(&["istio.tar"]);
    mesh::install(&cluster);
    let (server, client) = (cluster.pod("mesh", "app=server"), cluster.pod("mesh", "app=client"));
    let renewed = |load: &Load| {
        let before = [&server, &client].map(|pod| mesh::serial(&cluster, "mesh", pod));
        load.until_renewed(&cluster, &[(&server, &before[0]), (&client, &before[1])]);
    };

    let load = Load::start(&cluster, &client, &server);
    replaced(&cluster, "spire", "app=spire-agent", "daemonset/spire-agent");
    renewed(&load);
    load.stop(&cluster).assert_faultless();

    let load = Load::start(&cluster, &client, &server);
    let started = Instant::now();
    replaced(&cluster, "spire", "app=spire-server", "deployment/spire-server");
    renewed(&load);
    tell("both pods have certificates of another authority", started);
    let seen = load.stop(&cluster);
    eprintln!(
        "{} requests, {} failed within {:?}",
        seen.answered,
        seen.failed.len(),
        seen.failing_for()
    );
    assert!(seen.failing_for() <= NEW_AUTHORITY, "{:#?}", seen.failed);
}

/// Deletes the pods with a label, and waits for their successors.
fn replaced(cluster: &Cluster, namespace: &str, label: &str, owner: &str) {
    cluster.kubectl(&["delete", "pod", "-n", namespace, "-l", label]);
    cluster.rolled_out(namespace, owner);
}

fn agent_deleted(cluster: &Cluster) {
    let agents = "app.kubernetes.io/name=agent";
    replaced(cluster, "spire-server", agents, "daemonset/spire-agent");
}

fn server_deleted(cluster: &Cluster) {
    let servers = "app.kubernetes.io/name=server";
    replaced(cluster, "spire-server", servers, "statefulset/spire-server");
}

/// There is no other version: another log level replaces the pod just so.
fn agent_upgraded(cluster: &Cluster) {
    charts::upgrade(cluster, &format!("{SETTINGS} --set spire-agent.logLevel=debug"));
    cluster.rolled_out("spire-server", "daemonset/spire-agent");
}

fn agent_rolled_back(cluster: &Cluster) {
    charts::roll_back(cluster);
    cluster.rolled_out("spire-server", "daemonset/spire-agent");
}

/// A pod that is made when nobody leads has its identity from the one who leads next.
fn leader_killed(cluster: &Cluster) {
    cluster.shell("pkill -KILL -f '[s]pire-controller-manager'");
    cluster.apply(quick_start::CLIENT);
    let started = Instant::now();
    cluster::within(Duration::from_secs(60), "an identity from the next leader", || {
        quick_start::fetch(cluster).ok()
    });
    tell("a new pod has its identity from the next leader", started);
    cluster.kubectl(&["delete", "pod", "client"]);
}

fn node_restarted(cluster: &Cluster) {
    cluster.program("stop", &["kubelet", "containerd"]);
    cluster.program("start", &["containerd", "kubelet"]);
    // The node's own word that it is ready is from before.
    for pod in ["deployment/server", "deployment/client"] {
        let exec = ["kubectl", "exec", "-n", "mesh", pod, "-c", "app", "--", "ls", "/"];
        cluster::within(Duration::from_secs(60), "the kubelet", || cluster.run(&exec).ok());
    }
}

fn api_away(cluster: &Cluster) {
    cluster.program("stop", &["kube-apiserver"]);
    // It is the minute that is tested: nothing tells when it is over.
    thread::sleep(API_AWAY);
    cluster.program("start", &["kube-apiserver"]);
    cluster::within(Duration::from_secs(60), "the API server", || {
        cluster.run(&["kubectl", "get", "--raw", "/readyz"]).ok()
    });
}
