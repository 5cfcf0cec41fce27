//! An unmodified Istio on finial's identities: its own istiod, pilot-agent and charts, and real Envoys.

use crate::{
    charts,
    cluster::{self, Cluster, tell},
    quick_start,
};
use serde_json::Value;
use tokio::time::Instant;

pub(crate) mod load;

/// How long an SVID of these workloads lives: many are renewed while a test looks on.
const SVID_SECS: u64 = 60;

/// What is owed to the machine and not to finial: local images, and Envoy's own Envoy, which lacks the filters
/// that Istio's build adds.
pub(crate) const MACHINE: &str = r#"
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  hub: localhost
  tag: "1"
  values:
    global: {imagePullPolicy: Never, proxy: {resources: {requests: {cpu: 10m, memory: 40Mi}}}}
    pilot:
      autoscaleEnabled: false
      env: {PILOT_ENABLE_METADATA_EXCHANGE: "false", PILOT_ENABLE_ALPN_FILTER: "false"}
    telemetry: {enabled: false}
  components: {pilot: {k8s: {resources: {requests: {cpu: 10m, memory: 100Mi}}}}}
"#;

/// Two deployments under STRICT mTLS. No request is tried twice, and each has a connection of its own, so that
/// every fault that reaches a handshake is seen.
const WORKLOADS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: mesh, labels: {istio-injection: enabled}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: mesh}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: server, namespace: mesh}
spec:
  host: server.mesh.svc.cluster.local
  trafficPolicy:
    connectionPool: {http: {maxRequestsPerConnection: 1}}
    tls: {mode: ISTIO_MUTUAL}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server, namespace: mesh}
spec:
  hosts: [server.mesh.svc.cluster.local]
  http: [{route: [{destination: {host: server.mesh.svc.cluster.local}}], retries: {attempts: 0}}]
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: mesh}
spec:
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: 8080}]
  # A kubelet that starts calls each of its pods not ready until it has probed it: no fault of an identity.
  publishNotReadyAddresses: true
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: entrance, namespace: mesh}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [entrance.test]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: entrance, namespace: mesh}
spec:
  hosts: [entrance.test]
  gateways: [entrance]
  http: [{route: [{destination: {host: server.mesh.svc.cluster.local}}], retries: {attempts: 0}}]
"#;

/// A deployment with the annotation and label of Istio's sample workload.
fn deployment(name: &str, more_annotations: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: mesh}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: mesh}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}, spiffe.io/spire-managed-identity: "true"}}
      annotations:
        inject.istio.io/templates: "sidecar,spire"
        # Istio keeps few of Envoy's counters.
        proxy.istio.io/config: '{{"proxyStatsMatcher": {{"inclusionRegexps": [".*ssl.*"]}}}}'
        {more_annotations}
    spec:
      serviceAccountName: {name}
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: localhost/agnhost:1
        imagePullPolicy: Never
        args: [netexec, --http-port=8080]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
"#
    )
}

/// The mesh: the quick start, Istio, and two deployments with an identity of finial's.
pub(crate) fn install(cluster: &Cluster) {
    quick_start::install(cluster, &quick_start::manifest());
    install_istio(cluster, "example.org");
}

/// The same on the charts, with these settings beside the guide's.
pub(crate) fn install_on_charts(cluster: &Cluster, settings: &str) {
    charts::install_on_disk(cluster, settings);
    install_istio(cluster, "foo.com");
}

fn install_istio(cluster: &Cluster, trust_domain: &str) {
    register(cluster);
    let started = Instant::now();
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/istio/native-sidecar.yaml");
    cluster.write("machine.yaml", MACHINE);
    cluster.shell(&format!(
        "istioctl install -y -f {ours} -f $RUN/machine.yaml --set meshConfig.trustDomain={trust_domain}"
    ));
    tell("Istio with its ingress gateway is ready", started);
    let started = Instant::now();
    // The client's own port is plain, so that the test can ask it to ask the server.
    let plain = "traffic.sidecar.istio.io/excludeInboundPorts: \"8080\"";
    cluster
        .apply(&[WORKLOADS, &deployment("server", ""), &deployment("client", plain)].join("---"));
    cluster.rolled_out("mesh", "deployment/server");
    cluster.rolled_out("mesh", "deployment/client");
    tell("two deployments with sidecars are ready", started);
}

/// The guide's ClusterSPIFFEID, with SVIDs that are renewed while a test looks on.
fn register(cluster: &Cluster) {
    let example = cluster::istio("spire/clusterspiffeid.yaml");
    cluster.declare(&format!("{}\n  ttl: {SVID_SECS}s\n", example.trim_end()));
}

/// The secrets that a proxy holds, as `istioctl proxy-config secret` shows them.
fn secrets(cluster: &Cluster, namespace: &str, pod: &str) -> Vec<Vec<String>> {
    let table = cluster.shell(&format!("istioctl proxy-config secret {pod}.{namespace}"));
    let rows = table.lines().skip(1);
    rows.map(|row| {
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    })
    .collect()
}

/// The serial number of the certificate that a proxy presents.
pub(crate) fn serial(cluster: &Cluster, namespace: &str, pod: &str) -> String {
    let rows = secrets(cluster, namespace, pod);
    let own = rows.into_iter().find(|row| row.first().is_some_and(|name| name == "default"));
    own.unwrap_or_else(|| panic!("{pod} has no certificate")).swap_remove(4)
}

/// That certificate, as the guide has openssl print it.
pub(crate) fn certificate(cluster: &Cluster, namespace: &str, pod: &str) -> String {
    let json = cluster.shell(&format!("istioctl proxy-config secret {pod}.{namespace} -o json"));
    let dump: Value = serde_json::from_str(&json).unwrap();
    let chain = &dump["dynamicActiveSecrets"][0]["secret"]["tlsCertificate"]["certificateChain"];
    let chain = chain["inlineBytes"].as_str().unwrap();
    cluster.shell(&format!("base64 --decode <<<{chain} | openssl x509 -noout -text"))
}

/// The key of the authority that signed it.
pub(crate) fn authority(cluster: &Cluster, namespace: &str, pod: &str) -> String {
    let text = certificate(cluster, namespace, pod);
    let mut lines = text.lines().skip_while(|line| !line.contains("Authority Key Identifier"));
    lines.nth(1).expect("a certificate that names its authority").trim().to_owned()
}

#[test]
fn istios_sidecars_and_gateway_are_ready_on_finials_identities_and_traffic_survives_rotation() {
    let cluster = Cluster::up(&["istio.tar"]);
    install(&cluster);

    for (namespace, label, account) in [
        ("mesh", "app=server", "server"),
        ("mesh", "app=client", "client"),
        ("istio-system", "istio=ingressgateway", "istio-ingressgateway-service-account"),
    ] {
        let pod = cluster.pod(namespace, label);
        shows_finials_secrets(&cluster, namespace, &pod, account);
    }

    let (server, client) = (cluster.pod("mesh", "app=server"), cluster.pod("mesh", "app=client"));
    let before = [serial(&cluster, "mesh", &server), serial(&cluster, "mesh", &client)];
    let load = load::Load::start(&cluster, &client, &server);
    load.until_renewed(&cluster, &[(&server, &before[0]), (&client, &before[1])]);
    let seen = load.stop(&cluster);
    seen.assert_faultless();
    every_request_had_its_handshake(&cluster, &client, seen.answered);
    plain_text_is_refused(&cluster, &server);
    the_gateway_reaches_the_server(&cluster, &server);
}

/// The guide's verification, for one proxy.
fn shows_finials_secrets(cluster: &Cluster, namespace: &str, pod: &str, account: &str) {
    let rows = secrets(cluster, namespace, pod);
    let shown: Vec<[&str; 4]> = rows
        .iter()
        .map(|row| [row[0].as_str(), row[1].as_str(), row[2].as_str(), row[3].as_str()])
        .collect();
    let expected =
        [["default", "Cert Chain", "ACTIVE", "true"], ["ROOTCA", "CA", "ACTIVE", "true"]];
    assert_eq!(shown, expected, "{pod}: {rows:?}");
    assert!(
        rows.iter().all(|row| row.last().is_some_and(|domain| domain == "example.org")),
        "{rows:?}"
    );

    let text = certificate(cluster, namespace, pod);
    assert!(text.contains("O = SPIRE"), "{text}");
    assert!(
        text.contains(&format!("URI:spiffe://example.org/ns/{namespace}/sa/{account}")),
        "{text}"
    );
}

fn every_request_had_its_handshake(cluster: &Cluster, client: &str, requests: usize) {
    let stats = cluster.shell(&format!(
        "kubectl exec -n mesh {client} -c istio-proxy -- pilot-agent request GET \
            'stats?filter=server.mesh.*ssl'"
    ));
    let of = |name: &str| -> usize {
        let lines = stats.lines().filter(|line| line.contains("outbound|80||"));
        let value = lines.filter_map(|line| line.split_once(&format!("{name}: "))).next();
        value.map_or(0, |(_, number)| number.trim().parse().unwrap())
    };
    assert!(of("ssl.handshake") >= requests, "{requests} requests: {stats}");
    for failure in
        ["fail_verify_error", "fail_verify_san", "fail_verify_no_cert", "connection_error"]
    {
        assert_eq!(of(failure), 0, "{stats}");
    }
}

fn plain_text_is_refused(cluster: &Cluster, server: &str) {
    let ip = address(cluster, "mesh", server);
    let asked = cluster.run(&["curl", "-s", "-m", "5", &format!("http://{ip}:8080/hostname")]);
    assert!(asked.is_err(), "{asked:?}");
}

fn the_gateway_reaches_the_server(cluster: &Cluster, server: &str) {
    let gateway = cluster.pod("istio-system", "istio=ingressgateway");
    let ip = address(cluster, "istio-system", &gateway);
    let answer =
        cluster.shell(&format!("curl -sf -m 5 -H 'Host: entrance.test' http://{ip}:8080/hostname"));
    assert_eq!(answer, server);
}

/// The address of a pod.
fn address(cluster: &Cluster, namespace: &str, pod: &str) -> String {
    let pod = cluster.object(&["pod", "-n", namespace, pod]);
    pod["status"]["podIP"].as_str().unwrap().to_owned()
}
