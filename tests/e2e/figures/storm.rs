//! Fifty pods that start on a node at once, ten of them Envoys: each gets its own identity, soon after the
//! kubelet has shown its address.

use super::{agent_and_controller_are_small, judge, percentile, watch::PodWatch};
use crate::{charts, cluster::Cluster};
use std::collections::HashMap;

const CLIENTS: usize = 40;
const ENVOYS: usize = 10;

/// From a pod's address to its identity: controller, entry, push, attestation and secret together.
const IDENTITY_SECS: f64 = 0.5;

/// A node of two cores starts some three pods a second.
const STARTED_WITHIN_SECS: u32 = 180;

/// Every pod has an identity of its own, so that none can have another's unnoticed. The Envoys serve mTLS, and
/// are live when they have certificate and trust bundle.
const NAMESPACE: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: storm}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: envoy, namespace: storm}
data:
  envoy.yaml: |
    node: {id: storm, cluster: storm}
    static_resources:
      listeners:
      - name: mtls
        address: {socket_address: {address: 0.0.0.0, port_value: 8443}}
        filter_chains:
        - filters:
          - name: envoy.filters.network.echo
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              require_client_certificate: true
              common_tls_context:
                tls_certificate_sds_secret_configs:
                - name: default
                  sds_config: &finial
                    resource_api_version: V3
                    initial_fetch_timeout: 0s
                    api_config_source:
                      api_type: GRPC
                      transport_api_version: V3
                      grpc_services: [{envoy_grpc: {cluster_name: finial}}]
                validation_context_sds_secret_config: {name: ROOTCA, sds_config: *finial}
      clusters:
      - name: finial
        type: STATIC
        typed_extension_protocol_options:
          envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
            "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
            explicit_http_config: {http2_protocol_options: {}}
        load_assignment:
          cluster_name: finial
          endpoints:
          - lb_endpoints:
            - endpoint: {address: {pipe: {path: /run/secrets/workload-spiffe-uds/socket}}}
"#;

const CLUSTER_SPIFFE_ID: &str = r#"
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: storm}
spec:
  spiffeIDTemplate: "spiffe://{{ .TrustDomain }}/pod/{{ .PodMeta.Name }}"
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: storm}}
"#;

/// What the logs of the two kinds say when a pod has what it waits for.
const HAS_IDENTITY: &str = "Received 1 svid";
const IS_LIVE: &str = "all dependencies initialized";
const LOGS: &str = "/var/log/pods/storm_*/main/0.log";

#[test]
fn fifty_pods_that_start_at_once_have_each_its_own_identity() {
    let cluster = Cluster::up(&["istio.tar"]);
    charts::install_on_disk(&cluster, "");
    cluster.declare(CLUSTER_SPIFFE_ID);
    cluster.apply(NAMESPACE);
    let watch = PodWatch::start(&cluster, "storm");

    let (clients, envoys) = (names("client", CLIENTS), names("envoy", ENVOYS));
    let pods: Vec<String> = envoys
        .iter()
        .map(|name| pod(name, ENVOY))
        .chain(clients.iter().map(|name| pod(name, CLIENT)))
        .collect();
    cluster.apply(&pods.join("---"));

    until_logged(&cluster, CLIENTS + ENVOYS);
    cluster.kubectl(&[
        "wait",
        "-n",
        "storm",
        "--for=condition=Ready",
        "pod",
        "--all",
        "--timeout=60s",
    ]);
    let mut served = logged(&cluster, HAS_IDENTITY);
    served.extend(logged(&cluster, IS_LIVE));
    clients.iter().for_each(|name| client_has_its_own(&cluster, name));
    envoys.iter().for_each(|name| envoy_has_its_own(&cluster, name));

    for (what, pods) in [("pods", &clients), ("Envoys", &envoys)] {
        let waited = |pod: &String| (served[pod] - watch.addressed(pod)).max(0.0);
        let waits: Vec<f64> = pods.iter().map(waited).collect();
        eprintln!("{what}: p50 {:.2} s after their address", percentile(&waits, 50));
        judge(
            &format!("{what} have their identity after their address, p99"),
            percentile(&waits, 99),
            IDENTITY_SECS,
        );
    }
    agent_and_controller_are_small(&cluster);
}

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{kind}-{number}")).collect()
}

const CLIENT: &str = concat!(
    "image: localhost/spire-agent:",
    env!("CARGO_PKG_VERSION"),
    "
    command: [/opt/spire/bin/spire-agent, api, watch, -socketPath, /run/secrets/workload-spiffe-uds/socket]"
);

const ENVOY: &str = "image: localhost/proxyv2:1
    command: [/usr/local/bin/envoy, -c, /etc/envoy/envoy.yaml, --concurrency, '1', --disable-hot-restart]";

fn pod(name: &str, program: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: storm}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    {program}
    volumeMounts:
    - {{name: workload-socket, mountPath: /run/secrets/workload-spiffe-uds, readOnly: true}}
    - {{name: envoy, mountPath: /etc/envoy}}
  volumes:
  - {{name: workload-socket, csi: {{driver: csi.spiffe.io, readOnly: true}}}}
  - {{name: envoy, configMap: {{name: envoy}}}}
"#
    )
}

/// Waits until as many logs hold either text, and leaves the node its time: one look a second.
fn until_logged(cluster: &Cluster, count: usize) {
    cluster.shell(&format!(
        "timeout {STARTED_WITHIN_SECS} bash -c \
            'until [ $(grep -lsE \"{HAS_IDENTITY}|{IS_LIVE}\" {LOGS} | wc -l) = {count} ]; do sleep 1; done'"
    ));
}

/// By pod, when its log first held this text, in seconds of the epoch.
fn logged(cluster: &Cluster, text: &str) -> HashMap<String, f64> {
    // Each line is the path of the log, a colon, the time of the line, and the line.
    let found = cluster.shell(&format!("grep -Hm1 '{text}' {LOGS} | cut -d' ' -f1"));
    let (logs, times): (Vec<&str>, Vec<&str>) =
        found.lines().filter_map(|line| line.split_once(':')).unzip();
    cluster.write("times", &times.join("\n"));
    let epochs = cluster.shell("date -f $RUN/times +%s.%N");
    let pods = logs.into_iter().map(|log| log.split('_').nth(1).unwrap().to_owned());
    pods.zip(epochs.lines().map(|at| at.parse().unwrap())).collect()
}

fn client_has_its_own(cluster: &Cluster, pod: &str) {
    let log = cluster.kubectl(&["logs", "-n", "storm", pod]);
    let ids: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("SPIFFE ID:")).collect();
    assert!(!ids.is_empty(), "{log}");
    let own = format!("spiffe://foo.com/pod/{pod}");
    assert!(ids.iter().all(|id| id.trim() == own), "{pod}: {log}");
}

fn envoy_has_its_own(cluster: &Cluster, pod: &str) {
    let shown = cluster.shell(&format!(
        "ip=$(kubectl get pod -n storm {pod} -o jsonpath='{{.status.podIP}}')
        openssl s_client -connect $ip:8443 </dev/null >$RUN/shown 2>&1 || cat $RUN/shown >&2
        openssl x509 -in $RUN/shown -noout -ext subjectAltName"
    ));
    assert!(shown.contains(&format!("URI:spiffe://foo.com/pod/{pod}\n")), "{pod}: {shown}");
}
