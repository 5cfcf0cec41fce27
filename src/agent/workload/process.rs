//! What /proc says of a caller's process.
//!
//! Everything is read below one directory descriptor, which stays with the process it was opened for:
//! once that has ended every read fails, even if another process has the same number by then. Whether
//! the directory was the caller's at all is known only when the caller is still alive *afterwards*
//! [`super::attest`] asks that last of all, for every attestor. Knows nothing of selectors.

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
const MAX_STATUS_BYTES: u64 = 1024 * 1024;

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

    /// Who the process acts as.
    ///
    /// # Errors
    /// When the process has ended or its status cannot be read.
    pub fn ids(&self) -> Result<Ids, ProcessError> {
        let file = self.open_file("status", OFlags::RDONLY)?;
        // Enough for all but the longest lists of groups: the kernel writes it anew for each read.
        let mut text = String::with_capacity(4_096);
        file.take(MAX_STATUS_BYTES)
            .read_to_string(&mut text)
            .map_err(|source| failed(self.pid, "status", source))?;
        parse_ids(&text).map_err(|field| ProcessError::Status { pid: self.pid, field })
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

fn failed(pid: i32, file: &'static str, source: io::Error) -> ProcessError {
    // A directory of a process that was reaped says ESRCH or ENOENT.
    let is_gone = [Errno::SRCH, Errno::NOENT]
        .iter()
        .any(|errno| source.raw_os_error() == Some(errno.raw_os_error()));
    if is_gone { ProcessError::Ended { pid } } else { ProcessError::Read { pid, file, source } }
}

/// Reads the lines `Uid`, `Gid` (real, effective, saved, file system) and `Groups` of proc(5); the
/// error is the line that is missing or malformed.
fn parse_ids(status: &str) -> Result<Ids, &'static str> {
    let line = |name: &'static str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::split_ascii_whitespace)
            .ok_or(name)
    };
    let effective = |name| line(name)?.nth(1).and_then(|number| number.parse().ok()).ok_or(name);
    let groups = line("Groups")?.map(str::parse).collect::<Result<_, _>>();
    Ok(Ids {
        uid: effective("Uid")?,
        gid: effective("Gid")?,
        groups: groups.map_err(|_| "Groups")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn effective_ids_count() {
        let status = "Name:\tUid:\t9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 20 \n";
        let ids = Ids { uid: 2, gid: 6, groups: vec![10, 20] };
        assert_eq!(parse_ids(status), Ok(ids));
        let none = status.replace("10 20 ", "");
        assert_eq!(parse_ids(&none).unwrap().groups, Vec::<u32>::new());
    }

    #[test]
    fn a_status_with_a_line_missing_or_malformed_is_refused() {
        let lines = ["Uid:\t1\t2\t3\t4", "Gid:\t5\t6\t7\t8", "Groups:\t10"];
        for (missing, field) in [(0, "Uid"), (1, "Gid"), (2, "Groups")] {
            let mut rest = lines.to_vec();
            rest.remove(missing);
            assert_eq!(parse_ids(&rest.join("\n")), Err(field));
        }
        assert_eq!(parse_ids("Uid:\t1\t-2\nGid:\t1\t1\nGroups:\t1"), Err("Uid"));
        assert_eq!(parse_ids("Uid:\t1\t2\nGid:\t1\t1\nGroups:\tx"), Err("Groups"));
    }

    #[test]
    fn an_open_process_that_ends_can_no_longer_be_read() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        assert_eq!(process.ids().unwrap().uid, rustix::process::geteuid().as_raw());
        assert!(process.executable_path().unwrap().starts_with('/'));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(process.ids(), Err(ProcessError::Ended { .. })));
        assert!(matches!(process.executable(), Err(ProcessError::Ended { .. })));
    }
}
