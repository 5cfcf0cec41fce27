//! `finial doctor` in a cluster: the command as an operator runs it, on an API server on loopback. What it
//! finds of each kind is in `doctor::cluster`.

use crate::cli::{programs::Programs, transcript::Outcome};
use finial::testing::apiserver::{ApiServer, Mood};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tempfile::TempDir;
use tokio::time::timeout;

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn doctor(kubeconfig: &Path, more: &[&str]) -> Outcome {
    let kubeconfig = kubeconfig.display().to_string();
    let arguments = [&["doctor", "-kubeconfig", &kubeconfig], more].concat();
    timeout(PATIENCE, Programs::new().run("finial", &arguments, b"")).await.unwrap()
}

/// A cluster with one node, its agent and its driver, and without Istio.
async fn cluster() -> (ApiServer, TempDir) {
    let (api, directory) = (ApiServer::start().await, TempDir::new().unwrap());
    for object in [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}}),
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "csi.spiffe.io"}}),
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "one"},
            "spec": {"drivers": [{"name": "csi.spiffe.io"}]}}),
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "spire-agent", "namespace": "spire"},
            "spec": {"template": {"spec": {"containers": [{"name": "spire-agent"}]}}},
            "status": {"desiredNumberScheduled": 1, "numberReady": 1}}),
    ] {
        api.put(object);
    }
    (api, directory)
}

#[tokio::test]
async fn a_cluster_without_a_problem_ends_well_and_one_with_a_problem_does_not() {
    let (api, directory) = cluster().await;
    let kubeconfig = api.kubeconfig(directory.path());
    let well = doctor(&kubeconfig, &[]).await;
    assert_eq!(well.exit, 0, "{well:?}");
    assert_eq!(
        well.stdout,
        "well: 1 of 1 agents are ready\n\
         well: no StatefulSet or Deployment has a container spire-server: the server is elsewhere\n\
         well: csi.spiffe.io is registered on 1 nodes\n\
         well: Istio has no mesh in the namespace istio-system\n\
         well: there is no ClusterSPIFFEID: only entries made by hand give identities\n"
    );
    let agents = "/apis/apps/v1/namespaces/spire/daemonsets/spire-agent";
    api.change(agents, |agents| agents["status"]["numberReady"] = json!(0));
    let ill = doctor(&kubeconfig, &[]).await;
    assert_eq!(ill.exit, 1, "{ill:?}");
    let wanted = "problem: 0 of 1 agents are ready\n  next: kubectl describe daemonset spire-agent -n spire\n";
    assert!(ill.stdout.starts_with(wanted), "{ill:?}");
    assert_eq!(ill.stderr, "");
}

#[tokio::test]
async fn what_may_not_be_read_is_an_unknown_in_the_json_and_no_success() {
    let (api, directory) = cluster().await;
    api.set_mood_below("/api/v1/nodes", Mood::Fails(403));
    let kubeconfig = api.kubeconfig(directory.path());
    let outcome = doctor(&kubeconfig, &["-output", "json"]).await;
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let unknown: Vec<_> = findings.iter().filter(|of| of["level"] == "unknown").collect();
    assert_eq!(unknown.len(), 1, "{report}");
    assert_eq!(unknown[0]["next"], "kubectl auth can-i list nodes");
    assert_eq!(outcome.exit, 1, "{outcome:?}");
}

#[tokio::test]
async fn an_api_server_that_is_away_and_a_cluster_that_nobody_named_are_told_apart() {
    let (mut api, directory) = cluster().await;
    let kubeconfig = api.kubeconfig(directory.path());
    api.go_away().await;
    let away = doctor(&kubeconfig, &[]).await;
    assert!(
        away.exit == 1 && away.stderr.contains("the Kubernetes API does not answer"),
        "{away:?}"
    );
    let none = timeout(PATIENCE, Programs::new().run("finial", &["doctor"], b"")).await.unwrap();
    let wanted = "no cluster is known: set KUBECONFIG or give -kubeconfig";
    assert!(none.exit == 1 && none.stderr.contains(wanted), "{none:?}");
}
