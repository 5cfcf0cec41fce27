//! How it goes: everything that a display shows, at one moment.

use super::{
    mesh::BySide,
    usage::{Delays, SideUsage},
};
use crate::spiffe::SpiffeId;
use std::time::{Duration, SystemTime};

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Progress {
    /// When.
    pub now: SystemTime,
    /// Since the first request.
    pub elapsed: Duration,
    /// Who the Envoys are.
    pub identities: BySide<SpiffeId>,
    /// What they use.
    pub sides: BySide<SideUsage>,
    /// The authority that signs.
    pub authority: Authority,
    /// Responses that the agent has sent.
    pub pushes: u64,
    /// Requests answered or failed.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// From push to use.
    pub push_to_use: Delays,
}

/// The authority that signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// Its name.
    pub id: String,
    /// When it ends, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// How often another one has taken over.
    pub rotations: u64,
}
