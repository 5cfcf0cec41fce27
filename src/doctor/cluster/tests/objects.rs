//! The objects of a cluster in which all is well, and where they stand.

use serde_json::{Value, json};

pub(super) const TEMPLATE: &str = "templates:\n  sidecar: |\n    spec:\n      containers: []\n  spire: |\n    spec:\n      \
     initContainers:\n      - name: istio-proxy\n      volumes:\n      - name: workload-socket\n        csi:\n          \
     driver: csi.spiffe.io\n  spire-gateway: |\n    spec:\n      containers: []\n      volumes: [{name: workload-socket, \
     csi: {driver: csi.spiffe.io}}]\n";

pub(super) const AGENTS: &str = "/apis/apps/v1/namespaces/spire/daemonsets/spire-agent";
pub(super) const SERVER: &str = "/apis/apps/v1/namespaces/spire/statefulsets/spire-server";
pub(super) const SERVER_CONF: &str = "/api/v1/namespaces/spire/configmaps/spire-server";
pub(super) const AGENT_CONF: &str = "/api/v1/namespaces/spire/configmaps/spire-agent";
pub(super) const MESH: &str = "/api/v1/namespaces/istio-system/configmaps/istio";
pub(super) const INJECTOR: &str =
    "/api/v1/namespaces/istio-system/configmaps/istio-sidecar-injector";
pub(super) const ISTIOD: &str = "/apis/apps/v1/namespaces/istio-system/deployments/istiod";
pub(super) const NODE: &str = "/api/v1/nodes/one";
pub(super) const CSI_NODE: &str = "/apis/storage.k8s.io/v1/csinodes/one";
pub(super) const WEBHOOK: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/spire-webhook";
pub(super) const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/spire/endpointslices/hook-1";
pub(super) const NAMESPACE: &str = "/api/v1/namespaces/shop";
pub(super) const POD: &str = "/api/v1/namespaces/shop/pods/web-0";
pub(super) const IDENTITY: &str = "/apis/spire.spiffe.io/v1alpha1/clusterspiffeids/web";

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

pub(super) fn objects_of_spire() -> Vec<Value> {
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
            "metadata": {"name": "web"},
            "spec": {"spiffeIDTemplate": "x", "podSelector": {"matchLabels": {"app": "web"}},
                "namespaceSelector": {"matchLabels": {"team": "shop"}}},
            "status": {"stats": {"podsSelected": 3, "entriesToSet": 2},
                "conditions": [{"type": "Ready", "status": "True"}]},
        }),
    ]
}

pub(super) fn objects_of_the_cluster() -> Vec<Value> {
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
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "shop", "labels": {"team": "shop"}}}),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-0", "namespace": "shop",
                "labels": {"app": "web", "spiffe.io/spire-managed-identity": "true"}},
            "spec": {"initContainers": [{"name": "istio-proxy"}], "containers": [{"name": "web"}],
                "volumes": [{"name": "token", "projected": {}},
                    {"name": "workload-socket", "csi": {"driver": "csi.spiffe.io"}}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
        }),
    ]
}
