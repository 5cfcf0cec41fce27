//! What the controller runs with. Every value has been judged.

use crate::{
    config::{listen::HealthChecks, log::Log},
    controller::{
        guard::Limit,
        ownership::Ownership,
        settings::{Acted, Settings},
    },
    k8s::Access,
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
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// What decides which entries are wanted.
    pub settings: Settings,
    /// Which entries of the server are ours.
    pub ownership: Ownership,
    /// How many entries may be deleted at once for their absence.
    pub limit: Limit,
    /// Whether federation is looked at.
    pub federations: Acted,
    /// The API server is asked for custom resources with these labels only; empty for all.
    pub label_selector: String,
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
