//! Why a session with the server ended.

use crate::{
    agent::{identity::bootstrap::BootstrapError, metrics::Outcome, patience::Reach},
    runtime::tasks::BlockingError,
    transport::{channel::ConnectError, status::Reason},
};
use std::time::Duration;
use tonic::{Code, Status};

/// Why a session with the server ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The server cannot be known.
    #[error("no server can be known")]
    Bootstrap(#[from] BootstrapError),
    /// The server cannot be reached, or is not to be believed.
    #[error("no connection to the server")]
    Connect(#[from] ConnectError),
    /// The server that the operator's new trust bundle names cannot take this agent's SVID.
    #[error(
        "the server has lost the authority that signed this agent's SVID; the agent must attest anew"
    )]
    OtherAuthority,
    /// A call failed.
    #[error("call to the server failed: {}", .0.message())]
    Call(#[source] Box<Status>),
    /// The server said nothing for too long.
    #[error("the server has not answered within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The server ended a stream that has no end.
    #[error("the server closed the stream")]
    Closed,
    /// The server does not keep to the protocol of SyncAuthorizedEntries.
    #[error("the server broke the protocol: {0}")]
    Protocol(Violation),
    /// The agent is ending.
    #[error(transparent)]
    Ending(#[from] BlockingError),
}

/// What a server must not do while entries are synchronised (server.md §1.9). The texts are SPIRE's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Entries where revisions are expected.
    #[error("unexpected entry in response receiving entry revisions")]
    EntryAmongRevisions,
    /// Revisions where entries are expected.
    #[error("unexpected entry revisions in response while requesting entries")]
    RevisionAmongEntries,
    /// The stream ended in the middle.
    #[error("the stream ended before the last page")]
    Incomplete,
}

impl SyncError {
    /// Whether the server does not have the method that was called.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Call(status) if status.code() == Code::Unimplemented)
    }

    /// Why the server denies this agent, if it does and says so.
    #[must_use]
    pub fn denial(&self) -> Option<Reason> {
        match self {
            Self::Call(status) => Reason::of(status),
            Self::OtherAuthority => Some(Reason::AgentMustReattest),
            _ => None,
        }
    }

    /// How far the attempt came. Reading the operator's bundle is no work of the server's.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self {
            Self::Bootstrap(_) => Reach::Nobody,
            Self::Connect(error) => error.into(),
            _ => Reach::Somebody,
        }
    }

    /// How metrics call it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Call(status) => Outcome::code(status.code()),
            Self::Timeout(_) => Outcome::code(Code::DeadlineExceeded),
            Self::Connect(_) | Self::Closed => Outcome::UNAVAILABLE,
            _ => Outcome::code(Code::Unknown),
        }
    }
}

impl From<Status> for SyncError {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}
