//! The names of users and groups: /etc/passwd and /etc/group of the agent's own file system.
//!
//! Read here and not asked of the C library: its name service loads plugins, which a static binary
//! cannot, and may ask the network, which attestation must not wait for. Names that only a directory
//! service knows are therefore unknown. A file is read again when it has changed, which is
//! looked at once a second; reading takes microseconds and happens on the caller's task.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Names of users and groups by their numbers.
#[derive(Debug)]
pub struct Accounts {
    users: NameFile,
    groups: NameFile,
}

/// A file of names that could not be read. That it does not exist is no error: then nobody has a name.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is larger than any list of accounts.
    #[error("{} has more than {MAX_BYTES} bytes, expected a list of accounts", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
}

/// So that a thousand callers at once do not ask a thousand times.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// 16 MiB, a quarter of a million accounts.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

impl Accounts {
    /// The system's files.
    #[must_use]
    pub fn system() -> Self {
        Self::from_files("/etc/passwd".into(), "/etc/group".into())
    }

    /// Files of the same form elsewhere.
    #[must_use]
    pub fn from_files(users: PathBuf, groups: PathBuf) -> Self {
        Self { users: NameFile::new(users), groups: NameFile::new(groups) }
    }

    /// The name of a user, if it has one.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn user(&self, uid: u32) -> Result<Option<Arc<str>>, AccountsError> {
        self.users.name(uid)
    }

    /// The name of a group, if it has one.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn group(&self, gid: u32) -> Result<Option<Arc<str>>, AccountsError> {
        self.groups.name(gid)
    }
}

/// One file of lines `name:password:number:…`, and what it said when it was last read.
#[derive(Debug)]
struct NameFile {
    path: PathBuf,
    last_read: Mutex<Option<LastRead>>,
}

#[derive(Debug)]
struct LastRead {
    stamp: Stamp,
    checked: Instant,
    names: HashMap<u32, Arc<str>>,
}

/// What tells one content of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl NameFile {
    const fn new(path: PathBuf) -> Self {
        Self { path, last_read: Mutex::new(None) }
    }

    fn name(&self, number: u32) -> Result<Option<Arc<str>>, AccountsError> {
        let mut last_read = self.last_read.lock();
        let now = Instant::now();
        if let Some(last) = &*last_read
            && now.duration_since(last.checked) < CHECK_EVERY
        {
            return Ok(last.names.get(&number).cloned());
        }
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.unreadable(source)),
        };
        let stamp = Stamp::of(&metadata);
        let names = match last_read.take() {
            Some(last) if last.stamp == stamp => last.names,
            _ => self.read()?,
        };
        let name = names.get(&number).cloned();
        *last_read = Some(LastRead { stamp, checked: now, names });
        Ok(name)
    }

    fn read(&self) -> Result<HashMap<u32, Arc<str>>, AccountsError> {
        let mut text = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text))
            .map_err(|source| self.unreadable(source))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(AccountsError::TooLarge { path: self.path.clone() });
        }
        Ok(parse(&String::from_utf8_lossy(&text)))
    }

    fn unreadable(&self, source: io::Error) -> AccountsError {
        AccountsError::Read { path: self.path.clone(), source }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Self { inode: metadata.ino(), bytes: metadata.size(), changed }
    }
}

/// The first name of each number, as the C library answers. Lines that are no accounts (comments, and
/// the `+` lines of NIS) are skipped.
fn parse(text: &str) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (name, number) = (fields.next().unwrap_or_default(), fields.nth(1));
        let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
        if name.is_empty() || name.starts_with(['#', '+', '-']) {
            continue;
        }
        names.entry(number).or_insert_with(|| name.into());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(users: &str) -> (tempfile::TempDir, Accounts) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        fs::write(&path, users).unwrap();
        let accounts = Accounts::from_files(path, dir.path().join("no-such-file"));
        (dir, accounts)
    }

    #[test]
    fn the_first_name_of_a_number_counts_and_odd_lines_are_skipped() {
        let (_dir, accounts) = accounts(
            "# users\nroot:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\n+nis:x:9:\nbroken\nweb:x:33:33:",
        );
        let user = |uid| accounts.user(uid).unwrap();
        assert_eq!(user(0).as_deref(), Some("root"));
        assert_eq!(user(33).as_deref(), Some("web"));
        assert_eq!((user(9), user(1)), (None, None));
    }

    #[test]
    fn a_missing_file_means_that_nobody_has_a_name() {
        let (_dir, accounts) = accounts("");
        assert_eq!(accounts.group(0).unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replaced_file_is_read_again_after_a_second() {
        let (dir, accounts) = accounts("old:x:7:7:");
        assert_eq!(accounts.user(7).unwrap().as_deref(), Some("old"));
        fs::write(dir.path().join("next"), "new:x:7:7:").unwrap();
        fs::rename(dir.path().join("next"), dir.path().join("passwd")).unwrap();
        tokio::time::advance(CHECK_EVERY).await;
        assert_eq!(accounts.user(7).unwrap().as_deref(), Some("new"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_not_a_missing_name() {
        let dir = tempfile::tempdir().unwrap();
        let accounts = Accounts::from_files(dir.path().to_owned(), dir.path().to_owned());
        assert!(matches!(accounts.user(0), Err(AccountsError::Read { .. })));
    }
}
