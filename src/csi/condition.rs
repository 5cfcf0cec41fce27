//! The condition of a volume, for `NodeGetVolumeStats`: upstream's words, and two that tell a pod's owner
//! why an identity is missing. Looks only; blocking.

use super::{
    place::{Occupant, Place},
    target::Target,
};
use rustix::{
    fs::{Dir, FileType, OFlags},
    io::Errno,
};
use std::fmt;

/// How a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Mounted, with a socket in it.
    Mounted,
    NotMounted,
    /// The host's directory was deleted after the mount.
    Stale,
    /// Nobody has put a socket there.
    NoSocket,
    Unlistable(Errno),
    Undetermined(Errno),
}

impl Condition {
    /// The condition of the volume at `target`.
    pub(super) fn of(target: &Target) -> Self {
        let Ok(Some(place)) = Place::open(target) else { return Self::NotMounted };
        match place.look() {
            Ok(Occupant::Mount { is_deleted: true, .. }) => Self::Stale,
            Ok(Occupant::Mount { .. }) => match has_socket(&place) {
                Ok(true) => Self::Mounted,
                Ok(false) => Self::NoSocket,
                Err(errno) => Self::Unlistable(errno),
            },
            Ok(_) => Self::NotMounted,
            Err(errno) => Self::Undetermined(errno),
        }
    }

    pub(super) const fn is_abnormal(self) -> bool {
        !matches!(self, Self::Mounted)
    }
}

fn has_socket(place: &Place) -> Result<bool, Errno> {
    for entry in Dir::read_from(place.target(OFlags::RDONLY)?)? {
        // A file system that does not tell kinds is given the benefit of the doubt.
        if matches!(entry?.file_type(), FileType::Socket | FileType::Unknown) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted => out.write_str("mounted"),
            Self::NotMounted => out.write_str("volume path is not mounted"),
            Self::Stale => out.write_str(
                "the directory of the agent's sockets was deleted after it was mounted; restart the pod",
            ),
            Self::NoSocket => {
                out.write_str("no agent socket in the volume; is the agent of this node running?")
            }
            Self::Unlistable(errno) => {
                write!(out, "unable to list contents of volume path: {errno}")
            }
            Self::Undetermined(errno) => {
                write!(out, "failed to determine root for volume path mount: {errno}")
            }
        }
    }
}
