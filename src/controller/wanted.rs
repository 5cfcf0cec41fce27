//! An entry that the server shall have, and what tells it from others.

use super::world::Owner;
use crate::spiffe::{EntrySpec, SelectorSet, SpiffeId};
use aws_lc_rs::digest::{Context, SHA256};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::{cmp::Reverse, fmt, sync::Arc};

/// What tells entries apart: SPIFFE ID, parent and selectors. A server has one entry of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey([u8; 32]);

/// An entry that the server shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it shall hold.
    pub spec: EntrySpec,
    /// On whose behalf.
    pub owner: Owner,
    /// The UID of the pod that it is for; a static entry has none.
    pub pod: Option<Arc<str>>,
}

/// Which of two objects wins where both give the same entry: the lesser one. That is the older, then the
/// one that is not being deleted, or later, then the one with the lesser UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    created_at: i64,
    /// No deletion comes before any, a late one before an early one.
    deleted_at: Reverse<i64>,
    uid: Arc<str>,
}

impl Precedence {
    /// The precedence of an object.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        let created = meta.creation_timestamp.as_ref();
        let deleted = meta.deletion_timestamp.as_ref();
        Self {
            created_at: created.map_or(i64::MIN, |time| time.0.as_second()),
            deleted_at: Reverse(deleted.map_or(i64::MAX, |time| time.0.as_second())),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
        }
    }
}

impl EntryKey {
    /// The key of an entry. Each part is hashed with its length in front, so that no two entries have
    /// the same text (upstream's key lacks that).
    #[must_use]
    pub fn of(spec: &EntrySpec) -> Self {
        Self::new(&spec.spiffe_id, &spec.parent_id, &spec.selectors)
    }

    fn new(spiffe_id: &SpiffeId, parent_id: &SpiffeId, selectors: &SelectorSet) -> Self {
        let mut hash = Context::new(&SHA256);
        let mut part = |text: &str| {
            hash.update(&text.len().to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(spiffe_id.as_str());
        part(parent_id.as_str());
        selectors.as_slice().iter().for_each(|selector| part(selector.as_str()));
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(hash.finish().as_ref()) {
            *to = *from;
        }
        Self(key)
    }
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
