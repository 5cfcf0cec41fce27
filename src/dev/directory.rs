//! The directory of everything that `finial dev` keeps: a temporary one is gone at the end, whatever
//! the end is.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// The state directory. Dropping it removes a temporary one.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    is_temporary: bool,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} as state directory", path.display())]
pub struct DirectoryError {
    path: PathBuf,
    source: io::Error,
}

/// It holds private keys.
const MODE: u32 = 0o700;

impl Directory {
    /// The directory `kept`, made if it is not there; else a new one below `temporary`.
    ///
    /// # Errors
    /// When it cannot be made or is no directory.
    pub fn open(kept: Option<&Path>, temporary: &Path) -> Result<Self, DirectoryError> {
        let (path, is_temporary) = kept.map_or_else(
            || {
                let number = uuid::Uuid::new_v4().simple().to_string();
                // Short, for a socket's path has 107 bytes.
                let short = number.get(..8).unwrap_or_default();
                (temporary.join(format!("finial-{short}")), true)
            },
            |kept| (kept.to_owned(), false),
        );
        let failed = |source| DirectoryError { path: path.clone(), source };
        // One that is kept may be there already; a temporary one that is would be somebody else's.
        DirBuilder::new().recursive(!is_temporary).mode(MODE).create(&path).map_err(failed)?;
        // What attestation sees of an executable is its real path.
        let path = fs::canonicalize(&path).map_err(failed)?;
        Ok(Self { path, is_temporary })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is gone at the end.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    /// Where the Envoys keep their configurations, logs and admin sockets.
    #[must_use]
    pub fn envoys(&self) -> PathBuf {
        self.path.join("envoy")
    }

    /// The server's own directory.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.path.join("server")
    }

    /// The agent's own directory.
    #[must_use]
    pub fn agent(&self) -> PathBuf {
        self.path.join("agent")
    }

    /// The socket of the server's API.
    #[must_use]
    pub fn server_socket(&self) -> PathBuf {
        self.path.join("server.sock")
    }

    /// The socket for workloads.
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.path.join("agent.sock")
    }

    /// What the agent knows its server by.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.path.join("bundle.pem")
    }

    /// The log of server and agent.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("finial.log")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_temporary {
            // Nobody is left to tell, and the system empties its temporary directory.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_temporary_directory_is_private_and_gone_at_the_end() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open(None, parent.path()).unwrap();
        fs::write(directory.log(), "x").unwrap();
        let mode = fs::metadata(directory.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        drop(directory);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_kept_directory_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let open = || Directory::open(Some(&path), parent.path());
        drop(open().unwrap());
        assert!(open().is_ok(), "and is used again");
        assert!(path.is_dir());
    }
}
