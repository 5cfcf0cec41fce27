//! What fails in a cluster, one after the other, while one meshed pod asks another all the time: no request is
//! lost, and afterwards the pods that were there before go on being renewed.

use crate::{
    cluster::{self, Cluster, tell},
    mesh::{self, load::Load},
};
use std::{thread, time::Duration};
use tokio::time::Instant;

/// How long the API server is away.
const API_AWAY: Duration = Duration::from_secs(60);

/// How long handshakes may fail when an authority is lost, and with it the old bundle.
const NEW_AUTHORITY: Duration = Duration::from_secs(2);

/// A fault, and how it ends.
type Fault = (&'static str, fn(&Cluster));

const FAULTS: [Fault; 4] = [
    ("the agent's pod is deleted", agent_deleted),
    ("the server's pod is deleted, its data kept", server_deleted),
    ("kubelet and containerd are killed and started again", node_restarted),
    ("the API server is away for a minute", api_away),
];

#[test]
fn no_request_is_lost_whatever_restarts_and_old_pods_go_on_being_renewed() {
    let cluster = Cluster::up(&["istio.tar"]);
    mesh::install_with_what_the_charts_keep(&cluster);
    let (server, client) = (cluster.pod("mesh", "app=server"), cluster.pod("mesh", "app=client"));
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
    agent_deleted(&cluster);
    renewed(&load);
    load.stop(&cluster).assert_faultless();

    let load = Load::start(&cluster, &client, &server);
    let started = Instant::now();
    server_deleted(&cluster);
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

fn agent_deleted(cluster: &Cluster) {
    cluster.kubectl(&["delete", "pod", "-n", "spire", "-l", "app=spire-agent"]);
    cluster.rolled_out("spire", "daemonset/spire-agent");
}

fn server_deleted(cluster: &Cluster) {
    cluster.kubectl(&["delete", "pod", "-n", "spire", "-l", "app=spire-server"]);
    cluster.rolled_out("spire", "deployment/spire-server");
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
