//! The SHA-256 of the programs that callers run, computed once per file.
//!
//! Hashing happens on the blocking pool, two files at a time, so that a storm of callers can take
//! neither the event loop nor all cores. Knows nothing of processes or selectors.

use crate::{
    agent::digest,
    runtime::{Clock, TaskSet, clock, tasks::BlockingError},
};
use aws_lc_rs::digest::{Context, SHA256};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    sync::Arc,
};
use tokio::sync::Semaphore;

/// Computes digests and remembers them.
#[derive(Debug)]
pub struct Hasher {
    clock: Clock,
    known: Mutex<HashMap<FileVersion, Arc<str>>>,
    permits: Semaphore,
}

/// A program that has no digest.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Larger than the operator allows (`workload_size_limit`).
    #[error(
        "the executable has {bytes} bytes, expected at most {limit}; raise workload_size_limit"
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file cannot be read.
    #[error("cannot read the executable")]
    Read(#[from] io::Error),
    /// The file was written to while it was read.
    #[error("the executable changed while it was read")]
    Changed,
    /// The agent is ending.
    #[error(transparent)]
    Ending(#[from] BlockingError),
}

/// One content of one file, as the kernel tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileVersion {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Different programs on a node; when more are seen the memory starts over.
const MAX_KNOWN: usize = 256;
/// Files read at once: the second keeps a small program from waiting behind a large one.
const AT_ONCE: usize = 2;
/// A file may be written twice within one tick of its time stamps. Only a digest of a file that has
/// been left alone for longer is kept, so that a rewritten one is never taken for the former.
const SETTLED_SECS: i64 = 2;

impl Hasher {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default(), permits: Semaphore::new(AT_ONCE) }
    }

    /// The digest of `file` in lower-case hexadecimal. Dropping the future is safe.
    ///
    /// # Errors
    /// When the file is larger than `limit`, cannot be read or changes meanwhile.
    pub async fn sha256(&self, file: File, limit: Option<u64>) -> Result<Arc<str>, HashError> {
        let version = FileVersion::of(&file.metadata()?);
        if let Some(limit) = limit.filter(|limit| version.bytes > *limit) {
            return Err(HashError::TooLarge { bytes: version.bytes, limit });
        }
        if let Some(known) = self.recall(&version) {
            return Ok(known);
        }
        let _permit = self.permits.acquire().await;
        // Whoever held the permit may have hashed the same file.
        if let Some(known) = self.recall(&version) {
            return Ok(known);
        }
        let is_settled = clock::unix_secs(self.clock.now()) - version.changed.0 > SETTLED_SECS;
        let digest: Arc<str> = TaskSet::blocking(move || hash(file, version)).await??.into();
        if is_settled {
            self.remember(version, &digest);
        }
        Ok(digest)
    }

    fn recall(&self, version: &FileVersion) -> Option<Arc<str>> {
        self.known.lock().get(version).cloned()
    }

    fn remember(&self, version: FileVersion, digest: &Arc<str>) {
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(version, Arc::clone(digest));
    }
}

impl FileVersion {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn hash(mut file: File, version: FileVersion) -> Result<String, HashError> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => context.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if FileVersion::of(&file.metadata()?) != version {
        return Err(HashError::Changed);
    }
    Ok(digest::hex(&context.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, time::Duration};

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[tokio::test]
    async fn a_settled_file_is_hashed_once_and_a_changed_one_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, "abc").unwrap();
        let later = Clock::anchored_at(Clock::system().now() + Duration::from_secs(60));
        let hasher = Hasher::new(later);
        let open = || File::open(&path).unwrap();
        assert_eq!(&*hasher.sha256(open(), None).await.unwrap(), ABC);
        assert_eq!(hasher.known.lock().len(), 1);
        fs::write(&path, "abd").unwrap();
        assert_ne!(&*hasher.sha256(open(), None).await.unwrap(), ABC);
    }

    #[tokio::test]
    async fn a_file_that_was_just_written_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, "abc").unwrap();
        let hasher = Hasher::new(Clock::system());
        assert_eq!(&*hasher.sha256(File::open(&path).unwrap(), None).await.unwrap(), ABC);
        assert!(hasher.known.lock().is_empty());
    }

    #[tokio::test]
    async fn a_file_over_the_limit_is_refused_with_both_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, "abc").unwrap();
        let hasher = Hasher::new(Clock::system());
        let error = hasher.sha256(File::open(&path).unwrap(), Some(2)).await.unwrap_err();
        assert!(matches!(error, HashError::TooLarge { bytes: 3, limit: 2 }));
        assert!(hasher.sha256(File::open(&path).unwrap(), Some(3)).await.is_ok());
    }
}
