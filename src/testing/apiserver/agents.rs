//! Nodes with an agent's pod and its token, for node attestation.

use super::server::ApiServer;
use serde_json::{Value, json};

impl ApiServer {
    /// Puts `node` into the cluster and an agent's pod onto it; the token of that pod, for `audience`.
    #[must_use]
    pub fn add_agent(&self, node: &str, audience: &str) -> String {
        let (pod, token) = (format!("spire-agent-{node}"), format!("token-of-{node}"));
        let labels = json!({"zone": "a", "arch": "riscv"});
        let metadata = json!({"name": node, "uid": uid_of_node(node), "labels": labels});
        self.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata}));
        let pod_uid = uid_of_pod(node);
        self.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod, "namespace": "spire", "uid": pod_uid, "labels": {"app": "spire-agent"},
            },
            "spec": {"nodeName": node, "serviceAccountName": "spire-agent", "containers": []},
            "status": {"phase": "Running", "hostIP": "172.16.10.1"},
        }));
        let status = json!({
            "authenticated": true, "audiences": [audience],
            "user": {
                "username": "system:serviceaccount:spire:spire-agent",
                "extra": {
                    "authentication.kubernetes.io/pod-name": [pod],
                    "authentication.kubernetes.io/pod-uid": [pod_uid],
                    "authentication.kubernetes.io/node-name": [node],
                    "authentication.kubernetes.io/node-uid": [uid_of_node(node)],
                },
            },
        });
        self.state.lock().reviews.0.insert(token.clone(), status);
        token
    }

    /// Changes what a review of `token` says.
    pub fn change_review(&self, token: &str, change: impl FnOnce(&mut Value)) {
        change(self.state.lock().reviews.0.get_mut(token).unwrap());
    }
}

/// The UID of a node that [`ApiServer::add_agent`] made.
#[must_use]
pub fn uid_of_node(node: &str) -> String {
    format!("uid-of-{node}")
}

/// The UID of the agent's pod on a node.
#[must_use]
pub fn uid_of_pod(node: &str) -> String {
    format!("uid-of-pod-on-{node}")
}

/// Where the API has a node.
#[must_use]
pub fn path_of_node(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

/// Where the API has the agent's pod on a node.
#[must_use]
pub fn path_of_pod(node: &str) -> String {
    format!("/api/v1/namespaces/spire/pods/spire-agent-{node}")
}
