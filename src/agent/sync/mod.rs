//! What the server says, kept up to date: the connection, the watch stream, and polling where a server
//! has no watch stream.

pub mod error;
pub mod known;
pub mod status;
pub mod task;

mod authorized;
mod intake;
mod poll;
mod watch;

pub use error::SyncError;
pub use status::{Link, SyncStatus};
pub use task::{Sync, SyncParts};
