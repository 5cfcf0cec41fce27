//! Who is at the other end of a Unix socket, as the kernel says.
//!
//! Owns a peer's credentials and a handle on its process, taken at accept; refuses to know pods,
//! selectors or what the peer wants. The credentials name the process that connected: a descriptor it
//! passed on keeps speaking in its name.

use nix::{
    errno::Errno,
    sys::socket::{getsockopt, sockopt},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags},
};
use std::{
    fs, future, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};
use tokio::net::unix::pipe;

/// The process that opened a connection.
#[derive(Debug)]
pub struct PeerCred {
    /// Its process id in our PID namespace. Valid for as long as [`PeerCred::is_alive`].
    pub pid: i32,
    /// Its effective user id when it connected.
    pub uid: u32,
    /// Its effective group id when it connected.
    pub gid: u32,
    process: Process,
}

/// What tells this process from a later one with the same id.
#[derive(Debug)]
enum Process {
    /// The kernel's handle; readable once the process has ended.
    Pidfd(OwnedFd),
    /// The same, registered with the runtime. It is no pipe, but this is tokio's one safe type that
    /// waits for a descriptor it knows nothing of; it is never read from.
    Watched(pipe::Receiver),
    /// Clock ticks from boot to its start, where the kernel has no pidfd for us (before Linux 5.3).
    Started(u64),
    /// In a PID namespace that we cannot see into.
    Unseen,
}

/// Why a peer can not be named. Its connection must be closed.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The process that connected has ended.
    #[error("the process that connected, pid {pid}, has ended")]
    Gone {
        /// Its process id.
        pid: i32,
    },
    /// The process lives in a PID namespace that we cannot see into.
    #[error(
        "the peer is in a pid namespace that this process cannot see (pid 0); run with hostPID: true"
    )]
    Invisible,
    /// The kernel does not answer.
    #[error("the kernel does not say who connected")]
    Credentials(#[source] Errno),
    /// A handle on the process could not be had.
    #[error("no handle on process {pid}")]
    Process {
        /// Its process id.
        pid: i32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PeerError {
    /// Whether this process or machine has no file descriptors left.
    pub(super) fn is_out_of_descriptors(&self) -> bool {
        let errno = match self {
            Self::Credentials(errno) => *errno,
            Self::Process { source, .. } => Errno::from_raw(source.raw_os_error().unwrap_or(0)),
            Self::Gone { .. } | Self::Invisible => return false,
        };
        matches!(errno, Errno::EMFILE | Errno::ENFILE)
    }
}

impl PeerCred {
    /// Asks the kernel who opened `connection`.
    ///
    /// # Errors
    /// When the process cannot be seen or has ended, or the kernel refuses.
    pub fn of_connection(connection: &impl AsFd) -> Result<Self, PeerError> {
        let socket = connection.as_fd();
        let credentials =
            getsockopt(&socket, sockopt::PeerCredentials).map_err(PeerError::Credentials)?;
        let pid = credentials.pid();
        if pid <= 0 {
            return Err(PeerError::Invisible);
        }
        let process = match getsockopt(&socket, sockopt::PeerPidfd) {
            Ok(pidfd) => Process::Pidfd(pidfd),
            // Already reaped (Linux 6.5 and on).
            Err(Errno::EINVAL | Errno::ESRCH) => return Err(PeerError::Gone { pid }),
            Err(Errno::ENOPROTOOPT) => Process::with_id(pid)?,
            Err(errno) => return Err(PeerError::Credentials(errno)),
        };
        let peer = Self { pid, uid: credentials.uid(), gid: credentials.gid(), process };
        // Newer kernels give a handle on a process that has ended; its id may be another's by now.
        if peer.is_alive() { Ok(peer) } else { Err(PeerError::Gone { pid }) }
    }

    /// The same, but a process that cannot be seen is one too, with pid 0 and never vouched for: for whoever
    /// serves anybody whom the socket's own mode lets in.
    ///
    /// # Errors
    /// When the process has ended, or the kernel refuses.
    pub fn seen_or_not(connection: &impl AsFd) -> Result<Self, PeerError> {
        match Self::of_connection(connection) {
            Err(PeerError::Invisible) => {
                let credentials = getsockopt(&connection.as_fd(), sockopt::PeerCredentials);
                let credentials = credentials.map_err(PeerError::Credentials)?;
                let (uid, gid) = (credentials.uid(), credentials.gid());
                Ok(Self { pid: 0, uid, gid, process: Process::Unseen })
            }
            known => known,
        }
    }

    /// The process that has `pid` now, without a connection: for whoever asks about it, never for one who
    /// would be given something. User and group are those of its files in /proc.
    ///
    /// # Errors
    /// When there is no such process, or the kernel refuses.
    pub fn of_process(pid: i32) -> Result<Self, PeerError> {
        let process = Process::with_id(pid)?;
        let owner = fs::metadata(format!("/proc/{pid}"))
            .map_err(|source| PeerError::Process { pid, source })?;
        Ok(Self { pid, uid: owner.uid(), gid: owner.gid(), process })
    }

    /// Whether the process that connected still runs, so that its id still means it. What is read
    /// about the id (in /proc) counts only if this holds *after* the reading.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match &self.process {
            Process::Pidfd(pidfd) => !is_readable(pidfd.as_fd()),
            Process::Watched(pidfd) => !is_readable(pidfd.as_fd()),
            Process::Started(ticks) => start_ticks(self.pid).is_ok_and(|now| now == *ticks),
            Process::Unseen => false,
        }
    }

    /// The kernel's handle on the process, where it has one.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match &self.process {
            Process::Pidfd(pidfd) => Some(pidfd.as_fd()),
            Process::Watched(pidfd) => Some(pidfd.as_fd()),
            Process::Started(_) | Process::Unseen => None,
        }
    }

    /// The same peer, watched by the current runtime, so that [`PeerCred::exited`] can tell.
    pub(super) fn watched(mut self) -> io::Result<Self> {
        if let Process::Pidfd(pidfd) = self.process {
            self.process = Process::Watched(pipe::Receiver::from_owned_fd_unchecked(pidfd)?);
        }
        Ok(self)
    }

    /// Completes when the process has ended; never where the kernel has no pidfd, and only
    /// [`PeerCred::is_alive`] can tell. Dropping it is safe.
    pub(super) async fn exited(&self) {
        match &self.process {
            // An error means that the runtime ends; then so does the connection.
            Process::Watched(pidfd) => drop(pidfd.readable().await),
            Process::Pidfd(_) | Process::Started(_) | Process::Unseen => future::pending().await,
        }
    }
}

impl Process {
    /// A handle on whatever process has `pid` now: all that kernels before Linux 6.5 offer. A reuse
    /// of the id between connect and accept goes unseen; one after that does not.
    fn with_id(pid: i32) -> Result<Self, PeerError> {
        let id = Pid::from_raw(pid).ok_or(PeerError::Invisible)?;
        match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self::Pidfd(pidfd)),
            Err(rustix::io::Errno::SRCH) => Err(PeerError::Gone { pid }),
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                let ticks = start_ticks(pid);
                ticks.map(Self::Started).map_err(|source| PeerError::Process { pid, source })
            }
            Err(errno) => Err(PeerError::Process { pid, source: errno.into() }),
        }
    }
}

/// Whether a pidfd says that its process has ended. Says so too when the kernel does not answer: we
/// never vouch for a process that we cannot see.
fn is_readable(pidfd: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut asked = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    !matches!(rustix::event::poll(&mut asked, Some(&now)), Ok(0))
}

/// When the process with `pid` started, in clock ticks since boot.
fn start_ticks(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_ticks(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Field 22 of /proc/PID/stat. The second field is the program's name in parentheses and may hold
/// spaces and parentheses itself, so counting starts after the last one (proc(5)).
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::net::UnixStream, process::Command};

    #[test]
    fn a_connection_names_the_process_that_opened_it() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = PeerCred::of_connection(&ours).unwrap();
        assert_eq!(peer.pid.unsigned_abs(), std::process::id());
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());
        assert!(peer.is_alive());
    }

    #[test]
    fn a_handle_by_id_notices_that_the_process_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let by_pidfd = PeerCred { pid, uid: 0, gid: 0, process: Process::with_id(pid).unwrap() };
        let by_start =
            PeerCred { process: Process::Started(start_ticks(pid).unwrap()), pid, uid: 0, gid: 0 };
        assert!(by_pidfd.is_alive() && by_start.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!by_pidfd.is_alive() && !by_start.is_alive());
        assert!(matches!(Process::with_id(pid), Err(PeerError::Gone { .. })));
    }

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for name in ["sh", "a b", "x) S 1 2", "(("] {
            assert_eq!(parse_start_ticks(&format!("99 ({name}) {rest}")), Some(4_711), "{name}");
        }
        assert_eq!(parse_start_ticks("99 (sh) S 1 2"), None);
    }
}
