//! What was signed: which entries want an SVID now, and the SVIDs that arrive for them.

use super::{
    state::{Cache, CacheConfig, State, Touched},
    view::{Identity, Memo},
};
use crate::{
    runtime::{Reader, publish::WriterGone},
    spiffe::{Bundle, Entry, EntryId, X509Svid, svid::SvidError},
};
use std::{sync::Arc, time::SystemTime};

/// The right to hand in SVIDs. Held by the renewal task alone.
pub struct SvidWriter {
    cache: Cache,
    work: Reader<u64>,
}

/// How many entries one call to the server may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize {
    /// With one among them that has no SVID yet: a workload may wait for it.
    pub awaited: usize,
    /// When all of them have one.
    pub renewals: usize,
}

/// An SVID that peers will accept, for one revision of one entry.
#[derive(Clone, Debug)]
pub struct Signed {
    entry: Arc<Entry>,
    svid: X509Svid,
    due: SystemTime,
}

/// Why an SVID was not taken over; the last good one stays in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The entry is gone.
    #[error("the entry no longer exists")]
    NoEntry,
    /// The entry has changed since; it is due again.
    #[error("the entry has changed meanwhile")]
    EntryChanged,
    /// The bundle has changed since and no longer holds the authority; it is due again.
    #[error("the signing authority is not in the trust bundle")]
    UnknownAuthority,
}

impl BatchSize {
    /// So many in any case.
    #[must_use]
    pub const fn uniform(entries: usize) -> Self {
        Self { awaited: entries, renewals: entries }
    }
}

impl Signed {
    /// Checks that holders of `bundle` will accept `svid` at `now`, which takes a signature check: call
    /// it off the event loop. `due` is when it is to be renewed.
    ///
    /// # Errors
    /// Why peers would not accept it.
    pub fn verify(
        entry: Arc<Entry>,
        svid: X509Svid,
        due: SystemTime,
        bundle: &Bundle,
        now: SystemTime,
    ) -> Result<Self, SvidError> {
        svid.verify(bundle, now)?;
        Ok(Self { entry, svid, due })
    }
}

impl SvidWriter {
    pub(super) const fn new(cache: Cache, work: Reader<u64>) -> Self {
        Self { cache, work }
    }

    /// Takes as many entries as `size` allows whose SVID is due, the longest due first. Each must be
    /// answered by [`SvidWriter::install`] or [`SvidWriter::failed`]; until then it is not due again.
    #[must_use]
    pub fn take_due(&self, size: BatchSize) -> Vec<Arc<Entry>> {
        let shared = &self.cache.0;
        let State { due, records, .. } = &mut *shared.state.lock();
        let now = shared.config.clock.now();
        let (mut taken, mut limit) = (Vec::new(), size.renewals);
        while taken.len() < limit
            && let Some(id) = due.take_due(now)
        {
            let Some(record) = records.get(&id) else { continue };
            if record.identity.is_none() {
                limit = limit.min(size.awaited);
            }
            taken.push(Arc::clone(&record.entry));
        }
        taken
    }

    /// When the next entry is due.
    #[must_use]
    pub fn next_due(&self) -> Option<SystemTime> {
        self.cache.0.state.lock().due.next_due()
    }

    /// Waits until something may be due sooner than [`SvidWriter::next_due`] said. Dropping it is safe.
    ///
    /// # Errors
    /// [`WriterGone`] when the cache is gone.
    pub async fn changed(&mut self) -> Result<(), WriterGone> {
        self.work.changed().await.map(drop)
    }

    /// Takes over what was signed, all of it in one step, and says what was not.
    pub fn install(&self, signed: Vec<Signed>) -> Vec<(EntryId, Rejected)> {
        let config = &self.cache.0.config;
        self.cache.change(|state, touched| {
            // Most identities are of one group; growing would hash every selector again.
            touched.groups.reserve(signed.len());
            signed
                .into_iter()
                .filter_map(|signed| {
                    let id = signed.entry.id.clone();
                    state.install(signed, config, touched).err().map(|rejected| (id, rejected))
                })
                .collect()
        })
    }

    /// An entry could not be signed; it is due again after its own backoff.
    pub fn failed(&self, id: &EntryId) {
        let shared = &self.cache.0;
        let mut state = shared.state.lock();
        let Some(record) = state.records.get_mut(id).filter(|record| record.is_wanted) else {
            return;
        };
        let due = shared.config.clock.now() + record.retry.next_delay();
        state.due.hasten(id, due);
    }

    /// The server can be reached again: every entry that failed meanwhile is due now.
    pub fn retry_failed(&self) {
        let shared = &self.cache.0;
        let mut state = shared.state.lock();
        let State { records, due, .. } = &mut *state;
        let now = shared.config.clock.now();
        for (id, record) in records.iter_mut().filter(|(_, record)| record.is_wanted) {
            if record.identity.is_none() || record.due <= now {
                record.retry.reset();
                due.hasten(id, now);
            }
        }
    }
}

impl State {
    fn install(
        &mut self,
        signed: Signed,
        config: &CacheConfig,
        touched: &mut Touched,
    ) -> Result<(), Rejected> {
        let id = &signed.entry.id;
        let record = self.records.get_mut(id).ok_or(Rejected::NoEntry)?;
        if !record.is_wanted {
            return Ok(());
        }
        let own = self.bundles.get(&config.trust_domain);
        let top = signed.svid.chain().last();
        let is_known = own.zip(top).is_some_and(|(own, top)| own.authority_of(top).is_some());
        let rejected = if *record.entry != *signed.entry {
            Some(Rejected::EntryChanged)
        } else if !is_known {
            Some(Rejected::UnknownAuthority)
        } else {
            None
        };
        if let Some(rejected) = rejected {
            self.due.hasten(id, config.clock.now() + record.retry.next_delay());
            return Err(rejected);
        }
        record.retry.reset();
        record.due = signed.due;
        record.identity = Some(Arc::new(Identity {
            entry: Arc::clone(&record.entry),
            svid: signed.svid,
            encoded: Memo::default(),
        }));
        self.due.set(id, signed.due);
        touched.groups.extend(self.group_index.supersets_of(&signed.entry.spec.selectors));
        Ok(())
    }
}
