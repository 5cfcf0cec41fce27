//! The authorities in hand: the one that signs, the one that shall follow, and the record of the last.
//!
//! Owns how a journal and a key store become usable authorities, and never pairs a certificate with
//! another's key. Decides nothing about when.

use super::{
    config::CaConfig,
    journal::{Record, SlotId, Standing},
    keystore::{KeyStore, KeyStoreError},
    rotate::Life,
    sign::BACKDATE,
};
use crate::{
    runtime::clock::{from_unix_secs, unix_secs},
    spiffe::Bundle,
    x509::{
        KeyPair,
        issue::{Authority, IssueError},
        key::KeyError,
        lint,
        template::{AuthorityTemplate, Validity},
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// An authority with its key.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) record: Record,
    pub(super) authority: Arc<Authority>,
    /// Set once the bundle that holds it is stored.
    pub(super) published: Option<Published>,
}

/// Since when an authority is in the stored bundle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    pub(super) sequence: u64,
    /// How long it had been there at `noted`; time since then is monotonic.
    age_then: Duration,
    noted: Instant,
}

/// The two slots by what they are for.
#[derive(Clone, Default)]
pub(super) struct Slots {
    pub(super) active: Option<Slot>,
    pub(super) prepared: Option<Slot>,
    /// What the slot that is free held last; its key may be gone.
    pub(super) old: Option<Record>,
    /// How often one has followed another since the process started.
    pub(super) rotations: u64,
}

/// An authority that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// There is no key.
    #[error("cannot make a key for a new authority")]
    Key(#[from] KeyError),
    /// The key cannot be kept.
    #[error("cannot keep the key of a new authority")]
    Store(#[from] KeyStoreError),
    /// There is no certificate.
    #[error("cannot sign a new authority's certificate")]
    Issue(#[from] IssueError),
}

/// Why a record of the journal is of no use.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("its key {0:?} is not in the key store")]
    NoKey(&'static str),
    #[error("its key does not load")]
    Key(#[from] KeyError),
    #[error("it does not fit its key")]
    Authority(#[from] IssueError),
    #[error("its certificate is not in the stored bundle")]
    NotInBundle,
}

impl Published {
    pub(super) fn now(sequence: u64) -> Self {
        Self { sequence, age_then: Duration::ZERO, noted: Instant::now() }
    }

    fn remembered(sequence: u64, since: Option<i64>, now: SystemTime) -> Self {
        // A time that is unknown, or lies in the future of a clock that was set back, counts as now.
        let age = since.and_then(|since| now.duration_since(from_unix_secs(since)).ok());
        Self { sequence, age_then: age.unwrap_or_default(), noted: Instant::now() }
    }

    pub(super) fn age(&self) -> Duration {
        self.age_then + self.noted.elapsed()
    }
}

impl Slot {
    pub(super) fn life(&self) -> Life {
        Life {
            issued_at: from_unix_secs(self.record.issued_at),
            not_after: self.record.certificate.not_after(),
        }
    }

    /// Makes a key and a certificate and keeps the key. Blocks, up to seconds for RSA.
    pub(super) fn make(
        id: SlotId,
        config: &CaConfig,
        keys: &KeyStore,
        now: SystemTime,
    ) -> Result<Self, MakeError> {
        let key = KeyPair::generate(config.ca_key_type)?;
        let secret = key.secret_key()?;
        let template = AuthorityTemplate {
            subject: config.ca_subject.clone(),
            uri: config.trust_domain.id().as_str().to_owned(),
            validity: Validity { not_before: now - BACKDATE, not_after: now + config.ca_ttl },
        };
        let linted = lint::authority(template).map_err(IssueError::Lint)?;
        let authority = Authority::self_sign(linted, key)?;
        keys.save(id.key_name(), secret)?;
        let record = Record {
            slot: id,
            standing: Standing::Prepared,
            issued_at: unix_secs(now),
            published_at: None,
            certificate: authority.certificate().clone(),
        };
        Ok(Self { record, authority: Arc::new(authority), published: None })
    }

    fn load(
        record: Record,
        keys: &KeyStore,
        bundle: Option<&Bundle>,
        now: SystemTime,
    ) -> Result<Self, Unusable> {
        let name = record.slot.key_name();
        let key = keys.load(name)?.ok_or(Unusable::NoKey(name))?;
        let authority = Arc::new(Authority::load(record.certificate.clone(), key)?);
        let holder = bundle.filter(|bundle| {
            bundle.x509_authorities().iter().any(|held| held.certificate == record.certificate)
        });
        let published =
            holder.map(|bundle| Published::remembered(bundle.sequence(), record.published_at, now));
        if record.standing == Standing::Active && published.is_none() {
            return Err(Unusable::NotInBundle);
        }
        Ok(Self { record, authority, published })
    }
}

impl Slots {
    /// What a journal's records come to with these keys and this bundle. What is of no use any more is
    /// left out and said in the log.
    pub(super) fn load(
        mut records: Vec<Record>,
        keys: &KeyStore,
        bundle: Option<&Bundle>,
        now: SystemTime,
    ) -> Self {
        let mut slots = Self::default();
        // The youngest record of each standing counts, should a restored journal hold several.
        records.sort_by_key(|record| record.issued_at);
        for record in records {
            if record.standing == Standing::Old {
                slots.old = Some(record);
                continue;
            }
            let (id, standing) = (record.authority_id(), record.standing);
            match Slot::load(record, keys, bundle, now) {
                Ok(slot) if standing == Standing::Active => slots.active = Some(slot),
                Ok(slot) => slots.prepared = Some(slot),
                Err(reason) => tracing::error!(
                    authority_id = %id,
                    ?standing,
                    reason = &reason as &dyn std::error::Error,
                    "authority of the journal is unusable, a new one will replace it"
                ),
            }
        }
        slots
    }

    /// The slot for a new authority: never that of the one that signs.
    pub(super) fn free(&self) -> SlotId {
        self.active.as_ref().map_or(SlotId::A, |active| active.record.slot.other())
    }

    /// What the journal shall remember.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let in_hand = [&self.active, &self.prepared];
        in_hand.into_iter().flatten().map(|slot| &slot.record).chain(&self.old)
    }

    /// With a new authority in its slot, whatever was in there before.
    pub(super) fn with_prepared(&self, slot: Slot) -> Self {
        let old = self.old.clone().filter(|old| old.slot != slot.record.slot);
        Self { prepared: Some(slot), old, ..self.clone() }
    }

    /// With the prepared authority as the active one, and the active one as the old one.
    pub(super) fn with_prepared_active(&self) -> Self {
        let active = self.prepared.clone().map(|mut slot| {
            slot.record.standing = Standing::Active;
            slot
        });
        let old = self.active.as_ref().map(|slot| {
            let record = slot.record.clone();
            Record { standing: Standing::Old, ..record }
        });
        let rotations = self.rotations + u64::from(old.is_some());
        Self { active, prepared: None, old: old.or_else(|| self.old.clone()), rotations }
    }
}
