//! `charts/README.md`, followed by one who types every command in it, chapter by chapter. A command that is new
//! there is typed, too. What the README leaves to its reader, a workload for instance, is done in between.

use crate::{
    charts,
    cluster::Cluster,
    guide::{Reader, markdown},
    mesh,
    quick_start::CLIENT,
};

const README: &str = include_str!("../../charts/README.md");

/// Of the Prometheus operator, which the README takes for granted, only what lets a PodMonitor be made.
const POD_MONITORS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: PodMonitor, listKind: PodMonitorList, plural: podmonitors, singular: podmonitor}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[test]
fn every_command_of_the_charts_readme_works() {
    let cluster = Cluster::up(&["istio.tar"]);
    charts::prepare_storage(&cluster);
    let files = [
        ("spire-values.yaml", markdown::block(README, "# spire-values.yaml\n")),
        ("workloads.yaml", include_str!("../fixtures/guides/workloads.yaml")),
        ("machine.yaml", mesh::MACHINE),
    ];
    let mut reader = Reader::new(&cluster, &files);
    let mut played = 0;
    for (chapter, commands) in markdown::chapters(README) {
        prepare(&cluster, &mut reader, chapter);
        reader.types(chapter, &commands);
        played += commands.len();
    }
    assert!(played > 25, "{played} commands were found");
}

/// Does what is left to the reader before a chapter.
fn prepare(cluster: &Cluster, reader: &mut Reader<'_>, chapter: &str) {
    match chapter {
        "Verify" => {
            reader.types(chapter, &["kubectl apply -f workloads.yaml".to_owned()]);
            for deployment in ["deployment/sleep", "deployment/httpbin"] {
                cluster.rolled_out("default", deployment);
            }
        }
        "Observe" => {
            cluster.apply(POD_MONITORS);
        }
        "Troubleshoot" => {
            rolled_out(cluster);
            cluster.apply(CLIENT);
            cluster.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);
            reader.set("POD", &cluster.pod("spire-server", "app.kubernetes.io/name=agent"));
            // The brackets keep the shell itself from being found.
            let pid = cluster.shell("pgrep -f '[s]pire-agent api watch'");
            reader.set("PID", pid.trim());
        }
        "Uninstall" => {
            rolled_out(cluster);
            // "Remove or restart them without it."
            cluster.kubectl(&["delete", "pod/client", "--timeout=30s"]);
            cluster.kubectl(&["delete", "deployment", "sleep", "httpbin"]);
            cluster.shell("istioctl uninstall --purge -y");
        }
        _ => {}
    }
}

fn rolled_out(cluster: &Cluster) {
    for program in
        ["statefulset/spire-server", "daemonset/spire-agent", "daemonset/spire-spiffe-csi-driver"]
    {
        cluster.rolled_out("spire-server", program);
    }
}
