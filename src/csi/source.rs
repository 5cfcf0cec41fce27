//! The directory of the agent's sockets, which pods get. Looked at anew for each call: only the kernel
//! knows whether it is still the one that it was.

use rustix::{
    fs::{self, AtFlags, CWD, Mode, OFlags, Statx, StatxFlags},
    io::Errno,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Which directory it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: (u32, u32),
    inode: u64,
}

/// The directory, held open.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) directory: OwnedFd,
    pub(super) identity: Identity,
}

/// Why there is nothing to mount. An agent that is still to come makes it good, or a restart of this
/// driver does: the kubelet should try again.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(
        "workload API socket directory {} does not exist; is the agent of this node installed?",
        .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "workload API socket directory {} was deleted while this driver had it; restart the driver",
        .0.display()
    )]
    Deleted(PathBuf),
    #[error("workload API socket directory {} cannot be opened: {source}", path.display())]
    Unusable { path: PathBuf, source: Errno },
}

impl Identity {
    pub(super) const fn of(found: &Statx) -> Self {
        Self { device: (found.stx_dev_major, found.stx_dev_minor), inode: found.stx_ino }
    }
}

impl Source {
    /// Opens the directory at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let unusable = |source| match source {
            Errno::NOENT => SourceError::Missing(path.to_owned()),
            source => SourceError::Unusable { path: path.to_owned(), source },
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = fs::openat(CWD, path, flags, Mode::empty()).map_err(unusable)?;
        let found = fs::statx(directory.as_fd(), "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .map_err(unusable)?;
        if is_deleted(&found) {
            return Err(SourceError::Deleted(path.to_owned()));
        }
        Ok(Self { directory, identity: Identity::of(&found) })
    }
}

/// Whether a directory has no name any more. A bind mount keeps it, but nothing can be made in it.
pub(super) const fn is_deleted(found: &Statx) -> bool {
    found.stx_nlink == 0
}
