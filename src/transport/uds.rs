//! The socket's name in the file system: bound under a temporary name, published by rename.
//!
//! The public name never names a socket that nobody listens on, and its owner changes at once: the
//! new agent's rename takes it over while the old one serves on (istio-envoy.md §16). For the same reason it is
//! never unlinked at exit, which would take the successor's. Nothing but a socket is ever replaced.
//! Runs at start, on the caller's thread; knows nothing of connections.
//!
//! A live finial agent is recognised by the mark in its greeting. [`Takeover::Replace`] is for what a
//! DaemonSet does with `maxSurge`: the new agent starts while the old one serves. A live server of
//! another program is never replaced: it would not know, and might unlink our name when it ends.

use crate::transport::occupant::{self, FileKind, Occupant};
use rustix::{
    fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

/// Connects that may wait for our accept. The kernel takes the smaller of this and
/// net.core.somaxconn (4,096 since Linux 5.4); a full queue answers EAGAIN, which clients take for a
/// dead agent.
const BACKLOG: i32 = 4_096;
/// `sun_path` without its closing zero (unix(7)).
const MAX_PATH_BYTES: usize = 107;
const TEMPORARY_PREFIX: &str = ".finial-";
const DIRECTORY_MODE: u32 = 0o755;
const WRITABLE_BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// What to do when a live finial agent already has the name. See the module's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// Leave it to that agent and fail.
    Refuse,
    /// Take the name over; that agent keeps the connections that it has.
    Replace,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The path does not end in a file name.
    #[error("socket path {} does not end in a file name", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// The path does not fit into a socket address.
    #[error("socket path {} is too long; it and its temporary neighbour may have {MAX_PATH_BYTES} bytes", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The directory could not be made or examined.
    #[error("directory {} for the socket", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Anybody may replace the socket.
    #[error("directory {} is writable by others (mode {mode:04o}), who could replace the socket; chmod o-w it", path.display())]
    WritableByOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else has the name; it is never deleted.
    #[error("{} is {kind}, expected a socket or nothing; move it away or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// Another finial agent serves there.
    #[error("another finial, pid {pid}, already serves {}; end it first or choose another path", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
        /// The agent's process id.
        pid: i32,
    },
    /// Another program listens there.
    #[error("another program, pid {pid}, listens on {}; end it first or choose another path", path.display())]
    Stranger {
        /// The path.
        path: PathBuf,
        /// Its process id; 0 when it cannot be told.
        pid: i32,
    },
    /// What is at the path could not be found out.
    #[error("looking for a server at {}", path.display())]
    Inspect {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The temporary socket could not be set up.
    #[error("listening on temporary socket {}", path.display())]
    Listen {
        /// The temporary path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The rename failed.
    #[error("publishing the socket as {}", path.display())]
    Publish {
        /// The public path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A listening socket's claim on its public name. Dropped unpublished it removes the temporary name;
/// published, nothing ever removes the name.
#[must_use = "a socket without its public name is not found by anybody"]
#[derive(Debug)]
pub struct Publication {
    temporary: PathBuf,
    public: PathBuf,
}

/// Listens under a temporary name beside `path`, with permission bits `mode`. Serve the listener, then
/// [`Publication::publish`]. The directory is made when it is missing. Blocks for a second at most, to
/// hear who serves there now.
///
/// # Errors
/// When the name belongs to another or the directory is not fit; see [`BindError`].
pub fn bind(
    path: &Path,
    mode: u32,
    takeover: Takeover,
) -> Result<(UnixListener, Publication), BindError> {
    let directory = directory_of(path)?;
    let name = uuid::Uuid::new_v4().simple().to_string();
    let temporary = directory.join(format!("{TEMPORARY_PREFIX}{}", &name[..8]));
    if [path, &temporary].iter().any(|path| path.as_os_str().len() > MAX_PATH_BYTES) {
        return Err(BindError::TooLong { path: path.to_owned() });
    }
    prepare_directory(&directory)?;
    check_occupant(path, takeover)?;
    remove_stale_temporaries(&directory);
    let publication = Publication { temporary, public: path.to_owned() };
    match listen(&publication.temporary, mode) {
        Ok(listener) => Ok((listener, publication)),
        Err(source) => Err(BindError::Listen { path: publication.temporary.clone(), source }),
    }
}

impl Publication {
    /// Gives the socket its public name, in place of whatever socket had it.
    ///
    /// # Errors
    /// When something that is no socket has come into the way, or the rename fails.
    pub fn publish(self) -> Result<(), BindError> {
        refuse_non_socket(&self.public)?;
        fs::rename(&self.temporary, &self.public)
            .map_err(|source| BindError::Publish { path: self.public.clone(), source })
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        // After `publish` the temporary name is gone and this finds nothing.
        if let Err(error) = fs::remove_file(&self.temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %self.temporary.display(), %error, "temporary socket left behind");
        }
    }
}

fn directory_of(path: &Path) -> Result<PathBuf, BindError> {
    match (path.file_name(), path.parent()) {
        (Some(_), Some(parent)) if parent.as_os_str().is_empty() => Ok(PathBuf::from(".")),
        (Some(_), Some(parent)) => Ok(parent.to_owned()),
        _ => Err(BindError::NoName { path: path.to_owned() }),
    }
}

/// Makes the directory when it is missing and refuses one in which others could replace our socket. A
/// sticky one (/tmp) is fit: only we may rename what is ours.
///
/// A volume is another matter. Kubernetes makes every emptyDir with mode 0777, and who is given the volume
/// decides who reaches it. It is made sticky where we may, and used as it is where we may not.
fn prepare_directory(directory: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Directory { path: directory.to_owned(), source };
    make_directory(directory).map_err(failed)?;
    let mode = fs::metadata(directory).map_err(failed)?.permissions().mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS == 0 || mode & STICKY != 0 {
        return Ok(());
    }
    if !is_volume(directory).map_err(failed)? {
        return Err(BindError::WritableByOthers { path: directory.to_owned(), mode });
    }
    let path = directory.display();
    match fs::set_permissions(directory, Permissions::from_mode(mode | STICKY)) {
        Ok(()) => tracing::info!(%path, "made the socket's volume sticky"),
        Err(error) => tracing::warn!(
            %path, mode = format!("{mode:04o}"), %error,
            "others who have this volume could replace the socket in it; make it sticky, or ours"
        ),
    }
    Ok(())
}

/// Whether a directory is the root of a mount, as each volume is in its container.
fn is_volume(directory: &Path) -> io::Result<bool> {
    let found = statx(CWD, directory, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Makes `directory` and its missing ancestors so that every user may reach the socket, whatever the
/// umask.
fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        make_directory(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn check_occupant(path: &Path, takeover: Takeover) -> Result<(), BindError> {
    let owned = || path.to_owned();
    let occupant =
        occupant::occupant(path).map_err(|source| BindError::Inspect { path: owned(), source })?;
    match (occupant, takeover) {
        (Occupant::Nobody | Occupant::DeadSocket, _) => Ok(()),
        (Occupant::Agent { pid }, Takeover::Replace) => {
            tracing::info!(pid, path = %path.display(), "taking the socket over from a live agent");
            Ok(())
        }
        (Occupant::Agent { pid }, Takeover::Refuse) => Err(BindError::InUse { path: owned(), pid }),
        (Occupant::Stranger { pid }, _) => Err(BindError::Stranger { path: owned(), pid }),
        (Occupant::NotASocket(kind), _) => Err(BindError::NotASocket { path: owned(), kind }),
    }
}

fn refuse_non_socket(path: &Path) -> Result<(), BindError> {
    match occupant::non_socket(path) {
        Ok(None) => Ok(()),
        Ok(Some(kind)) => Err(BindError::NotASocket { path: path.to_owned(), kind }),
        Err(source) => Err(BindError::Inspect { path: path.to_owned(), source }),
    }
}

/// Removes temporary sockets of agents that died between bind and rename: sockets with a name of ours
/// that nobody listens on. Best effort; what stays does no harm.
fn remove_stale_temporaries(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let of_ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        let path = entry.path();
        if of_ours && is_socket && matches!(occupant::occupant(&path), Ok(Occupant::DeadSocket)) {
            let removed = fs::remove_file(&path);
            tracing::debug!(path = %path.display(), ok = removed.is_ok(), "stale temporary socket");
        }
    }
}

/// A listening, non-blocking stream socket at `path` that everybody whom `mode` lets may connect to.
fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(UnixListener::from(socket))
}
