//! Private files: written whole or not at all, readable by nobody else, set aside when damaged.
//!
//! Every function blocks; the caller is on the blocking pool or has not started yet.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The directory is missing and cannot be made.
    #[error("cannot make directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written; what was there before is untouched.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file belongs to somebody who could have put anything into it.
    #[error("{} belongs to user {owner}, expected user {expected}; it is not used", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        expected: u32,
    },
    /// The file is larger than anything that is kept.
    #[error("{} has {bytes} bytes, expected at most {limit}", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Makes `path` and its missing ancestors, for the owner alone.
///
/// # Errors
/// When one cannot be made.
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|source| FileError::Directory { path: path.to_owned(), source })
}

/// Replaces the content of `path`: whoever opens it, at any moment and after any crash, finds the old
/// content or the new.
///
/// # Errors
/// When it cannot be written; then the old content stays.
pub fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let temporary = with_suffix(path, ".tmp");
    let written = write_new(&temporary, content)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_directory(path));
    written.map_err(|source| {
        // Best effort: what stays is overwritten by the next attempt.
        let _removed = fs::remove_file(&temporary);
        FileError::Write { path: path.to_owned(), source }
    })
}

/// The content of `path` if it is there, in memory that is wiped. A link is not followed, a foreign
/// owner not believed, and permissions for others are taken away.
///
/// # Errors
/// When it is there and cannot be used.
pub fn read(path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let unreadable = |source| FileError::Read { path: path.to_owned(), source };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(unreadable(errno.into())),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    let expected = rustix::process::geteuid().as_raw();
    if metadata.uid() != expected {
        return Err(FileError::Owner { path: path.to_owned(), owner: metadata.uid(), expected });
    }
    let bytes = metadata.len();
    if bytes > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes, limit });
    }
    if metadata.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = metadata.mode() & 0o777, "private file was open to others");
        file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(unreadable)?;
    }
    // The whole size at once, so that growing leaves no unwiped copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(bytes).unwrap_or(0) + 1));
    file.take(limit).read_to_end(&mut content).map_err(unreadable)?;
    Ok(Some(content))
}

/// Renames a damaged file out of the way, to `PATH.corrupt-<unix time>`, for somebody to look at.
pub fn quarantine(path: &Path, unix_now: i64) {
    let aside = with_suffix(path, &format!(".corrupt-{unix_now}"));
    match fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(kept_as = %aside.display(), "damaged file set aside"),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "damaged file cannot be set aside");
        }
    }
}

/// Removes `path` if it is there.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::Write { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// The temporary name is ours alone: a leftover of a crash is removed first, anything that appears
/// between (a link, say) makes the exclusive creation fail.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(FILE_MODE))?);
    file.write_all(content)?;
    file.sync_all()
}

/// Without this the rename itself may be lost at a power cut.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_private_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write(&path, b"old").unwrap();
        // What a crash while writing leaves behind is no obstacle.
        fs::write(dir.path().join("state.tmp"), "half").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap().as_slice(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write(&path, b"old").unwrap();
        fs::create_dir(dir.path().join("state.tmp")).unwrap();
        assert!(matches!(write(&path, b"new"), Err(FileError::Write { .. })));
        assert_eq!(read(&path, 10).unwrap().unwrap().as_slice(), b"old");
    }

    #[test]
    fn links_and_oversized_files_are_not_read_and_open_permissions_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::write(&path, "0123456789").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(matches!(read(&dir.path().join("link"), 10), Err(FileError::Read { .. })));
        assert!(matches!(read(&path, 9), Err(FileError::TooLarge { bytes: 10, limit: 9, .. })));
        assert!(read(&path, 10).unwrap().is_some());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(read(&dir.path().join("missing"), 10).unwrap().is_none());
    }
}
