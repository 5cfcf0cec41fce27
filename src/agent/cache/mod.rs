//! What the agent knows and serves: entries, SVIDs and bundles, matched to the callers that wait.
//!
//! One state behind one lock that is never held across an await. Two writers with separate rights:
//! [`EntryWriter`] for what the server says, [`SvidWriter`] for what was signed. Streams hold a
//! [`Subscription`] and see immutable [`View`]s. The cache never does I/O.

pub mod apply;
pub mod due;
pub mod groups;
pub mod index;
pub mod open;
pub mod served;
pub mod signed;
pub mod state;
pub mod subscribe;
pub mod view;
pub mod watchers;

pub use apply::{EntryWriter, Update, UpdateKind};
pub use served::{ServedSequence, StreamAck};
pub use signed::{BatchSize, Rejected, Signed, SvidWriter};
pub use state::{Cache, CacheConfig, CacheSnapshot, StoredSvid};
pub use subscribe::{CacheEnded, Subscription};
pub use view::View;
pub use watchers::Interest;

#[cfg(test)]
mod tests;
