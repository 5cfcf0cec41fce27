//! The charts, installed by the commands of `charts/README.md` with the values of the guide for Istio and SPIRE.

use crate::{
    cluster::{self, Cluster, tell, within},
    guide::Reader,
    mesh,
    quick_start::{CLIENT, fetch},
};
use std::time::Duration;
use tokio::time::Instant;

/// The guide's trust domain.
pub(crate) const CLIENT_ID: &str = "spiffe://foo.com/ns/default/sa/client";

/// What is owed to the cluster: images that are there.
pub(crate) const IMAGE: &str = "--set image.registry=localhost --set image.repository=finial";

/// And no storage class.
pub(crate) const STORAGE: &str = "--set spire-server.persistence.type=hostPath \
    --set spire-server.persistence.hostPath=/run/spire-data";

#[test]
fn helm_installs_the_charts_with_the_guides_values_and_pods_have_their_identity() {
    let cluster = Cluster::up(&[]);
    let started = Instant::now();
    install_on_disk(&cluster, "");
    tell("the charts are installed", started);
    tested(&cluster);

    cluster.declare(&cluster::istio("spire/clusterspiffeid.yaml"));
    cluster.apply(CLIENT);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);
    within(Duration::from_secs(20), "the pod's identity", || {
        fetch(&cluster).ok().filter(|id| id == CLIENT_ID)
    });
    let shown = cluster.shell(
        "kubectl exec -n spire-server spire-server-0 -c spire-server -- spire-server entry show",
    );
    assert!(shown.contains(CLIENT_ID), "{shown}");
    the_doctor_finds_nothing_wrong(&cluster);
    cluster.kubectl(&["delete", "pod", "client", "--timeout=30s"]);
    cluster.shell(&format!("{} uninstall spire -n spire-server --wait", helm()));
}

/// The whole guide for Istio and SPIRE with Helm, whose output is compared.
#[test]
fn the_guide_for_helm_and_istio_prints_what_it_shows() {
    let cluster = Cluster::up(&["istio.tar"]);
    cluster.shell("mkdir /run/spire-data && chown 1000:1000 /run/spire-data");
    let files = [
        ("spire-values-foo-cluster.yaml", include_str!("../fixtures/charts/guide.yaml")),
        ("workloads.yaml", include_str!("../fixtures/guides/workloads.yaml")),
        ("machine.yaml", mesh::MACHINE),
    ];
    Reader::new(&cluster, &files).plays(include_str!("../fixtures/guides/helm.txt"));
}

/// Installs them with the server's data in a folder of the node, and these settings beside the guide's.
pub(crate) fn install_on_disk(cluster: &Cluster, settings: &str) {
    cluster.shell("mkdir /run/spire-data && chown 1000:1000 /run/spire-data");
    install(cluster, &format!("{STORAGE} {settings}"));
}

/// Installs them by the guide's commands, with these settings beside the guide's, and waits for every program.
pub(crate) fn install(cluster: &Cluster, settings: &str) {
    let (helm, root) = (helm(), env!("CARGO_MANIFEST_DIR"));
    for command in [
        format!(
            "{helm} install spire-crds {root}/charts/spire-crds -n spire-server --create-namespace"
        ),
        format!("{helm} install spire {}", release(settings)),
        "kubectl rollout status statefulset spire-server -n spire-server --timeout=120s".to_owned(),
        "kubectl rollout status daemonset spire-agent -n spire-server --timeout=120s".to_owned(),
        "kubectl rollout status daemonset spire-spiffe-csi-driver -n spire-server --timeout=120s"
            .to_owned(),
    ] {
        cluster.shell(&command);
    }
}

/// Upgrades that release to these settings, beside the guide's.
pub(crate) fn upgrade(cluster: &Cluster, settings: &str) {
    let settings = format!("{STORAGE} {settings}");
    cluster.shell(&format!("{} upgrade spire {}", helm(), release(&settings)));
}

/// Takes the last upgrade back.
pub(crate) fn roll_back(cluster: &Cluster) {
    cluster.shell(&format!("{} rollback spire -n spire-server", helm()));
}

fn release(settings: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let values = format!("{root}/tests/fixtures/charts/guide.yaml");
    format!("{root}/charts/spire -n spire-server -f {values} {IMAGE} {settings}")
}

/// The chart's own test: a pod that gets a real identity.
fn tested(cluster: &Cluster) {
    let told = cluster.shell(&format!("{} test spire -n spire-server", helm()));
    assert!(told.contains("Succeeded"), "{told}");
}

/// Asked of the agent about the client's process, and of the API server about the cluster.
fn the_doctor_finds_nothing_wrong(cluster: &Cluster) {
    // The brackets keep the shell itself from being found.
    let told = cluster.shell(
        "kubectl exec -n spire-server daemonset/spire-agent -- \
            finial doctor -pid $(pgrep -f '[s]pire-agent api watch')",
    );
    assert!(told.contains(&format!("well: it has {CLIENT_ID}")), "{told}");
    let doctor = [env!("CARGO_BIN_EXE_finial"), "doctor"];
    within(Duration::from_secs(20), "a cluster without a fault", || cluster.run(&doctor).ok());
}

fn helm() -> String {
    cluster::set("FINIAL_HELM").display().to_string()
}
