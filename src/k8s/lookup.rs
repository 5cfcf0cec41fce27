//! What the API server says of one pod and of one node.

use super::{client::KubeClient, error::KubeError};
use k8s_openapi::api::core::v1;
use kube::Api;
use std::collections::BTreeMap;

/// A pod, as far as it tells where it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its UID, which no other pod ever has.
    pub uid: String,
    /// The node that it is bound to; empty before it is.
    pub node_name: String,
    /// The node's address, once the kubelet has said it.
    pub host_ip: String,
    /// Where it is in its life: `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A node, as far as it tells which one it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its UID: a node that comes back under the same name has another one.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// RFC 1123 subdomain, the longest name an object can have.
const MAX_NAME_BYTES: usize = 253;

impl KubeClient {
    /// The pod of this name.
    ///
    /// # Errors
    /// When there is none, or the API server does not say.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Pod, KubeError> {
        check_name(namespace)?;
        check_name(name)?;
        let ask = async |client| Api::<v1::Pod>::namespaced(client, namespace).get(name).await;
        let pod = self.call(ask).await?;
        let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
        Ok(Pod {
            uid: pod.metadata.uid.unwrap_or_default(),
            node_name: spec.node_name.unwrap_or_default(),
            host_ip: status.host_ip.unwrap_or_default(),
            phase: status.phase.unwrap_or_default(),
            labels: pod.metadata.labels.unwrap_or_default(),
        })
    }

    /// The node of this name.
    ///
    /// # Errors
    /// When there is none, or the API server does not say.
    pub async fn node(&self, name: &str) -> Result<Node, KubeError> {
        check_name(name)?;
        let ask = async |client| Api::<v1::Node>::all(client).get(name).await;
        let metadata = self.call(ask).await?.metadata;
        Ok(Node {
            uid: metadata.uid.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
        })
    }
}

/// A name becomes a part of the path that is asked for: it must not lead elsewhere.
pub(super) fn check_name(name: &str) -> Result<(), KubeError> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= MAX_NAME_BYTES
        && name.chars().all(is_allowed);
    if is_name { Ok(()) } else { Err(KubeError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        for name in ["spire-agent-x7k2p", "10.0.0.1", "a"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "../secrets/x", "a?b", "a%2fb", "A", "ä", "-a"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name(&"a".repeat(254)).is_err());
    }
}
