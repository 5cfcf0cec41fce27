//! What is at a path where we want a socket. Looks and asks; changes nothing.

use crate::transport::greeting;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::{
    fs,
    io::{self, Read as _},
    os::unix::{fs::FileTypeExt as _, net::UnixStream},
    path::Path,
    time::Duration,
};

/// How long a live server may take to greet; Istio's own probe waits as long.
const GREETS_WITHIN: Duration = Duration::from_secs(1);

/// Who has a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    /// Nobody.
    Nobody,
    /// A socket that no process listens on.
    DeadSocket,
    /// A live finial agent.
    Agent { pid: i32 },
    /// A live server that is none of ours, or one that does not answer.
    Stranger { pid: i32 },
    /// Something that is no socket: a file, a directory, a symbolic link.
    NotASocket(FileKind),
}

/// What is there instead of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, wherever it leads.
    Link,
    /// A device or a pipe.
    Special,
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
            Self::Special => "a device or pipe",
        })
    }
}

/// Looks at `path` and, when it is a socket, asks who listens. Blocks for a second at most.
pub(super) fn occupant(path: &Path) -> io::Result<Occupant> {
    if let Some(kind) = non_socket(path)? {
        return Ok(Occupant::NotASocket(kind));
    }
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Occupant::Nobody),
        Err(Errno::CONNREFUSED) => return Ok(Occupant::DeadSocket),
        // Its queue is full, or it is no stream socket: somebody's, and not for us to take.
        Err(Errno::AGAIN | Errno::PROTOTYPE) => return Ok(Occupant::Stranger { pid: 0 }),
        Err(errno) => return Err(errno.into()),
    }
    let mut stream = UnixStream::from(socket);
    let pid = getsockopt(&stream, sockopt::PeerCredentials).map_or(0, |peer| peer.pid());
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(GREETS_WITHIN))?;
    // Our greeting is sent in one write, so one read has all of it.
    let mut octets = [0; 512];
    let read = stream.read(&mut octets).unwrap_or(0);
    let ours = octets.get(..read).is_some_and(greeting::is_ours);
    Ok(if ours { Occupant::Agent { pid } } else { Occupant::Stranger { pid } })
}

/// What is at `path` if it is no socket; `None` for a socket and for nothing.
pub(super) fn non_socket(path: &Path) -> io::Result<Option<FileKind>> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(match () {
        () if kind.is_socket() => None,
        () if kind.is_symlink() => Some(FileKind::Link),
        () if kind.is_dir() => Some(FileKind::Directory),
        () if kind.is_file() => Some(FileKind::File),
        () => Some(FileKind::Special),
    })
}
