//! Why the store cannot be opened, or cannot do what it was asked to.

use crate::{
    spiffe::{SpiffeId, TrustDomain},
    transport::status::Kind,
};
use std::{io, path::PathBuf, sync::Arc};

/// A store that does not work, or a write that did not happen. Clones share their source: everybody
/// whose write was part of one failed transaction is told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another server has the file open.
    #[error(
        "datastore {path:?} is in use by process {holder}: stop that server, or give this one a \
         connection_string of its own"
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// The process id that the other server wrote down, or `unknown`.
        holder: String,
    },
    /// The operating system refuses an operation on a file.
    #[error("cannot {action} {path:?}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The refusal.
        source: Arc<io::Error>,
    },
    /// The database has no bytes at all; a store that finial made never has.
    #[error(
        "datastore {path:?} is empty (0 bytes), expected a database: restore it from a backup, or \
         remove the file to start without any entries, agents and CA"
    )]
    Empty {
        /// The database.
        path: PathBuf,
    },
    /// There is a write-ahead log but no database that it belongs to.
    #[error(
        "datastore {path:?} is missing but its write-ahead log {log:?} is there: restore the \
         database beside it, or remove the log to start without any entries, agents and CA"
    )]
    Orphaned {
        /// The database.
        path: PathBuf,
        /// Its log.
        log: PathBuf,
    },
    /// The database is broken.
    #[error(
        "datastore {path:?} is damaged ({detail}): restore it from a backup, or save what is left \
         with `sqlite3 FILE .recover` and move the damaged file away"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite or finial found.
        detail: String,
    },
    /// A database of another program.
    #[error(
        "datastore {path:?} is {what}, not of finial: set connection_string of DataStore \"sql\" to \
         a new file and keep this one"
    )]
    Foreign {
        /// The database.
        path: PathBuf,
        /// Whose it seems to be.
        what: &'static str,
    },
    /// Written by a newer finial.
    #[error(
        "datastore {path:?} has schema version {found}, this finial knows versions 1 to {known}: \
         run the finial that wrote it or a newer one"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A bundle cannot be read. Starting without it would take every SVID's trust away.
    #[error(
        "the bundle of {trust_domain} in the datastore is damaged ({detail}): restore the database \
         from a backup"
    )]
    DamagedBundle {
        /// Whose bundle.
        trust_domain: TrustDomain,
        /// What is wrong with it.
        detail: String,
    },
    /// Another process kept the database locked for longer than a write waits.
    #[error("datastore is locked by another process, the write was not done: try again")]
    Locked,
    /// The disk has no room for the write.
    #[error("datastore has no space left on its disk, the write was not done")]
    Full,
    /// SQLite gave up the transaction that the write was part of.
    #[error("datastore rolled the transaction back, the write was not done: try again")]
    RolledBack,
    /// SQLite refuses a statement.
    #[error("datastore error: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    /// The thread that writes could not be started.
    #[error("cannot start the datastore's writer")]
    Writer(#[source] Arc<io::Error>),
    /// The store was shut down.
    #[error("datastore is closed")]
    Closed,
    /// The disk does not answer.
    #[error("datastore did not confirm the write within {0} s, it may still happen")]
    Stalled(u64),
    /// The agent is not known (any more).
    #[error("agent {0} is not attested")]
    UnknownNode(SpiffeId),
}

impl StoreError {
    /// What the error means to a peer whose request met it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Locked | Self::RolledBack | Self::Closed | Self::Stalled(_) => Kind::Unavailable,
            Self::Full => Kind::Exhausted,
            Self::UnknownNode(_) => Kind::NotFound,
            _ => Kind::Internal,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sqlite(Arc::new(error)),
        }
    }
}
