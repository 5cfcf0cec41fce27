//! What the server must not forget: entries, nodes, bundles, join tokens and the CA's journal.
//!
//! Memory answers every read. One thread owns the SQLite connection; it takes what is waiting, writes
//! it in one transaction, and only after the commit shows it to readers and answers the writers.

pub mod bundles;
pub mod changes;
pub mod entries;
pub mod error;
pub mod journal;
pub mod node;
pub mod nodes;
pub mod open;
pub mod patch;
pub mod prune;
pub mod tokens;

mod load;
mod lock;
mod records;
mod rows;
mod sqlite;
mod tables;
mod transaction;
mod writer;

pub use changes::{Change, Changes, Subject};
pub use entries::{Created, EntryError, NewEntry};
pub use error::StoreError;
pub use node::Node;
pub use nodes::AttestError;
pub use open::{Store, StoreConfig};
pub use patch::EntryPatch;
pub use tokens::TokenError;
