//! Where the authority's private keys are kept, by name: in memory, or in one file of SPIRE's form,
//! `{"keys": {"x509-CA-A": "<base64 of PKCS#8>"}}`.
//!
//! Owns the file: nobody else writes it while the server runs. It is replaced whole and durably, kept
//! readable by its owner only, and refused when somebody else could have read or written it. A damaged
//! file is refused too: to start over silently would make every workload distrust every other. Names
//! that finial does not use are kept. Every call blocks.

mod error;
mod file;

pub use error::{Damage, KeyStoreError};

use crate::x509::{KeyPair, SecretKey, key::KeyError};
use file::Keys;
use parking_lot::Mutex;
use std::{
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
