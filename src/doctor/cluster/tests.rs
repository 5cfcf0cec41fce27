//! A cluster in which all is well, and what is said when one thing of it is not.

use super::{findings, look};
use crate::{
    doctor::{Finding, Level},
    k8s::{Access, KubeClient},
    testing::apiserver::{ApiServer, Mood},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const TEMPLATE: &str = "templates:\n  sidecar: |\n    spec:\n      containers: []\n  spire: |\n    spec:\n      \
     initContainers:\n      - name: istio-proxy\n      volumes:\n      - name: workload-socket\n        csi:\n          \
     driver: csi.spiffe.io\n  spire-gateway: |\n    spec:\n      containers: []\n      volumes: [{csi: {driver: \
     csi.spiffe.io}}]\n";

const AGENTS: &str = "/apis/apps/v1/namespaces/spire/daemonsets/spire-agent";
const SERVER: &str = "/apis/apps/v1/namespaces/spire/statefulsets/spire-server";
const SERVER_CONF: &str = "/api/v1/namespaces/spire/configmaps/spire-server";
const AGENT_CONF: &str = "/api/v1/namespaces/spire/configmaps/spire-agent";
const MESH: &str = "/api/v1/namespaces/istio-system/configmaps/istio";
const INJECTOR: &str = "/api/v1/namespaces/istio-system/configmaps/istio-sidecar-injector";
const ISTIOD: &str = "/apis/apps/v1/namespaces/istio-system/deployments/istiod";
const NODE: &str = "/api/v1/nodes/one";
const CSI_NODE: &str = "/apis/storage.k8s.io/v1/csinodes/one";
const WEBHOOK: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/spire-webhook";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/spire/endpointslices/hook-1";
const IDENTITY: &str = "/apis/spire.spiffe.io/v1alpha1/clusterspiffeids/web";

/// A program with a container of this name and its own ConfigMap.
fn program(kind: &str, name: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "spire"},
        "spec": {"template": {"spec": {
            "containers": [{"name": name, "image": "finial"}],
            "volumes": [{"name": "token", "projected": {}},
                {"name": "config", "configMap": {"name": name}}],
        }}},
        "status": status,
    })
}

fn map(namespace: &str, name: &str, key: &str, text: &str) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: text}})
}

fn objects_of_spire() -> Vec<Value> {
    let ready = json!({"desiredNumberScheduled": 1, "numberReady": 1});
    let server = "server { trust_domain = \"example.org\" }";
    let agent =
        r#"{"agent": {"trust_domain": "example.org", "socket_path": "/run/spire-agent.sock"}}"#;
    vec![
        program("DaemonSet", "spire-agent", &ready),
        program("StatefulSet", "spire-server", &json!({"readyReplicas": 1})),
        map("spire", "spire-server", "server.conf", server),
        map("spire", "spire-agent", "agent.conf", agent),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "spire-webhook"},
            "webhooks": [{
                "name": "vclusterspiffeid.kb.io",
                // -----BEGIN CERTIFICATE-----
                "clientConfig": {"caBundle": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
                    "service": {"name": "hook", "namespace": "spire"}},
                "rules": [{"apiGroups": ["spire.spiffe.io"]}],
            }],
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "hook-1", "namespace": "spire",
                "labels": {"kubernetes.io/service-name": "hook"}},
            "endpoints": [{"conditions": {"ready": true}}],
        }),
        json!({
            "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID",
            "metadata": {"name": "web"}, "spec": {"spiffeIDTemplate": "x"},
            "status": {"stats": {"podsSelected": 3, "entriesToSet": 2},
                "conditions": [{"type": "Ready", "status": "True"}]},
        }),
    ]
}

fn objects_of_the_cluster() -> Vec<Value> {
    let discovery = json!({"name": "discovery", "image": "docker.io/istio/pilot:1.28.1"});
    vec![
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"},
            "status": {"nodeInfo": {"kubeletVersion": "v1.34.2"}},
        }),
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "control-plane"},
            "spec": {"taints": [{"key": "control-plane", "effect": "NoSchedule"}]},
            "status": {"nodeInfo": {"kubeletVersion": "v1.34.2"}},
        }),
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver",
            "metadata": {"name": "csi.spiffe.io"}}),
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "one"},
            "spec": {"drivers": [{"name": "csi.spiffe.io"}]}}),
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": {"name": "control-plane"}, "spec": {"drivers": null}}),
        map("istio-system", "istio", "mesh", "trustDomain: example.org\n"),
        map("istio-system", "istio-sidecar-injector", "config", TEMPLATE),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "istiod", "namespace": "istio-system"},
            "spec": {"template": {"spec": {"containers": [discovery]}}},
        }),
    ]
}

struct Cluster {
    api: ApiServer,
    client: KubeClient,
    _directory: TempDir,
}

async fn well() -> Cluster {
    let (api, directory) = (ApiServer::start().await, TempDir::new().unwrap());
    for object in objects_of_spire().into_iter().chain(objects_of_the_cluster()) {
        api.put(object);
    }
    let client = KubeClient::new(Access::Kubeconfig(api.kubeconfig(directory.path())));
    Cluster { api, client, _directory: directory }
}

impl Cluster {
    async fn amiss(&self) -> Vec<Finding> {
        let mut findings = findings(&look(&self.client, "istio-system").await.unwrap());
        findings.retain(|finding| finding.level != Level::Well);
        findings
    }
}

#[tokio::test]
async fn a_cluster_in_which_all_is_well_is_told_so_thing_by_thing() {
    let cluster = well().await;
    let found = findings(&look(&cluster.client, "istio-system").await.unwrap());
    let said: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        said,
        [
            "1 of 1 agents are ready",
            "the server spire-server in spire is ready",
            "the trust domain is example.org",
            "csi.spiffe.io is registered on 1 nodes",
            "the mesh's trust domain is example.org",
            "the injection template spire mounts csi.spiffe.io in initContainers, where this Istio \
             puts sidecars",
            "the webhook vclusterspiffeid.kb.io is served",
            "ClusterSPIFFEID web gives 3 pods 2 entries",
        ]
    );
    assert!(found.iter().all(|finding| finding.level == Level::Well), "{found:?}");
}

/// A path, what is other than well there, and what is said of it and to be done next.
type Row = (&'static str, fn(&mut Value), &'static str, &'static str);

fn set_text(map: &mut Value, key: &str, text: &str) {
    map["data"][key] = json!(text);
}

const OF_SPIRE: &[Row] = &[
    (
        AGENTS,
        |o| o["status"]["numberReady"] = json!(0),
        "0 of 1 agents",
        "describe daemonset spire-agent",
    ),
    (
        AGENTS,
        |o| o["status"] = json!({"desiredNumberScheduled": 0, "numberReady": 0}),
        "1 nodes take pods, and agents are meant for 0",
        "describe daemonset spire-agent -n spire",
    ),
    (SERVER, |o| o["status"] = json!({}), "is not ready: nothing is signed", "get pods -n spire"),
    (
        SERVER_CONF,
        |o| set_text(o, "server.conf", "server { trust_domain = \"$X\" }"),
        "cannot tell: configmaps spire-server in spire makes no sense",
        "kubectl get configmaps spire-server -n spire",
    ),
    (
        WEBHOOK,
        // A line feed.
        |o| o["webhooks"][0]["clientConfig"]["caBundle"] = json!("Cg=="),
        "vclusterspiffeid.kb.io has no caBundle",
        "validatingwebhookconfiguration spire-webhook",
    ),
    (
        SLICE,
        |o| o["endpoints"][0]["conditions"]["ready"] = json!(false),
        "nobody ready is behind the webhook vclusterspiffeid.kb.io",
        "describe service hook -n spire",
    ),
    (
        IDENTITY,
        |o| {
            let condition =
                json!({"type": "Ready", "status": "False", "reason": "Invalid", "message": "m"});
            o["status"]["conditions"] = json!([condition]);
        },
        "ClusterSPIFFEID web is not ready: Invalid: m",
        "describe clusterspiffeid web",
    ),
    (
        IDENTITY,
        |o| o["status"] = json!({"stats": {"podEntryRenderFailures": 2, "entryFailures": 1}}),
        "cannot be rendered for 2 pods and has 1 entries that the server refused",
        "describe clusterspiffeid web",
    ),
    (IDENTITY, |o| o["status"] = Value::Null, "has no status", "describe clusterspiffeid web"),
];

const OF_THE_CLUSTER: &[Row] = &[
    (
        CSI_NODE,
        |o| o["spec"]["drivers"] = json!([{"name": "other"}]),
        "csi.spiffe.io is not registered on one: pods",
        "--field-selector spec.nodeName=one",
    ),
    (
        MESH,
        |o| set_text(o, "mesh", "trustDomain: cluster.local\n"),
        "the mesh's trust domain is cluster.local, ours is example.org: proxies refuse",
        "edit configmap istio -n istio-system",
    ),
    (
        MESH,
        |o| set_text(o, "mesh", "trustDomain: a\ntrustDomainAliases: [example.org]\n"),
        "is a, ours is example.org, which the mesh has for an alias only",
        "edit configmap istio",
    ),
    (
        IDENTITY,
        |o| o["spec"]["federatesWith"] = json!(["partner.org"]),
        "identities federate with partner.org, which is not in",
        "edit configmap istio",
    ),
    (
        MESH,
        |o| set_text(o, "mesh", "trustDomain: ["),
        "makes no sense",
        "get configmaps istio -n istio-system",
    ),
    (
        AGENT_CONF,
        |o| {
            set_text(
                o,
                "agent.conf",
                "agent {\n trust_domain = \"example.org\"\n socket_path = \"/a/b\"\n}",
            )
        },
        "proxies open the socket socket, and the agent's are called b",
        "edit configmap istio",
    ),
    (
        INJECTOR,
        |o| set_text(o, "config", "templates: {sidecar: \"spec: {}\"}"),
        "no injection template for sidecars mounts csi.spiffe.io",
        "charts/istio/native-sidecar.yaml",
    ),
    (
        INJECTOR,
        |o| set_text(o, "config", "templates: {spire: \"driver: csi.spiffe.io\"}"),
        "but not at /run/secrets/workload-spiffe-uds",
        "get configmap istio-sidecar-injector -n istio-system",
    ),
    (
        ISTIOD,
        |o| {
            let variable = json!({"name": "ENABLE_NATIVE_SIDECARS", "value": "false"});
            o["spec"]["template"]["spec"]["containers"][0]["env"] = json!([variable]);
        },
        "spire does not change containers, where this Istio puts sidecars",
        "charts/istio/container-sidecar.yaml",
    ),
    (
        NODE,
        |o| o["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.32.9-eks-1"),
        "spire does not change containers",
        "charts/istio/container-sidecar.yaml",
    ),
];

#[tokio::test]
async fn each_thing_that_is_amiss_is_one_finding_with_the_command_that_leads_on() {
    let cluster = well().await;
    for (path, spoil, what, next) in [OF_SPIRE, OF_THE_CLUSTER].concat() {
        let was = cluster.api.object(path).unwrap();
        cluster.api.change(path, spoil);
        let amiss = cluster.amiss().await;
        assert_eq!(amiss.len(), 1, "{what}: {amiss:?}");
        assert!(amiss[0].what.contains(what), "{what}: {amiss:?}");
        assert!(amiss[0].next.as_ref().is_some_and(|command| command.contains(next)), "{amiss:?}");
        cluster.api.put(was);
    }
    assert_eq!(cluster.amiss().await, []);
}

#[tokio::test]
async fn what_the_caller_may_not_read_is_told_with_the_right_to_ask_for_and_hides_nothing_else() {
    let cluster = well().await;
    cluster.api.change(SERVER, |server| server["status"] = json!({}));
    for (path, command) in [
        ("/api/v1/nodes", "kubectl auth can-i list nodes"),
        ("/api/v1/namespaces/istio-system", "kubectl auth can-i list configmaps -n istio-system"),
        ("/apis/apps/v1/daemonsets", "kubectl auth can-i list daemonsets.apps"),
        (SERVER_CONF, "kubectl auth can-i get configmaps/spire-server -n spire"),
        (
            "/apis/discovery.k8s.io/v1/namespaces/spire",
            "kubectl auth can-i list endpointslices.discovery.k8s.io -n spire",
        ),
        ("/apis/spire.spiffe.io", "kubectl auth can-i list clusterspiffeids.spire.spiffe.io"),
    ] {
        cluster.api.set_mood_below(path, Mood::Fails(403));
        let amiss = cluster.amiss().await;
        let level = |level| amiss.iter().filter(move |finding| finding.level == level);
        let unknown: Vec<_> = level(Level::Unknown).collect();
        assert_eq!(unknown.len(), 1, "{path}: {amiss:?}");
        assert!(unknown[0].what.starts_with("cannot tell: "), "{unknown:?}");
        assert_eq!(unknown[0].next.as_deref(), Some(command));
        assert_eq!(level(Level::Problem).count(), 1, "{path}: {amiss:?}");
        cluster.api.set_mood_below(path, Mood::Answers);
    }
}

#[tokio::test]
async fn an_empty_cluster_has_no_agents_and_no_driver() {
    let (api, directory) = (ApiServer::start().await, TempDir::new().unwrap());
    let client = KubeClient::new(Access::Kubeconfig(api.kubeconfig(directory.path())));
    let found = findings(&look(&client, "istio-system").await.unwrap());
    let problems: Vec<_> = found.iter().filter(|of| of.level == Level::Problem).collect();
    assert!(problems[0].what.starts_with("no DaemonSet has a container spire-agent"), "{found:?}");
    assert!(problems[1].what.starts_with("there is no CSIDriver csi.spiffe.io"), "{found:?}");
    assert_eq!(problems.len(), 2, "{found:?}");
}

#[tokio::test]
async fn an_api_server_that_does_not_know_the_caller_is_no_finding() {
    let cluster = well().await;
    cluster.api.set_mood(Mood::Fails(401));
    assert!(look(&cluster.client, "istio-system").await.is_err());
}
