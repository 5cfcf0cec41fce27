//! Where the agent stands with its server.
//!
//! ```text
//!              attest                      server: evicted, replaced, expired
//! Unattested ───────────▶ Attested ──────────────────────────────────────────▶ Unattested
//!      ▲                   │    ▲
//!      │ server: …         │    └── attest ──┐
//!      │                   ▼ time passes     │
//!      └──────────────── Expired ────────────┘         server: banned, from any ──▶ Banned
//! ```
//!
//! No state ends the process: workloads keep the SVIDs that they have and that are valid.

use crate::{
    spiffe::{SpiffeId, X509Svid},
    transport::status::Reason,
};
use std::{fmt, sync::Arc};

/// Where the agent stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// The server does not know this agent, or does not know it any more.
    Unattested(Cause),
    /// The agent has an SVID that the server takes.
    Attested(Arc<X509Svid>),
    /// The SVID has ended before it could be renewed.
    Expired(Arc<X509Svid>),
    /// An operator has banned this agent.
    Banned,
}

/// Why the agent is not attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It has never been, or its state is lost.
    New,
    /// The server said so.
    Denied(Reason),
}

/// What the server said to an SVID of this agent.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// The SVID that was shown: a denial of a former one means nothing.
    pub shown: Arc<X509Svid>,
}

impl Standing {
    /// The SVID to show to the server.
    #[must_use]
    pub const fn svid(&self) -> Option<&Arc<X509Svid>> {
        match self {
            Self::Attested(svid) => Some(svid),
            _ => None,
        }
    }

    /// Who the agent is, or last was.
    #[must_use]
    pub fn agent_id(&self) -> Option<&SpiffeId> {
        match self {
            Self::Attested(svid) | Self::Expired(svid) => Some(svid.id()),
            Self::Unattested(_) | Self::Banned => None,
        }
    }

    /// Whether the server has told this agent to give up what it was trusted with.
    #[must_use]
    pub const fn is_cast_out(&self) -> bool {
        match self {
            Self::Banned | Self::Unattested(Cause::Denied(Reason::AgentNotAttested)) => true,
            Self::Unattested(_) | Self::Attested(_) | Self::Expired(_) => false,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attested(_) => "attested",
            Self::Expired(_) => "the agent's own SVID has expired",
            Self::Banned => "the agent is banned",
            Self::Unattested(cause) => match cause {
                Cause::New => "the agent has not attested yet",
                Cause::Denied(Reason::AgentExpired) => {
                    "the server says the agent's SVID has expired"
                }
                Cause::Denied(Reason::AgentNotActive) => {
                    "the agent's SVID was replaced by a newer one"
                }
                Cause::Denied(_) => "the server does not know this agent; it may have been evicted",
            },
        })
    }
}
