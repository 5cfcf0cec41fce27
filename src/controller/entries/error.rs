//! Why the server did not do what it was asked.

use crate::{transport::channel::ConnectError, wire::entry::EntryError};
use std::time::Duration;
use tonic::{Code, Status};

/// A call without an answer of use: nothing is known of what it did.
#[derive(Debug, thiserror::Error)]
pub(in crate::controller) enum ApiError {
    /// Nobody serves the socket.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server's refusal, or a connection that broke.
    #[error("the server answers {}: {}", .0.code(), .0.message())]
    Call(Box<Status>),
    /// It said nothing for too long.
    #[error("the server has not answered within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Fewer or more results than items.
    #[error("the server answers {found} results to a batch of {asked}")]
    Results {
        /// How many items were sent.
        asked: usize,
        /// How many results came.
        found: usize,
    },
}

/// The server's refusal of one item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server refuses: {message} ({code})")]
pub(in crate::controller) struct Refusal {
    /// The kind of refusal.
    pub(in crate::controller) code: Code,
    /// Its words.
    pub(in crate::controller) message: String,
}

/// An entry of the server's that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("entry {id} cannot be read: {source}")]
pub(super) struct UnreadableEntry {
    pub(super) id: String,
    pub(super) source: EntryError,
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}
