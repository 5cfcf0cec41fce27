//! What the agent's command line can set.

use crate::config::log::LogFlags;
use crate::config::secret::Secret;

/// The flags of `run` and `validate`, as typed; each goes over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `-dataDir`
    pub data_dir: Option<String>,
    /// `-joinToken`
    pub join_token: Option<Secret>,
    /// `-joinTokenFile`
    pub join_token_file: Option<String>,
    /// `-logLevel`, `-logFormat`, `-logFile`
    pub log: LogFlags,
    /// `-serverAddress`
    pub server_address: Option<String>,
    /// `-serverPort`
    pub server_port: Option<String>,
    /// `-socketPath`
    pub socket_path: Option<String>,
    /// `-trustDomain`
    pub trust_domain: Option<String>,
    /// `-trustBundle`
    pub trust_bundle: Option<String>,
    /// `-trustBundleFormat`
    pub trust_bundle_format: Option<String>,
    /// `-insecureBootstrap`
    pub insecure_bootstrap: Option<bool>,
}
