//! The charts, installed by the commands of `charts/README.md` with the values of the guide for Istio and SPIRE.

use crate::{
    cluster::{self, Cluster},
    guide::Reader,
    mesh,
};

/// The guide's trust domain.
pub(crate) const CLIENT_ID: &str = "spiffe://foo.com/ns/default/sa/client";

/// What is owed to the cluster: images that are there.
pub(crate) const IMAGE: &str = "--set image.registry=localhost --set image.repository=finial";

/// And no storage class.
pub(crate) const STORAGE: &str = "--set spire-server.persistence.type=hostPath \
    --set spire-server.persistence.hostPath=/run/spire-data";

/// The whole guide for Istio and SPIRE with Helm, whose output is compared.
#[test]
fn the_guide_for_helm_and_istio_prints_what_it_shows() {
    let cluster = Cluster::up(&["istio.tar"]);
    prepare_storage(&cluster);
    let files = [
        ("spire-values-foo-cluster.yaml", include_str!("../fixtures/charts/guide.yaml")),
        ("workloads.yaml", include_str!("../fixtures/guides/workloads.yaml")),
        ("machine.yaml", mesh::MACHINE),
    ];
    Reader::new(&cluster, &files).plays(include_str!("../fixtures/guides/helm.txt"));
}

/// Makes the folder of the node that [`STORAGE`] names.
pub(crate) fn prepare_storage(cluster: &Cluster) {
    cluster.shell("mkdir /run/spire-data && chown 1000:1000 /run/spire-data");
}

/// Installs them with the server's data in a folder of the node, and these settings beside the guide's.
pub(crate) fn install_on_disk(cluster: &Cluster, settings: &str) {
    prepare_storage(cluster);
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

fn helm() -> String {
    cluster::set("FINIAL_HELM").display().to_string()
}
