//! The agent's own private keys: `keys.json` in SPIRE's form, or memory only.
//!
//! Two slots: a renewal makes its key in the slot that is not in use, so that a crash at any moment
//! leaves the key of the SVID that is stored. Blocks; called on the blocking pool.

use super::file::{self, FileError};
use crate::{
    agent::config::KeyManager,
    x509::{KeyPair, PublicKey, SecretKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// The two places of an agent's key, by SPIRE's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// `agent-svid-A`
    A,
    /// `agent-svid-B`
    B,
}

/// The keys that there are.
#[derive(Debug)]
pub struct Keys {
    path: Option<PathBuf>,
    by_id: Mutex<BTreeMap<String, SecretKey>>,
}

/// A key that was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The keys cannot be encoded, which for these types cannot happen.
    #[error("cannot encode the keys")]
    Encode(#[from] serde_json::Error),
}

/// 1 MiB; two keys take 500 bytes.
const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    keys: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Storable<'a> {
    keys: BTreeMap<&'a str, &'a str>,
}

impl Slot {
    /// SPIRE's name of the slot.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::A => "agent-svid-A",
            Self::B => "agent-svid-B",
        }
    }

    /// The other slot.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl Keys {
    /// Loads the keys of a key manager. A damaged file is set aside at `unix_now`.
    ///
    /// # Errors
    /// When the directory cannot be made or the file cannot be read.
    pub fn open(manager: &KeyManager, unix_now: i64) -> Result<Self, FileError> {
        let KeyManager::Disk { directory } = manager else {
            return Ok(Self { path: None, by_id: Mutex::default() });
        };
        file::create_directory(directory)?;
        let path = directory.join("keys.json");
        let by_id = match file::read(&path, MAX_BYTES)? {
            None => BTreeMap::new(),
            Some(content) => parse(&content).unwrap_or_else(|| {
                tracing::warn!(path = %path.display(), "key file is damaged");
                file::quarantine(&path, unix_now);
                BTreeMap::new()
            }),
        };
        Ok(Self { path: Some(path), by_id: Mutex::new(by_id) })
    }

    /// Whether keys are gone after a restart.
    #[must_use]
    pub const fn are_volatile(&self) -> bool {
        self.path.is_none()
    }

    /// The slot and private half of `public`, if it is here.
    #[must_use]
    pub fn find(&self, public: &PublicKey) -> Option<(Slot, SecretKey)> {
        let by_id = self.by_id.lock();
        [Slot::A, Slot::B].into_iter().find_map(|slot| {
            let secret = by_id.get(slot.id())?;
            let pair = KeyPair::load(secret).ok()?;
            (pair.public_key() == public).then(|| (slot, secret.clone()))
        })
    }

    /// Puts a key into a slot, in place of the one that was there.
    ///
    /// # Errors
    /// When it cannot be stored; then it is not in the slot either.
    pub fn put(&self, slot: Slot, secret: SecretKey) -> Result<(), KeysError> {
        let mut by_id = self.by_id.lock();
        let mut next = by_id.clone();
        next.insert(slot.id().to_owned(), secret);
        if let Some(path) = &self.path {
            store(path, &next)?;
        }
        *by_id = next;
        Ok(())
    }
}

fn parse(content: &[u8]) -> Option<BTreeMap<String, SecretKey>> {
    let stored: Stored<'_> = serde_json::from_slice(content).ok()?;
    let keys = stored.keys.into_iter().map(|(id, encoded)| {
        let secret = SecretKey::from_pkcs8(STANDARD.decode(encoded).ok()?);
        KeyPair::load(&secret).ok()?;
        Some((id.to_owned(), secret))
    });
    keys.collect()
}

fn store(path: &Path, keys: &BTreeMap<String, SecretKey>) -> Result<(), KeysError> {
    let encoded: Vec<_> = keys
        .iter()
        .map(|(id, secret)| (id.as_str(), Zeroizing::new(STANDARD.encode(secret.pkcs8_der()))))
        .collect();
    let keys = encoded.iter().map(|(id, text)| (*id, text.as_str())).collect();
    // Room for everything at once, so that growing leaves no unwiped copy behind.
    let bytes = encoded.iter().map(|(id, text)| id.len() + text.len() + 16).sum::<usize>() + 64;
    let mut content = Zeroizing::new(Vec::with_capacity(bytes));
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut *content, indented);
    Storable { keys }.serialize(&mut serializer)?;
    file::write(path, &content)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::KeyType;
    use std::fs;

    fn disk(dir: &Path) -> Keys {
        Keys::open(&KeyManager::Disk { directory: dir.to_owned() }, 7).unwrap()
    }

    fn key() -> (PublicKey, SecretKey) {
        let pair = KeyPair::generate(KeyType::EcP256).unwrap();
        (pair.public_key().clone(), pair.secret_key().unwrap())
    }

    #[test]
    fn keys_on_disk_survive_in_spires_form() {
        let dir = tempfile::tempdir().unwrap();
        let ((public, secret), (other_public, other)) = (key(), key());
        let keys = disk(dir.path());
        keys.put(Slot::A, secret.clone()).unwrap();
        keys.put(Slot::B, other).unwrap();
        let again = disk(dir.path());
        assert_eq!(again.find(&public).unwrap().0, Slot::A);
        assert_eq!(again.find(&other_public).unwrap().0, Slot::B);
        assert!(again.find(&key().0).is_none());
        let text = fs::read_to_string(dir.path().join("keys.json")).unwrap();
        let first = format!(
            "{{\n\t\"keys\": {{\n\t\t\"agent-svid-A\": \"{}\",\n",
            STANDARD.encode(secret.pkcs8_der())
        );
        assert!(text.starts_with(&first), "{text}");
    }

    #[test]
    fn keys_in_memory_leave_nothing_on_disk_and_do_not_survive() {
        let keys = Keys::open(&KeyManager::Memory, 7).unwrap();
        let (public, secret) = key();
        keys.put(Slot::A, secret).unwrap();
        assert!(keys.are_volatile() && keys.find(&public).is_some());
        assert!(Keys::open(&KeyManager::Memory, 7).unwrap().find(&public).is_none());
    }

    #[test]
    fn a_key_file_truncated_anywhere_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let (public, secret) = key();
        disk(dir.path()).put(Slot::A, secret).unwrap();
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(disk(dir.path()).find(&public).is_none(), "used {end} of {}", whole.len());
            assert!(!path.exists() && dir.path().join("keys.json.corrupt-7").exists());
        }
    }
}
