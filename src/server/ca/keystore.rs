//! Where the authority's private keys are kept, by name: in memory, or in one file of SPIRE's form,
//! `{"keys": {"x509-CA-A": "<base64 of PKCS#8>"}}`.
//!
//! Owns the file: nobody else writes it while the server runs. It is replaced whole and durably, kept
//! readable by its owner only, and refused when somebody else could have read or written it. A damaged
//! file is refused too: to start over silently would make every workload distrust every other. Names
//! that finial does not use are kept. Every call blocks.

mod file;

use crate::x509::{KeyPair, SecretKey, key::KeyError};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Private keys by name. Clones share them.
#[derive(Clone, Debug)]
pub struct KeyStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The file that holds the same keys; `None` keeps them in memory.
    file: Option<PathBuf>,
    keys: Mutex<Keys>,
}

type Keys = BTreeMap<String, SecretKey>;

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

impl KeyStore {
    /// Keys that end with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Arc::new(Inner { file: None, keys: Mutex::default() }))
    }

    /// The keys of a file; none while the file does not exist.
    ///
    /// # Errors
    /// When the file cannot be read, others have access to it, or it is damaged.
    pub fn open(path: &Path) -> Result<Self, KeyStoreError> {
        let keys = file::read(path)?;
        Ok(Self(Arc::new(Inner { file: Some(path.to_owned()), keys: Mutex::new(keys) })))
    }

    /// The key of that name, ready to sign.
    ///
    /// # Errors
    /// When the crypto library refuses it.
    pub fn load(&self, name: &str) -> Result<Option<KeyPair>, KeyError> {
        let secret = self.0.keys.lock().get(name).cloned();
        secret.map(|secret| KeyPair::load(&secret)).transpose()
    }

    /// Keeps a key under that name instead of the one that it had. On success the key survives a crash
    /// of the machine.
    ///
    /// # Errors
    /// When the file cannot be replaced; nothing has changed then.
    pub fn save(&self, name: &str, secret: SecretKey) -> Result<(), KeyStoreError> {
        let mut keys = self.0.keys.lock();
        let mut changed = keys.clone();
        changed.insert(name.to_owned(), secret);
        if let Some(path) = &self.0.file {
            file::replace(path, &changed)?;
        }
        *keys = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
