//! Mounts and unmounts. Blocking system calls only; knows nothing of requests.
//!
//! A mount is made detached (`open_tree`) and put in its place whole (`move_mount`): killed before, the
//! kernel drops it; killed after, the next publish finds it. Nothing is written down besides. On the host
//! the mount is as writable as its source, so that a container runtime can label it; pods get it
//! read-only because `request` insists on it.

use super::{
    place::{Occupant, Place, PlaceError},
    source::{Source, SourceError},
    target::{LEAF, Target},
};
use crate::transport::status::Kind;
use rustix::{
    fs::{self, AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags},
};
use std::{os::fd::AsFd, path::PathBuf};

/// As upstream makes it (spiffe-csi 0.2.12: `pkg/driver/driver.go`).
const TARGET_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);
/// `fs.mount-max`, more mounts than which no namespace has. Older drivers have left 16,000 on one target.
const MAX_MOUNTS: u32 = 100_000;

/// What a publish had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// Mounted now.
    Mounted,
    /// Was mounted already.
    Already,
    /// Mounted in place of what was mounted from a directory that was deleted since.
    Renewed,
}

/// What an unpublish had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cleared {
    /// Mounts that are gone.
    pub(super) mounts: u32,
    /// How many of them were in use and go when the last user does.
    pub(super) detached: u32,
}

/// Why a volume is not as it was asked for. The beginnings are upstream's.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("unable to create target path {path:?}: {source}")]
    Create { path: PathBuf, source: Errno },
    #[error("unable to verify mount point {path:?}: {source}")]
    Verify { path: PathBuf, source: Errno },
    #[error("target path {path:?} is a symbolic link, expected a directory or nothing")]
    Link { path: PathBuf },
    #[error("unable to mount {path:?}: it is no directory; remove it")]
    NoDirectory { path: PathBuf },
    #[error("unable to mount {path:?}: another directory is mounted there; unmount it")]
    Foreign { path: PathBuf },
    #[error("unable to mount {path:?}: {source}")]
    Mount { path: PathBuf, source: Errno },
    #[error("unable to unmount {path:?}: {source}")]
    Unmount { path: PathBuf, source: Errno },
    #[error("unable to unmount {path:?}: more than {MAX_MOUNTS} mounts on one another")]
    Stacked { path: PathBuf },
    #[error("unable to remove target path {path:?}: {source}")]
    Remove { path: PathBuf, source: Errno },
}

impl MountError {
    /// What it means to the kubelet.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Source(_) => Kind::Unavailable,
            Self::Place(PlaceError::Leads { .. }) | Self::Link { .. } => Kind::Invalid,
            _ => Kind::Internal,
        }
    }
}

/// The kernel lacks a call that every mount needs.
#[derive(Debug, thiserror::Error)]
#[error(
    "this kernel cannot tell mounts from directories or open paths safely; expected Linux 5.8 or later"
)]
pub struct KernelError(#[source] Errno);

/// Whether the kernel has what is needed here.
pub(super) fn check_kernel() -> Result<(), KernelError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = fs::ResolveFlags::NO_SYMLINKS;
    fs::openat2(CWD, "/", flags, Mode::empty(), resolve).map_err(KernelError)?;
    let root = fs::statx(CWD, "/", AtFlags::empty(), StatxFlags::BASIC_STATS);
    let told = root.map_err(KernelError)?.stx_attributes_mask;
    if told.contains(StatxAttributes::MOUNT_ROOT) { Ok(()) } else { Err(KernelError(Errno::NOSYS)) }
}

/// Mounts `source` to `target`, unless it is there.
pub(super) fn publish(source: &Source, target: &Target) -> Result<Published, MountError> {
    let path = || target.path.clone();
    let missing = || MountError::Create { path: path(), source: Errno::NOENT };
    let place = Place::open(target)?.ok_or_else(missing)?;
    let found = place.look().map_err(|source| MountError::Verify { path: path(), source })?;
    match found {
        Occupant::Mount { identity, .. } if identity == source.identity => Ok(Published::Already),
        Occupant::Mount { is_deleted: true, .. } => {
            clear(&place, target)?;
            attach(source, &place, target)?;
            Ok(Published::Renewed)
        }
        Occupant::Mount { is_deleted: false, .. } => Err(MountError::Foreign { path: path() }),
        Occupant::Link => Err(MountError::Link { path: path() }),
        Occupant::Other => Err(MountError::NoDirectory { path: path() }),
        Occupant::Directory => {
            attach(source, &place, target)?;
            Ok(Published::Mounted)
        }
        Occupant::Nothing => {
            fs::mkdirat(place.directory(), LEAF, TARGET_MODE)
                .map_err(|source| MountError::Create { path: path(), source })?;
            attach(source, &place, target).inspect_err(|_| {
                // What is left behind does no harm: the next call for this target removes or uses it.
                let removed = fs::unlinkat(place.directory(), LEAF, AtFlags::REMOVEDIR);
                tracing::debug!(path = %target.path.display(), ok = removed.is_ok(), "took back");
            })?;
            Ok(Published::Mounted)
        }
    }
}

fn attach(source: &Source, place: &Place, target: &Target) -> Result<(), MountError> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let by_descriptor =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let attached = rustix::mount::open_tree(&source.directory, "", clone).and_then(|tree| {
        let spot = place.target(OFlags::PATH)?;
        rustix::mount::move_mount(tree.as_fd(), "", spot.as_fd(), "", by_descriptor)
    });
    attached.map_err(|source| MountError::Mount { path: target.path.clone(), source })
}

/// Removes `target` and whatever is mounted there.
pub(super) fn unpublish(target: &Target) -> Result<Cleared, MountError> {
    let path = || target.path.clone();
    let Some(place) = Place::open(target)? else { return Ok(Cleared::default()) };
    let cleared = clear(&place, target)?;
    match fs::unlinkat(place.directory(), LEAF, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(cleared),
        Err(_) if place.look() == Ok(Occupant::Link) => Err(MountError::Link { path: path() }),
        Err(source) => Err(MountError::Remove { path: path(), source }),
    }
}

/// Unmounts what is at the target until nothing is: drivers before 0.2.12 mounted one on another with
/// each repeat of the kubelet (spiffe-csi#331).
fn clear(place: &Place, target: &Target) -> Result<Cleared, MountError> {
    let path = || target.path.clone();
    let mut cleared = Cleared::default();
    while cleared.mounts < MAX_MOUNTS {
        let found = place.look().map_err(|source| MountError::Verify { path: path(), source })?;
        let Occupant::Mount { .. } = found else { return Ok(cleared) };
        let unmount = |flags| rustix::mount::unmount(place.path(), UnmountFlags::NOFOLLOW | flags);
        match unmount(UnmountFlags::empty()) {
            Ok(()) => {}
            Err(Errno::BUSY) => {
                unmount(UnmountFlags::DETACH)
                    .map_err(|source| MountError::Unmount { path: path(), source })?;
                cleared.detached += 1;
            }
            Err(source) => return Err(MountError::Unmount { path: path(), source }),
        }
        cleared.mounts += 1;
    }
    Err(MountError::Stacked { path: path() })
}
