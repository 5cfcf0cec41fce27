//! The place of a volume in the file system: the directory that the kubelet made for it, held open, and
//! what is there under the target's name. Looks; changes nothing.
//!
//! Below the directory of pods no symbolic link is followed and nothing leads out (`openat2`): who can
//! write there could otherwise have us mount over, unmount or remove what is not theirs. From then
//! on the place is named by the descriptor, not by its path.

use super::{
    source::{self, Identity},
    target::{LEAF, Target},
};
use rustix::{
    fs::{
        self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxAttributes,
        StatxFlags,
    },
    io::Errno,
};
use std::{
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
};

/// The directory that holds a target.
#[derive(Debug)]
pub(super) struct Place {
    directory: OwnedFd,
}

/// What is under the target's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    Nothing,
    /// A directory with nothing mounted on it.
    Directory,
    /// The root of a mount, the topmost one if there are several.
    Mount {
        identity: Identity,
        /// What is mounted has no name any more.
        is_deleted: bool,
    },
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// The place cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("target path {path:?} leads through a symbolic link or out of the directory of pods")]
    Leads { path: PathBuf },
    #[error("unable to open the directory of target path {path:?}: {source}")]
    Open { path: PathBuf, source: Errno },
}

impl Place {
    /// The place of `target`; `None` when its directory does not exist.
    pub(super) fn open(target: &Target) -> Result<Option<Self>, PlaceError> {
        let path = || target.path.clone();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The kubelet's own directory may well be reached through a link of the operator's.
        let opened = fs::openat(CWD, &target.pods, flags, Mode::empty())
            .and_then(|pods| beneath(pods.as_fd(), &target.parent, flags));
        match opened {
            Ok(directory) => Ok(Some(Self { directory })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::XDEV) => Err(PlaceError::Leads { path: path() }),
            Err(source) => Err(PlaceError::Open { path: path(), source }),
        }
    }

    /// What is there now.
    pub(super) fn look(&self) -> Result<Occupant, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match fs::statx(&self.directory, LEAF, flags, StatxFlags::BASIC_STATS) {
            Ok(found) => Ok(occupant(&found)),
            Err(Errno::NOENT) => Ok(Occupant::Nothing),
            Err(errno) => Err(errno),
        }
    }

    /// Opens the target, a directory; with `OFlags::PATH` it may be mounted to, otherwise it can be read.
    pub(super) fn target(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        beneath(self.directory.as_fd(), LEAF, flags)
    }

    /// The directory that holds the target.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// A path of the target for calls that take no descriptor, by way of the directory's own.
    pub(super) fn path(&self) -> String {
        format!("/proc/self/fd/{}/{LEAF}", self.directory.as_raw_fd())
    }
}

fn beneath(
    directory: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    fs::openat2(directory, path, flags, Mode::empty(), resolve)
}

fn occupant(found: &Statx) -> Occupant {
    if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        let is_deleted = source::is_deleted(found);
        return Occupant::Mount { identity: Identity::of(found), is_deleted };
    }
    match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::Directory => Occupant::Directory,
        FileType::Symlink => Occupant::Link,
        _ => Occupant::Other,
    }
}
