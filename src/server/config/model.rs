//! What the server runs with: plain values, checked, with nothing left to default.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::listen::{HealthChecks, Prometheus};
use crate::config::log::Log;
use crate::spiffe::TrustDomain;
use crate::x509::key::KeyType;

use super::default;

/// What the server runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where agents reach it.
    pub bind: SocketAddr,
    /// The socket of its private API.
    pub socket_path: PathBuf,
    /// The trust domain it signs for.
    pub trust_domain: TrustDomain,
    /// Where it keeps what must survive a restart.
    pub data_dir: PathBuf,
    /// Where and how much it logs.
    pub log: Log,
    /// Its certificate authority.
    pub ca: CaConfig,
    /// A workload SVID's lifetime where the entry says none.
    pub x509_svid_ttl: Duration,
    /// An agent SVID's lifetime.
    pub agent_ttl: Duration,
    /// Which calls of agents are rate limited.
    pub rate_limit: RateLimit,
    /// The listener for probes.
    pub health_checks: Option<HealthChecks>,
    /// The listener for metrics.
    pub prometheus: Option<Prometheus>,
    /// Where entries, nodes and bundles are kept.
    pub data_store: DataStore,
    /// Where the CA's keys are kept.
    pub key_manager: KeyManager,
    /// How nodes may prove who they are.
    pub node_attestors: Vec<NodeAttestor>,
    /// The listener that serves the trust bundle to other trust domains.
    pub bundle_endpoint: Option<BundleEndpoint>,
    /// The ConfigMaps that shall hold the trust bundle.
    pub bundle_maps: Vec<BundleMap>,
}

/// The certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaConfig {
    /// How long one CA certificate lives.
    pub ttl: Duration,
    /// The kind of its key.
    pub key_type: KeyType,
    /// The subject of its certificate, to which the CA adds a serial number.
    pub subject: CaSubject,
}

/// The subject of CA certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSubject {
    /// `C`
    pub country: Vec<String>,
    /// `O`
    pub organization: Vec<String>,
    /// `CN`
    pub common_name: Option<String>,
}

impl Default for CaSubject {
    fn default() -> Self {
        Self {
            country: vec![default::CA_SUBJECT_COUNTRY.to_owned()],
            organization: vec![default::CA_SUBJECT_ORGANIZATION.to_owned()],
            common_name: None,
        }
    }
}

/// Which calls of agents are rate limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Node attestation.
    pub attestation: bool,
    /// Signing.
    pub signing: bool,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { attestation: true, signing: true }
    }
}

/// Where entries, nodes and bundles are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataStore {
    /// In a SQLite file.
    Sqlite {
        /// The file's name or URI, as SQLite takes it.
        connection_string: String,
    },
}

/// Where the CA's keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyManager {
    /// In a file.
    Disk {
        /// The file.
        keys_path: PathBuf,
    },
    /// In a Kubernetes Secret, with all that a server without its data needs to go on as the same CA.
    KubernetesSecret {
        /// How its API server is reached; `None`: by the service account of the server's own pod.
        kube_config_file: Option<PathBuf>,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// In memory: a restart makes a new CA.
    Memory,
}

/// How a node may prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAttestor {
    /// With a token that `token generate` printed.
    JoinToken,
    /// With the service account token that Kubernetes gave to the agent's pod.
    K8sPsat {
        /// The clusters whose tokens count, by name.
        clusters: BTreeMap<String, PsatCluster>,
    },
}

/// A cluster whose agents attest by service account token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PsatCluster {
    /// The service accounts of agents, as `namespace:name`.
    pub service_account_allow_list: Vec<String>,
    /// Whom a token must be for; nobody stands for the API server itself.
    pub audience: Vec<String>,
    /// How the API server is reached; `None`: by the service account of the server's own pod.
    pub kube_config_file: Option<PathBuf>,
    /// Labels of the node that become selectors.
    pub allowed_node_label_keys: Vec<String>,
    /// Labels of the agent's pod that become selectors.
    pub allowed_pod_label_keys: Vec<String>,
    /// What tells one agent of the cluster from another.
    pub agent_id_from: AgentIdFrom,
}

/// What tells one agent of a cluster from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentIdFrom {
    /// The node: one agent for each.
    NodeUid,
    /// The agent's pod, so that several agents of one node are several.
    PodUid,
}

/// The listener that serves the trust bundle, under the server's SVID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleEndpoint {
    /// Where it listens.
    pub bind: SocketAddr,
    /// How often readers shall look again.
    pub refresh_hint: Duration,
}

/// A ConfigMap that shall hold the trust bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleMap {
    /// How its API server is reached; `None`: by the service account of the server's own pod.
    pub kube_config_file: Option<PathBuf>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The name under which Kubernetes remembers what the server wrote to it.
    pub manager: &'static str,
    /// What its keys shall hold.
    pub keys: BTreeMap<String, BundleForm>,
}

impl fmt::Display for BundleMap {
    /// Namespace and name, as `kubectl` and logs have them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How a bundle is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleForm {
    /// In which language.
    pub format: BundleFormat,
    /// How often a reader shall look again, where the language can say it; `None`: as the bundle says.
    pub refresh_hint: Option<Duration>,
}

/// The languages for bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleFormat {
    /// A SPIFFE bundle document.
    Spiffe,
    /// A plain JWK set.
    Jwks,
    /// X.509 authorities as PEM.
    Pem,
}
