//! What a reviewed token claims, whether pod and node bear it out, and which agent follows from it.
//!
//! Pure. SPIRE's checks, and three more: a pod that has ended attests nobody, and where the token
//! says on which node its pod got it, name and UID of the node must be those.

use super::error::Refusal;
use crate::{
    k8s::{
        lookup::{Node, Pod},
        token_review::{TokenUser, Verdict},
    },
    server::config::{AgentIdFrom, PsatCluster},
    spiffe::{Selector, SelectorSet, SpiffeId, TrustDomain},
};
use std::collections::BTreeMap;

/// The type of this attestation in requests and rows, and of its selectors.
pub const TYPE: &str = "k8s_psat";

/// Which pod a token says to be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The namespace of its service account, which is the pod's.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// The pod's name, which another pod may have by now.
    pub pod_name: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// The node on which the pod got it: Kubernetes says so from 1.30 on.
    node_name: Option<String>,
    node_uid: Option<String>,
}

/// Everything that is known of an agent's place.
pub(super) struct Site<'a> {
    pub(super) cluster: &'a str,
    pub(super) config: &'a PsatCluster,
    pub(super) claim: &'a Claim,
    pub(super) pod: &'a Pod,
    pub(super) node: &'a Node,
}

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";

impl Claim {
    /// What a token claims, if this cluster's agents may come by it.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn read(verdict: Verdict, config: &PsatCluster) -> Result<Self, Refusal> {
        let TokenUser { username, audiences, extra } = match verdict {
            Verdict::Authenticated(user) => user,
            Verdict::Refused { error: Some(error) } => return Err(Refusal::TokenError(error)),
            Verdict::Refused { error: None } => return Err(Refusal::NotAuthenticated),
        };
        // An API server that knows no audiences names none: then the token may be for anybody.
        let wanted = &config.audience;
        if !wanted.is_empty() && !wanted.iter().any(|audience| audiences.contains(audience)) {
            return Err(Refusal::Audience { wanted: wanted.clone(), found: audiences });
        }
        let (namespace, service_account) = service_account(&username)?;
        let account = format!("{namespace}:{service_account}");
        if !config.service_account_allow_list.contains(&account) {
            return Err(Refusal::NotAllowed(account));
        }
        Ok(Self {
            pod_name: binding(&extra, POD_NAME, "pod name")?,
            pod_uid: binding(&extra, POD_UID, "pod UID")?,
            node_name: optional_binding(&extra, NODE_NAME, "node name")?,
            node_uid: optional_binding(&extra, NODE_UID, "node UID")?,
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
        })
    }

    /// Whether the pod of the claimed name is the one that was given the token, and still runs where it
    /// got it.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn check_pod(&self, pod: &Pod) -> Result<(), Refusal> {
        let name = || self.pod_name.clone();
        if pod.uid != self.pod_uid {
            return Err(Refusal::OtherPod { name: name(), bound: self.pod_uid.clone() });
        }
        // An agent attests before the kubelet has told that its pod runs: `Pending` is not refused.
        if matches!(pod.phase.as_str(), "Succeeded" | "Failed") {
            return Err(Refusal::PodEnded { name: name(), phase: pod.phase.clone() });
        }
        if pod.node_name.is_empty() {
            return Err(Refusal::PodUnbound(name()));
        }
        is_same_node("name", self.node_name.as_ref(), &pod.node_name)
    }

    /// Whether the pod's node is the one on which the token was given out, and not another that took its
    /// name.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn check_node(&self, node: &Node) -> Result<(), Refusal> {
        if node.uid.is_empty() {
            return Err(Refusal::NoNodeUid);
        }
        is_same_node("UID", self.node_uid.as_ref(), &node.uid)
    }
}

impl Site<'_> {
    /// Who the agent is. Nothing in it is the agent's own word but the cluster's name, which is
    /// configured.
    pub(super) fn agent_id(&self, trust_domain: &TrustDomain) -> Result<SpiffeId, Refusal> {
        let Self { cluster, config, claim, node, .. } = self;
        let path = match config.agent_id_from {
            AgentIdFrom::NodeUid => format!("/spire/agent/{TYPE}/{cluster}/{}", node.uid),
            AgentIdFrom::PodUid => format!("/spire/agent/{TYPE}/{cluster}/pod/{}", claim.pod_uid),
        };
        trust_domain.member(&path).map_err(Refusal::Identity)
    }

    /// What its entries may demand of the agent.
    pub(super) fn selectors(&self) -> Result<SelectorSet, Refusal> {
        let Self { cluster, config, claim, pod, node } = self;
        let facts = [
            ("cluster", *cluster),
            ("agent_ns", &claim.namespace),
            ("agent_sa", &claim.service_account),
            ("agent_pod_name", &claim.pod_name),
            ("agent_pod_uid", &claim.pod_uid),
            ("agent_node_ip", &pod.host_ip),
            ("agent_node_name", &pod.node_name),
            ("agent_node_uid", &node.uid),
        ];
        let facts = facts.into_iter().map(|(what, value)| format!("{what}:{value}"));
        let node_labels = labels("agent_node_label", &node.labels, &config.allowed_node_label_keys);
        let pod_labels = labels("agent_pod_label", &pod.labels, &config.allowed_pod_label_keys);
        let values = facts.chain(node_labels).chain(pod_labels);
        values.map(|value| Selector::new(TYPE, &value).map_err(Refusal::Selector)).collect()
    }
}

fn labels<'a>(
    what: &'a str,
    labels: &'a BTreeMap<String, String>,
    allowed: &'a [String],
) -> impl Iterator<Item = String> + 'a {
    let is_allowed = |(key, _): &(&String, &String)| allowed.contains(key);
    labels.iter().filter(is_allowed).map(move |(key, value)| format!("{what}:{key}:{value}"))
}

/// Namespace and name out of `system:serviceaccount:<namespace>:<name>`.
fn service_account(username: &str) -> Result<(&str, &str), Refusal> {
    if username.is_empty() {
        return Err(Refusal::NoUser);
    }
    let mut names = username.split(':');
    match [names.next(), names.next(), names.next(), names.next(), names.next()] {
        [Some("system"), Some("serviceaccount"), Some(namespace), Some(name), None] => {
            match (namespace, name) {
                ("", _) => Err(Refusal::HalfServiceAccount("namespace")),
                (_, "") => Err(Refusal::HalfServiceAccount("service account name")),
                both => Ok(both),
            }
        }
        _ => Err(Refusal::NotServiceAccount(username.to_owned())),
    }
}

fn binding(
    extra: &BTreeMap<String, Vec<String>>,
    key: &str,
    what: &'static str,
) -> Result<String, Refusal> {
    let bound = optional_binding(extra, key, what)?;
    bound.ok_or(Refusal::NoBinding(what))
}

fn optional_binding(
    extra: &BTreeMap<String, Vec<String>>,
    key: &str,
    what: &'static str,
) -> Result<Option<String>, Refusal> {
    match extra.get(key).map(Vec::as_slice) {
        None => Ok(None),
        Some([value]) if value.is_empty() => Err(Refusal::EmptyBinding(what)),
        Some([value]) => Ok(Some(value.clone())),
        Some(values) => Err(Refusal::Bindings { what, count: values.len() }),
    }
}

fn is_same_node(what: &'static str, bound: Option<&String>, found: &str) -> Result<(), Refusal> {
    match bound {
        Some(bound) if bound != found => {
            Err(Refusal::OtherNode { what, bound: bound.clone(), found: found.to_owned() })
        }
        _ => Ok(()),
    }
}
