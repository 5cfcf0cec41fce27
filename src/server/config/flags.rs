//! What the server's command line can set.

use crate::config::log::LogFlags;

/// The flags of `run` and `validate`, as typed; each goes over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `-bindAddress`
    pub bind_address: Option<String>,
    /// `-serverPort`
    pub server_port: Option<String>,
    /// `-socketPath`
    pub socket_path: Option<String>,
    /// `-trustDomain`
    pub trust_domain: Option<String>,
    /// `-dataDir`
    pub data_dir: Option<String>,
    /// `-logLevel`, `-logFormat`, `-logFile`
    pub log: LogFlags,
}
