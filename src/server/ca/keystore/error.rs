//! Why keys cannot be read or kept, in words that say what to do.

use super::secret::SecretError;
use crate::x509::key::KeyError;
use std::{io, path::PathBuf};

/// Why keys cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The operating system refused.
    #[error("cannot {operation} the key file {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A link could lead to a file of anybody's choice.
    #[error(
        "the key file {path} is a symbolic link, expected a regular file: name the file itself",
        path = .0.display()
    )]
    SymbolicLink(PathBuf),
    /// A directory, device or pipe.
    #[error("the key file {path} is not a regular file", path = .0.display())]
    NotAFile(PathBuf),
    /// Somebody else could have read or replaced the keys.
    #[error(
        "the key file {path} has mode {mode:04o}, expected 0600: others may know its keys; if they \
         do not, run: chmod 600 {path}",
        path = path.display()
    )]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else can read and replace the keys.
    #[error(
        "the key file {path} belongs to user {owner}, expected {expected}, who runs the server",
        path = path.display()
    )]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it must be.
        expected: u32,
    },
    /// Far larger than a few keys.
    #[error("the key file {path} is larger than {max} bytes", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// Not what was written.
    #[error(
        "the key file {path} is damaged: restore it from a backup; without one, move it away and the \
         server makes a new authority, which workloads trust when they have the new bundle",
        path = path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: Damage,
    },
    /// The Secret is of no use.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// What is wrong in a key file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Not JSON of the expected form.
    #[error("expected the JSON object {{\"keys\": {{\"<name>\": \"<base64>\"}}}}")]
    Json(#[source] serde_json::Error),
    /// Not base64.
    #[error("key {0:?} is not base64")]
    Base64(String, #[source] base64::DecodeError),
    /// Not a private key.
    #[error("key {0:?} is unusable")]
    Key(String, #[source] KeyError),
}
