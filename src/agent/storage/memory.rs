//! Where the workloads' identities wait for the next agent process: a directory in memory, never on
//! disk, so that no private key of a workload is ever written to a medium that keeps it.

use crate::agent::digest;
use rustix::fs::Access;
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

/// The kernel's numbers of its two file systems in memory (linux/magic.h).
const TMPFS_MAGIC: u32 = 0x0102_1994;
const RAMFS_MAGIC: u32 = 0x8584_58f6;

/// Whose only use is that it is in memory on most systems.
const RUN_DIRECTORY: &str = "/run/finial";
const SHARED_MEMORY: &str = "/dev/shm";

/// The file for the agent whose state is in `data_dir`, which exists: there if that is in memory, else in
/// /run/finial, else in /dev/shm. None when no place is in memory; then nothing is handed over.
#[must_use]
pub fn handover_path(data_dir: &Path) -> Option<PathBuf> {
    // Several agents of one node (tests, `finial dev`) keep apart by their data directories.
    let canonical = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let digest = digest::sha256_hex(canonical.as_os_str().as_bytes());
    let name = format!("finial-{}.svids", digest.get(..16).unwrap_or_default());
    let run = Path::new(RUN_DIRECTORY);
    // Open to all: an operator may put the workloads' socket there too. The file itself is private.
    match DirBuilder::new().mode(0o755).create(run) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            tracing::debug!(path = RUN_DIRECTORY, %error, "directory not available");
        }
        _ => {}
    }
    let places = [data_dir, run, Path::new(SHARED_MEMORY)];
    let place = places.into_iter().find(|place| in_memory(place) && is_writable(place));
    place.map(|place| place.join(name))
}

/// Which run of the kernel this is: what was in memory before a reboot is of no use after it.
///
/// # Errors
/// When /proc is not there.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn in_memory(directory: &Path) -> bool {
    // The kernel's type of this field differs between architectures; the numbers fit into 32 bits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "magic numbers")]
    rustix::fs::statfs(directory)
        .is_ok_and(|found| matches!(found.f_type as u32, TMPFS_MAGIC | RAMFS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_in_memory_and_differs_between_agents() {
        let on_disk = tempfile::tempdir_in(".").unwrap();
        let path = handover_path(on_disk.path()).unwrap();
        assert!(!path.starts_with(on_disk.path()) && in_memory(path.parent().unwrap()), "{path:?}");
        let other = tempfile::tempdir_in(".").unwrap();
        assert_ne!(handover_path(other.path()), Some(path));
    }

    #[test]
    fn a_data_directory_in_memory_is_the_place_itself() {
        let dir = tempfile::tempdir_in(SHARED_MEMORY).unwrap();
        assert_eq!(handover_path(dir.path()).unwrap().parent(), Some(dir.path()));
    }
}
