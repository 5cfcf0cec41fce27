//! Where the authority's private keys are kept, by name: in memory, in one file of SPIRE's form,
//! `{"keys": {"x509-CA-A": "<base64 of PKCS#8>"}}`, or in a Kubernetes Secret that holds such a file.
//!
//! Owns the file or Secret: nobody else writes it while the server runs. It is replaced whole and durably.
//! A file is kept readable by its owner only, and refused when somebody else could have read or written
//! it. What is damaged is refused too: to start over silently would make every workload distrust every
//! other. Names that finial does not use are kept. Every call but [`KeyStore::in_secret`] blocks.

mod error;
mod file;
mod secret;

pub use error::{Damage, KeyStoreError, SecretError};
pub use secret::Memory;

use crate::{
    k8s::KubeClient,
    x509::{KeyPair, SecretKey, key::KeyError},
};
use file::Keys;
use parking_lot::Mutex;
use secret::SecretPlace;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Private keys by name. Clones share them.
#[derive(Clone, Debug)]
pub struct KeyStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    keys: Mutex<Keys>,
}

/// What holds the same keys when the process has ended.
#[derive(Debug)]
enum Place {
    Nowhere,
    File(PathBuf),
    Secret(Box<SecretPlace>),
}

impl KeyStore {
    /// Keys that end with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Place::Nowhere, Keys::new())
    }

    /// The keys of a file; none while the file does not exist.
    ///
    /// # Errors
    /// When the file cannot be read, others have access to it, or it is damaged.
    pub fn open(path: &Path) -> Result<Self, KeyStoreError> {
        let keys = file::read(path)?;
        Ok(Self::new(Place::File(path.to_owned()), keys))
    }

    /// The keys of a Kubernetes Secret, which is taken from whatever server has it, and made if there is
    /// none.
    ///
    /// # Errors
    /// When Kubernetes does not give it, or it is damaged.
    pub async fn in_secret(
        client: KubeClient,
        namespace: String,
        name: String,
    ) -> Result<Self, KeyStoreError> {
        let (place, keys) = SecretPlace::open(client, namespace, name).await?;
        Ok(Self::new(Place::Secret(Box::new(place)), keys))
    }

    fn new(place: Place, keys: Keys) -> Self {
        Self(Arc::new(Inner { place, keys: Mutex::new(keys) }))
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
    /// When the file or Secret cannot be replaced; nothing has changed then.
    pub fn save(&self, name: &str, secret: SecretKey) -> Result<(), KeyStoreError> {
        let mut keys = self.0.keys.lock();
        let mut changed = keys.clone();
        changed.insert(name.to_owned(), secret);
        match &self.0.place {
            Place::Nowhere => {}
            Place::File(path) => file::replace(path, &changed)?,
            Place::Secret(place) => place.write(&changed)?,
        }
        *keys = changed;
        Ok(())
    }

    /// What was remembered beside the keys, where they outlive the server's data.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        match &self.0.place {
            Place::Nowhere | Place::File(_) => None,
            Place::Secret(place) => place.memory(),
        }
    }

    /// Remembers this beside the keys, where they outlive the server's data; elsewhere it does nothing.
    ///
    /// # Errors
    /// When the Secret cannot be replaced; nothing has changed then.
    pub fn remember(&self, memory: Memory) -> Result<(), KeyStoreError> {
        match &self.0.place {
            Place::Nowhere | Place::File(_) => Ok(()),
            Place::Secret(place) => Ok(place.remember(&self.0.keys.lock(), memory)?),
        }
    }

    /// Whether [`KeyStore::remember`] does something.
    #[must_use]
    pub fn outlives_data(&self) -> bool {
        matches!(self.0.place, Place::Secret(_))
    }
}

#[cfg(test)]
mod tests;
