//! What the authority shows of itself: to metrics, to readiness and to `finial dev`.

use super::journal::AuthorityId;

/// Which authorities there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaState {
    /// The one that signs.
    pub active: Option<AuthorityState>,
    /// The one that shall follow it.
    pub prepared: Option<AuthorityState>,
    /// How often an authority has followed another since the process started.
    pub rotations: u64,
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityState {
    /// Its name towards operators.
    pub id: AuthorityId,
    /// Its last valid second since the Unix epoch.
    pub expires_at: i64,
    /// The sequence number of the bundle that it is in; `None` before it is in one.
    pub bundle_sequence: Option<u64>,
}
