//! What the controller runs with. Every value has been judged.

use crate::{
    config::{listen::HealthChecks, log::Log},
    k8s::Access,
    spiffe::TrustDomain,
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// The values of a file that says nothing: spire-controller-manager 0.7, `cmd/main.go`.
pub mod default {
    use std::time::Duration;

    /// `ignoreNamespaces`
    pub const IGNORE_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "spire-system"];
    /// `validatingWebhookConfigurationName`
    pub const WEBHOOK_CONFIGURATION: &str = "spire-controller-manager-webhook";
    /// `spireServerSocketPath`
    pub const SOCKET_PATH: &str = "/spire-server/api.sock";
    /// `webhook.port`
    pub const WEBHOOK_PORT: u16 = 9443;
    /// `parentIDTemplate`
    pub const PARENT_ID_TEMPLATE: &str =
        "spiffe://{{ .TrustDomain }}/spire/agent/k8s_psat/{{ .ClusterName }}/{{ .NodeMeta.UID }}";
    /// `leaderElection.leaseDuration`
    pub const LEASE_DURATION: Duration = Duration::from_secs(15);
    /// `leaderElection.renewDeadline`
    pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
    /// `leaderElection.retryPeriod`
    pub const RETRY_PERIOD: Duration = Duration::from_secs(2);
    /// `gcInterval`. Upstream's is 10 s, because its events get lost; ours do not, and this pass only
    /// finds what others did to the server's entries.
    pub const FULL_PASS: Duration = Duration::from_secs(600);
}

/// What the controller needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerConfig {
    /// The cluster's name, as node attestation has it.
    pub cluster_name: String,
    /// The trust domain of every identity.
    pub trust_domain: TrustDomain,
    /// The domain of the cluster's services; `None` where nobody says it.
    pub cluster_domain: Option<String>,
    /// Regular expressions, not anchored (as upstream): namespaces that get no identities.
    pub ignore_namespaces: Vec<String>,
    /// Which objects are ours.
    pub class: Class,
    /// The template of each entry's parent.
    pub parent_id_template: String,
    /// Which kinds are looked at.
    pub kinds: Kinds,
    /// Which entries of the server are ours.
    pub ownership: Ownership,
    /// Whether pods may name their path and federation by annotation.
    pub annotations: Annotations,
    /// Where pods are watched; empty for everywhere.
    pub namespaces: Vec<NamespaceScope>,
    /// How often everything is compared with the server's entries.
    pub full_pass: Duration,
    /// The server's private socket.
    pub socket_path: PathBuf,
    /// The largest answer that is taken from the server.
    pub max_message_bytes: usize,
    /// How several controllers agree on which of them writes; `None`: there is one only.
    pub lease: Option<LeaseConfig>,
    /// The admission webhooks, unless they are off.
    pub webhook: Option<WebhookConfig>,
    /// Where metrics are shown.
    pub metrics: Option<SocketAddr>,
    /// Where health is shown.
    pub health: Option<HealthChecks>,
    /// How it logs.
    pub log: Log,
    /// How it comes to the API server.
    pub access: Access,
}

/// The class rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// The class that is ours; empty: the classless ones.
    pub name: String,
    /// Objects without a class.
    pub classless: Classless,
    /// Whether the API server is asked for objects with the label of our class only.
    pub filter: ClassFilter,
}

/// Objects without a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classless {
    /// Are somebody else's.
    #[default]
    Ignored,
    /// Are ours too.
    Watched,
}

/// Which objects the API server is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassFilter {
    /// All; the class is looked up in each.
    #[default]
    BySpec,
    /// Those with the label `spire.spiffe.io/class-name` of our class.
    ByLabel,
}

/// Which kinds are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// `ClusterSPIFFEID`
    pub spiffe_ids: bool,
    /// `ClusterStaticEntry`
    pub static_entries: bool,
    /// `ClusterFederatedTrustDomain`
    pub federated_trust_domains: bool,
}

/// Which entries are the controller's to change and delete, by their IDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Only those that begin with this and a dot; `None`: all.
    pub prefix: Option<String>,
    /// Those of another controller that is gone, to be deleted: that begin with this and a dot, or, if it
    /// is empty, that have no dot.
    pub cleanup: Option<String>,
}

/// The annotations of the old registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Annotations {
    /// Say nothing to us.
    Ignored,
    /// `spiffe.io/spiffe-id` names the path, `spiffe.io/federatesWith` trust domains among these.
    Honoured(Vec<TrustDomain>),
}

/// A namespace in which pods are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceScope {
    /// Its name.
    pub name: String,
    /// `key=value,…`; empty for all.
    pub label_selector: String,
    /// `key=value,…`; empty for all.
    pub field_selector: String,
}

/// The lease that the writing controller holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Its name.
    pub name: String,
    /// Its namespace; `None`: the one that the controller runs in.
    pub namespace: Option<String>,
    /// After this long without a renewal others may take it.
    pub duration: Duration,
    /// After this long without a renewal the holder stops writing.
    pub renew_deadline: Duration,
    /// Between two tries.
    pub retry_period: Duration,
}

/// The admission webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where they are served.
    pub bind: SocketAddr,
    /// The `ValidatingWebhookConfiguration` that leads here.
    pub configuration: String,
}
