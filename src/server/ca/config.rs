//! What the authority is configured with.

use crate::{
    spiffe::TrustDomain,
    x509::{KeyType, name::Name},
};
use std::time::Duration;

/// The authority's configuration.
#[derive(Clone, Debug)]
pub struct CaConfig {
    /// Whose authority it is.
    pub trust_domain: TrustDomain,
    /// How long each of its certificates lives.
    pub ca_ttl: Duration,
    /// The kind of its keys.
    pub ca_key_type: KeyType,
    /// The subject of its certificates, to which each adds a serial number of its own.
    pub ca_subject: Name,
    /// How long a workload's SVID lives whose entry does not say; the server's own too.
    pub default_x509_svid_ttl: Duration,
    /// How long an agent's SVID lives.
    pub agent_ttl: Duration,
    /// How long a bundle takes to reach an agent that polls.
    pub propagation_time: Duration,
}

/// 10 s: two rounds of a SPIRE agent's default `sync_interval` of 5 s.
pub const DEFAULT_PROPAGATION_TIME: Duration = Duration::from_secs(10);
