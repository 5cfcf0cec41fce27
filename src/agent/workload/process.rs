//! What /proc says of a caller's process.
//!
//! A file or directory of /proc/PID stays with the process it was opened for: once that has ended every
//! read fails, even if another process has the same number by then. Whether it was the caller's at all is
//! known only when the caller is still alive *afterwards* (A-01); [`super::attest`] asks that last of
//! all, for every attestor. Knows nothing of selectors.

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

/// An open /proc/PID.
#[derive(Debug)]
pub struct Process {
    directory: OwnedFd,
    pid: i32,
}

/// Who a process acts as. The numbers are those of the agent's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// Why /proc does not say it.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The process has ended.
    #[error("process {pid} has ended")]
    Ended {
        /// Its process id.
        pid: i32,
    },
    /// A file of /proc/PID could not be read.
    #[error("cannot read /proc/{pid}/{file}")]
    Read {
        /// Its process id.
        pid: i32,
        /// Which file.
        file: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// /proc/PID/status is not what proc(5) describes.
    #[error("/proc/{pid}/status has no usable {field} line")]
    Status {
        /// Its process id.
        pid: i32,
        /// Which line.
        field: &'static str,
    },
    /// The executable's path has bytes that no selector can hold.
    #[error("the path of the executable of process {pid} is not UTF-8: {path:?}")]
    PathText {
        /// Its process id.
        pid: i32,
        /// The path.
        path: PathBuf,
    },
}

/// 1 MiB: the largest part of status is the list of groups, of which there are at most 65,536.
const MAX_STATUS_BYTES: usize = 1024 * 1024;
/// A path has at most 4,096 bytes, and a process one per hierarchy.
const MAX_CGROUP_BYTES: u64 = 256 * 1024;
/// Enough for everything up to the groups, but for the longest lists of them.
const STATUS_CHUNK_BYTES: usize = 2_048;

impl Process {
    /// Opens what /proc has under `pid` now.
    ///
    /// # Errors
    /// When there is nothing, or it may not be opened.
    pub fn open(pid: i32) -> Result<Self, ProcessError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty()) {
            Ok(directory) => Ok(Self { directory, pid }),
            Err(errno) => Err(failed(pid, "", errno.into())),
        }
    }

    /// The path of the program that the process runs, in the process's own mount namespace; with
    /// ` (deleted)` behind it when the file is gone.
    ///
    /// # Errors
    /// When the process has ended or the agent may not look (it needs CAP_SYS_PTRACE for others').
    pub fn executable_path(&self) -> Result<String, ProcessError> {
        let path = rustix::fs::readlinkat(&self.directory, "exe", Vec::new())
            .map_err(|errno| failed(self.pid, "exe", errno.into()))?;
        path.into_string().map_err(|error| {
            let bytes = error.into_cstring().into_bytes();
            let path = String::from_utf8_lossy(&bytes).into_owned().into();
            ProcessError::PathText { pid: self.pid, path }
        })
    }

    /// The program that the process runs: the very file, whatever is at its path by now.
    ///
    /// # Errors
    /// As for [`Process::executable_path`].
    pub fn executable(&self) -> Result<File, ProcessError> {
        self.open_file("exe", OFlags::RDONLY | OFlags::NONBLOCK)
    }

    fn open_file(&self, name: &'static str, flags: OFlags) -> Result<File, ProcessError> {
        rustix::fs::openat(&self.directory, name, flags | OFlags::CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|errno| failed(self.pid, name, errno.into()))
    }
}

impl Ids {
    /// Who process `pid` acts as now.
    ///
    /// # Errors
    /// When the process has ended or its status cannot be read.
    pub fn of(pid: i32) -> Result<Self, ProcessError> {
        let failed = |source| failed(pid, "status", source);
        let mut file = File::open(format!("/proc/{pid}/status")).map_err(failed)?;
        let (mut status, mut chunk) = (Vec::new(), [0; STATUS_CHUNK_BYTES]);
        loop {
            let read = file.read(&mut chunk).map_err(failed)?;
            status.extend_from_slice(&chunk[..read]);
            let end = status.iter().rposition(|octet| *octet == b'\n').map_or(0, |last| last + 1);
            match parse_ids(&status[..end]) {
                // What follows the ids is of no interest, and making it costs the kernel most.
                Ok(ids) => return Ok(ids),
                Err(field) if read == 0 || status.len() > MAX_STATUS_BYTES => {
                    return Err(ProcessError::Status { pid, field });
                }
                Err(_) => {}
            }
        }
    }
}

/// What `/proc/PID/cgroup` says now.
///
/// # Errors
/// When the process has ended or the file cannot be read.
pub fn cgroup_file(pid: u32) -> Result<Vec<u8>, ProcessError> {
    let id = i32::try_from(pid).unwrap_or_default();
    let failed = |source| failed(id, "cgroup", source);
    let mut text = Vec::new();
    let file = File::open(format!("/proc/{pid}/cgroup")).map_err(failed)?;
    file.take(MAX_CGROUP_BYTES).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

fn failed(pid: i32, file: &'static str, source: io::Error) -> ProcessError {
    // A directory of a process that was reaped says ESRCH or ENOENT.
    let is_gone = [Errno::SRCH, Errno::NOENT]
        .iter()
        .any(|errno| source.raw_os_error() == Some(errno.raw_os_error()));
    if is_gone { ProcessError::Ended { pid } } else { ProcessError::Read { pid, file, source } }
}

/// Reads the lines `Uid`, `Gid` (real, effective, saved, file system) and `Groups` of proc(5); the
/// error is the line that is missing or malformed.
fn parse_ids(status: &[u8]) -> Result<Ids, &'static str> {
    let numbers = |name: &'static str| {
        let mut lines = status.split(|octet| *octet == b'\n');
        let line = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"));
        let text = line.and_then(|line| str::from_utf8(line).ok()).ok_or(name)?;
        let numbers = text.split_ascii_whitespace().map(str::parse::<u32>);
        numbers.collect::<Result<Vec<_>, _>>().map_err(|_| name)
    };
    let effective = |name| numbers(name)?.get(1).copied().ok_or(name);
    Ok(Ids { uid: effective("Uid")?, gid: effective("Gid")?, groups: numbers("Groups")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn effective_ids_count() {
        let status = "Name:\tUid:\t9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 20 \n";
        let ids = Ids { uid: 2, gid: 6, groups: vec![10, 20] };
        assert_eq!(parse_ids(status.as_bytes()), Ok(ids));
        let none = status.replace("10 20 ", "");
        assert_eq!(parse_ids(none.as_bytes()).unwrap().groups, Vec::<u32>::new());
    }

    #[test]
    fn a_status_with_a_line_missing_or_malformed_is_refused() {
        let lines = ["Uid:\t1\t2\t3\t4", "Gid:\t5\t6\t7\t8", "Groups:\t10"];
        for (missing, field) in [(0, "Uid"), (1, "Gid"), (2, "Groups")] {
            let mut rest = lines.to_vec();
            rest.remove(missing);
            assert_eq!(parse_ids(rest.join("\n").as_bytes()), Err(field));
        }
        assert_eq!(parse_ids(b"Uid:\t1\t-2\nGid:\t1\t1\nGroups:\t1"), Err("Uid"));
        assert_eq!(parse_ids(b"Uid:\t1\t2\nGid:\t1\t1\nGroups:\tx"), Err("Groups"));
    }

    #[test]
    fn an_open_process_that_ends_can_no_longer_be_read() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        let pid = process.pid;
        assert_eq!(Ids::of(pid).unwrap().uid, rustix::process::geteuid().as_raw());
        assert!(process.executable_path().unwrap().starts_with('/'));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(Ids::of(pid), Err(ProcessError::Ended { .. })));
        assert!(matches!(process.executable(), Err(ProcessError::Ended { .. })));
    }
}
