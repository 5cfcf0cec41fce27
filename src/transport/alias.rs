//! Further names for the workload socket, beside its own: `socket`, `spire-agent.sock` and `api.sock` are
//! what meshes, charts and guides look for in one and the same directory.
//!
//! They are relative symbolic links. So they lead to the socket wherever the directory is mounted, and to
//! whichever agent has the socket now: a restart or a hand-over has nothing to do. Whatever is alive or no
//! socket under such a name stays. Runs at start, on the caller's thread.

use super::occupant::{self, FileKind, Occupant};
use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

const TEMPORARY_PREFIX: &str = ".finial-link-";
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// Why the socket does not have a name.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// In a directory where everybody keeps things the name may be anybody's.
    #[error(
        "{} is a directory where everybody keeps things; give the socket one of its own, or set \
         socket_alternate_names = []", .0.display()
    )]
    SharedDirectory(PathBuf),
    /// Somebody listens there.
    #[error("pid {pid} listens on {}; end it, or leave the name out of socket_alternate_names", path.display())]
    Alive {
        /// The path.
        path: PathBuf,
        /// Its process id; 0 when it cannot be told.
        pid: i32,
    },
    /// Something else has the name; it is never deleted.
    #[error("{} is {kind}, expected a link or nothing; move it away", path.display())]
    NotALink {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// The operating system refuses.
    #[error("cannot link {} to the socket", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Gives the socket at `path` each of `names`, in the directory where it is. One that fails keeps no other
/// from being there. Blocks for a second at most for each name that is a socket.
#[must_use = "each error is a name under which the socket is not found"]
pub fn offer(path: &Path, names: &[String]) -> Vec<AliasError> {
    let (Some(directory), Some(own)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let names: Vec<_> = names.iter().filter(|name| OsStr::new(name.as_str()) != own).collect();
    if names.is_empty() {
        return Vec::new();
    }
    if is_everybodys(directory) {
        return vec![AliasError::SharedDirectory(directory.to_owned())];
    }
    names.into_iter().filter_map(|name| link(directory, name, own).err()).collect()
}

/// Takes a link away that an earlier agent has left at `path`, whose socket had another name in the same
/// directory, so that `path` can be the socket itself. Leaves whatever leads to somebody who listens.
pub fn make_room(path: &Path) {
    let Ok(target) = fs::read_link(path) else { return };
    let is_neighbour = target.components().count() == 1 && target.is_relative();
    if is_neighbour && leads_to_nobody(path, &target) {
        // What could not be removed is found again by who binds.
        let removed = fs::remove_file(path);
        tracing::debug!(path = %path.display(), ok = removed.is_ok(), "link of an earlier agent");
    }
}

/// Whether others have put their things into a directory that all may write to, as into /tmp. A pod's
/// volume for sockets is writable by all too, and holds nothing else.
fn is_everybodys(directory: &Path) -> bool {
    let is_open = fs::metadata(directory)
        .is_ok_and(|found| found.permissions().mode() & WRITABLE_BY_OTHERS != 0);
    let is_other = |kind: fs::FileType| !kind.is_socket() && !kind.is_symlink();
    is_open
        && fs::read_dir(directory).is_ok_and(|mut entries| {
            entries.any(|entry| entry.and_then(|entry| entry.file_type()).is_ok_and(is_other))
        })
}

fn link(directory: &Path, name: &str, own: &OsStr) -> Result<(), AliasError> {
    let path = directory.join(name);
    let failed = |source| AliasError::Io { path: path.clone(), source };
    if let Ok(target) = fs::read_link(&path) {
        if target == Path::new(own) {
            return Ok(());
        }
        if !leads_to_nobody(&path, &target) {
            return Err(AliasError::NotALink { path, kind: FileKind::Link });
        }
    } else {
        match occupant::occupant(&path).map_err(failed)? {
            Occupant::Nobody | Occupant::DeadSocket => {}
            Occupant::Agent { pid } | Occupant::Stranger { pid } => {
                return Err(AliasError::Alive { path, pid });
            }
            Occupant::NotASocket(kind) => return Err(AliasError::NotALink { path, kind }),
        }
    }
    // By rename: the name always leads somewhere.
    let temporary = directory.join(format!("{TEMPORARY_PREFIX}{name}"));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    symlink(own, &temporary).and_then(|()| fs::rename(&temporary, &path)).map_err(failed)
}

fn leads_to_nobody(link: &Path, target: &Path) -> bool {
    let target = link.parent().unwrap_or_else(|| Path::new(".")).join(target);
    matches!(occupant::occupant(&target), Ok(Occupant::Nobody | Occupant::DeadSocket))
}

#[cfg(test)]
mod tests;
