//! The lock file that keeps a second server away from the database of the first.
//!
//! SQLite's own exclusive mode would do the same, but would also keep `sqlite3 FILE .backup` out.

use super::error::StoreError;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Held as long as the database is open. The kernel lets go of it when the process ends, however.
#[derive(Debug)]
pub(super) struct DatabaseLock {
    _file: File,
}

impl DatabaseLock {
    /// Locks `database` by the file `<database>.lock` beside it, which stays there.
    pub(super) fn acquire(database: &Path) -> Result<Self, StoreError> {
        let path = beside(database, ".lock");
        let failed = |action| {
            let path = path.clone();
            move |source| StoreError::File { action, path, source: Arc::new(source) }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open the lock file"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let is_readable = file.read_to_string(&mut holder).is_ok_and(|length| length > 0);
                let holder = if is_readable { holder } else { "unknown".to_owned() };
                return Err(StoreError::InUse { path: database.to_owned(), holder });
            }
            Err(error) => return Err(failed("lock")(error.into())),
        }
        let process = std::process::id().to_string();
        file.set_len(0)
            .and_then(|()| file.write_all(process.as_bytes()))
            .map_err(failed("write the lock file"))?;
        Ok(Self { _file: file })
    }
}

/// `path` with `suffix` after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
