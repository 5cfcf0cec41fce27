//! An attested node: what the server knows of one agent.

use crate::spiffe::{SelectorSet, SpiffeId};

/// An agent that has proved once which node it runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The agent's identity.
    pub id: SpiffeId,
    /// How it proved it, such as `join_token`.
    pub attestation_type: String,
    /// The serial of the SVID it uses, in decimal; empty when it is banned.
    pub serial: String,
    /// The serial of a renewed SVID that it has not used yet; empty when there is none.
    pub new_serial: String,
    /// When the SVID in use ends, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// When the renewed SVID ends; 0 when there is none.
    pub new_expires_at: i64,
    /// It may not come back.
    pub banned: bool,
    /// It may prove itself again by the same means.
    pub can_reattest: bool,
    /// What the attestation found out about the node.
    pub selectors: SelectorSet,
    /// The version it last said to be.
    pub agent_version: String,
}
