//! What makes a chain the agent's own SVID, fresh from the server or from the last process.

use crate::{
    agent::storage::{Keys, NodeState, Slot},
    spiffe::{
        Bundle, SpiffeId, TrustDomain, X509Svid,
        svid::{self, SvidError},
    },
    x509::{Certificate, KeyPair},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A chain that is not this agent's.
#[derive(Debug, thiserror::Error)]
pub enum OwnSvidError {
    /// Its parts do not belong together, or the bundle does not verify it.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// It names somebody outside the trust domain.
    #[error("the server certified this agent as {found}, expected a member of {trust_domain}")]
    Foreign {
        /// Whom it names.
        found: SpiffeId,
        /// Where it should be.
        trust_domain: TrustDomain,
    },
    /// It starts further in the future than clocks may differ.
    #[error(
        "the server's certificate is valid only in {} s: this node's clock is behind the server's",
        .0.as_secs()
    )]
    ClockBehind(Duration),
}

/// How far this node's clock may be behind the server's (F-37): the SVID is used before it starts, which
/// the server, whose clock is right, does not see.
const CLOCK_ALLOWANCE: Duration = Duration::from_secs(60);

/// Checks what the server signed for `pair`.
///
/// # Errors
/// Why it cannot be this agent's SVID.
pub fn check(
    trust_domain: &TrustDomain,
    chain: Vec<Certificate>,
    pair: &KeyPair,
    bundle: &Bundle,
    now: SystemTime,
) -> Result<Arc<X509Svid>, OwnSvidError> {
    let leaf = chain.first().ok_or(SvidError::EmptyChain)?;
    let id = svid::leaf_id(leaf)?;
    if !id.is_member_of(trust_domain) {
        return Err(OwnSvidError::Foreign { found: id, trust_domain: trust_domain.clone() });
    }
    let ahead = leaf.not_before().duration_since(now).unwrap_or_default();
    if ahead > CLOCK_ALLOWANCE {
        return Err(OwnSvidError::ClockBehind(ahead));
    }
    let svid = X509Svid::from_key_pair(&id, chain, pair)?;
    svid.verify(bundle, now + ahead)?;
    Ok(Arc::new(svid))
}

/// The ID of the agent that wrote `state`, with or without its key.
#[must_use]
pub fn stored_id(state: &NodeState, trust_domain: &TrustDomain) -> Option<SpiffeId> {
    let id = svid::leaf_id(state.svid.first()?).ok()?;
    id.is_member_of(trust_domain).then_some(id)
}

/// The SVID in `state`, if its key is still there.
#[must_use]
pub fn stored(
    state: &NodeState,
    keys: &Keys,
    trust_domain: &TrustDomain,
) -> Option<(Slot, Arc<X509Svid>)> {
    let id = stored_id(state, trust_domain)?;
    let (slot, key) = keys.find(state.svid.first()?.public_key())?;
    let svid = X509Svid::new(&id, state.svid.clone(), key);
    match svid {
        Ok(svid) => Some((slot, Arc::new(svid))),
        Err(error) => {
            tracing::warn!(%error, "the stored SVID of this agent is unusable");
            None
        }
    }
}
