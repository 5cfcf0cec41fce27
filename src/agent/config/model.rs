//! What the agent runs with: plain values, checked, with nothing left to default.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::listen::{HealthChecks, Prometheus};
use crate::config::log::Log;
use crate::config::secret::Secret;
use crate::k8s::tls::{Authentication, Verification};
use crate::spiffe::TrustDomain;
use crate::transport::{Limits, Takeover};

use super::default;

/// What the agent runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// The trust domain it belongs to.
    pub trust_domain: TrustDomain,
    /// Where it keeps what must survive a restart.
    pub data_dir: PathBuf,
    /// Where and how much it logs.
    pub log: Log,
    /// The server it dials.
    pub server: ServerAddress,
    /// How it knows its first server.
    pub bootstrap: Bootstrap,
    /// The socket workloads connect to.
    pub socket_path: PathBuf,
    /// Under which further names, in the same directory, workloads find that socket.
    pub alternate_names: Vec<String>,
    /// The socket of its admin API.
    pub admin_socket_path: Option<PathBuf>,
    /// How it proves to the server which node it is on.
    pub node_attestor: NodeAttestor,
    /// Where its own key is kept.
    pub key_manager: KeyManager,
    /// How it recognises workloads.
    pub workload_attestors: Vec<WorkloadAttestor>,
    /// How many workload SVIDs it keeps for workloads that are not connected.
    pub x509_svid_cache_max_size: usize,
    /// How SDS names resources.
    pub sds: Sds,
    /// How often it asks a server that has no watch stream.
    pub sync_interval: Duration,
    /// How many connections its socket takes.
    pub limits: Limits,
    /// The listener for probes.
    pub health_checks: Option<HealthChecks>,
    /// The listener for metrics.
    pub prometheus: Option<Prometheus>,
    /// What to do when another agent serves the sockets. No file sets it; `agent run -replace` does.
    pub takeover: Takeover,
    /// The oldest an SVID may grow before it is renewed, below its own schedule. No file sets it; `finial dev` does.
    pub renew_every: Option<Duration>,
}

/// The server an agent dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How an agent that has no bundle yet knows its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// It trusts the first server it meets.
    Insecure,
    /// The server's CA is in a file.
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is in it.
        format: BundleFormat,
    },
}

/// What a trust bundle file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BundleFormat {
    /// PEM certificates.
    #[default]
    Pem,
    /// A SPIFFE bundle document.
    Spiffe,
}

/// How an agent proves which node it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAttestor {
    /// With a token of the server; `None` once the agent has an SVID of its own.
    JoinToken(Option<JoinToken>),
    /// With the service account token that Kubernetes gave to the agent's pod.
    K8sPsat {
        /// The cluster, as the server calls it.
        cluster: String,
        /// The file with the token, which the kubelet renews.
        token_path: PathBuf,
    },
}

/// Where the join token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinToken {
    /// Here.
    Token(Secret),
    /// In a file, which is read when the token is needed.
    File(PathBuf),
}

/// Where the agent's own key is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyManager {
    /// In a directory.
    Disk {
        /// The directory.
        directory: PathBuf,
    },
    /// In memory: a restart attests the node again.
    Memory,
}

/// How an agent recognises workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadAttestor {
    /// By user, groups, and perhaps the executable.
    Unix {
        /// Which selectors the executable yields.
        executable: Executable,
    },
    /// By the pod and container it runs in.
    K8s(K8s),
}

/// How an agent recognises workloads in pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct K8s {
    /// Who knows the pods of this node.
    pub kubelet: KubeletAddress,
    /// A container that the kubelet does not list is waited for as long as so many intervals take.
    pub max_poll_attempts: u32,
    /// The longest time between two questions.
    pub poll_retry_interval: Duration,
    /// What of the container becomes a selector.
    pub container_selectors: ContainerSelectors,
    /// How often the callers whose streams are open are attested anew. No file sets it.
    pub attest_again_every: Duration,
}

/// How the kubelet is reached, as the file says it: the node's name may be in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeletAddress {
    /// In the clear, on this port of the own host.
    ReadOnly {
        /// The port.
        port: u16,
    },
    /// By HTTPS.
    Secure {
        /// The port.
        port: u16,
        /// Which node's kubelet.
        node_name: NodeName,
        /// What its certificate must be.
        verification: Verification,
        /// How the agent says who it is.
        authentication: Authentication,
    },
}

/// Where the name of the own node is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeName {
    /// In the file.
    Given(String),
    /// In this environment variable, if it is set.
    Variable(String),
}

impl AgentConfig {
    /// Takes the node's name from the environment where the file says that it is there.
    #[must_use]
    pub fn knowing_its_node(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        for attestor in &mut self.workload_attestors {
            if let WorkloadAttestor::K8s(K8s {
                kubelet: KubeletAddress::Secure { node_name, .. },
                ..
            }) = attestor
                && let NodeName::Variable(name) = &node_name
                && let Some(name) = variable(name).filter(|name| !name.is_empty())
            {
                *node_name = NodeName::Given(name);
            }
        }
        self
    }
}

/// Whether a workload's own container is told from the others of its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerSelectors {
    /// By its name and image; a pod is known once its container is.
    Given,
    /// Not: a pod is known before the kubelet lists its containers.
    Omitted,
}

/// What of a workload's executable becomes a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executable {
    /// Nothing.
    Ignored,
    /// Its path.
    Path,
    /// Its path and its SHA-256.
    PathAndHash {
        /// The largest executable that is hashed; a larger one fails the attestation.
        max_bytes: Option<u64>,
    },
}

/// How SDS names resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sds {
    /// The name of a workload's own SVID.
    pub default_svid_name: String,
    /// The name of the own trust domain's bundle, if the file says one; `None`: `ROOTCA`, with federated bundles.
    pub default_bundle_name: Option<String>,
    /// The name of all bundles together, if the file says one; `None`: `ALL`.
    pub default_all_bundles_name: Option<String>,
    /// Who checks a peer's certificate.
    pub validation: CertificateValidation,
}

/// Who checks a peer's certificate in Envoy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateValidation {
    /// Envoy's SPIFFE validator, which knows several trust domains.
    #[default]
    Spiffe,
    /// Envoy's standard validator.
    Standard,
}

impl Default for Sds {
    fn default() -> Self {
        Self {
            default_svid_name: default::SVID_NAME.to_owned(),
            default_bundle_name: None,
            default_all_bundles_name: None,
            validation: CertificateValidation::default(),
        }
    }
}
