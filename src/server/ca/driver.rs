//! The rotation task: does what `rotate` decides, one durable step after the other, and sleeps until the
//! next is due.
//!
//! The order of writes is key → journal (prepared) → bundle → journal (published) → journal (active), and
//! nothing is believed in memory before it is written. So a crash between any two leaves a state from
//! which the same decisions lead on, and no authority ever signs that is not in the stored bundle.

use super::{
    journal::{self, JournalError},
    keystore::{KeyStore, KeyStoreError, Memory},
    propagation::Propagation,
    rotate::{self, Audience, Next, Prepared, Publication, Situation, Timing},
    sign::{Authorities, Shared},
    slot::{MakeError, Published, Slot, Slots},
    state::{AuthorityState, CaState},
};
use crate::{
    runtime::{Backoff, Shutdown, TaskSet, tasks::BlockingError},
    server::store::{Store, StoreError},
    spiffe::bundle_doc::{self, DocumentError},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The one writer of everything about the authority. Run it until shutdown.
pub struct Rotation {
    shared: Arc<Shared>,
    keys: KeyStore,
    store: Store,
    propagation: Propagation,
    timing: Timing,
    slots: Slots,
    prune_due: Instant,
}

/// A step of the rotation that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// No authority could be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The store did not take the bundle or the journal.
    #[error("cannot store the authority")]
    Store(#[from] StoreError),
    /// The journal cannot be written.
    #[error("cannot write the authority's journal")]
    Journal(#[from] JournalError),
    /// What shall be remembered beside the keys is not.
    #[error("cannot remember the authority beside its keys")]
    Memory(#[from] KeyStoreError),
    /// The bundle cannot be written down.
    #[error("cannot write the bundle down that shall be remembered beside the keys")]
    Document(#[from] DocumentError),
    /// The work was lost with its thread.
    #[error("cannot make a new authority")]
    Blocking(#[from] BlockingError),
}

/// A jump of the wall clock moves what is due without waking a timer. One look a minute notices it soon
/// enough, since the shortest sensible time between two steps is minutes, and costs nothing.
const WALL_CLOCK_CHECK: Duration = Duration::from_secs(60);

// After a failed step: soon, because a second try often succeeds; a minute is short against what is
// left of an authority's life when its successor is due.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

impl Rotation {
    pub(super) fn new(
        shared: Arc<Shared>,
        keys: KeyStore,
        store: Store,
        propagation: Propagation,
        slots: Slots,
    ) -> Self {
        let config = &shared.config;
        let timing = Timing {
            propagation: config.propagation_time,
            svid_ttl: config.default_x509_svid_ttl.max(config.agent_ttl),
        };
        let prune_due = Instant::now();
        let rotation = Self { shared, keys, store, propagation, timing, slots, prune_due };
        rotation.show();
        rotation
    }

    /// Rotates until shutdown. A step that fails is tried again; what exists goes on signing.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_AT_MOST);
        let mut failures = 0_u32;
        while !shutdown.is_requested() {
            let wait = match self.settle().await {
                Ok(wait) => {
                    backoff.reset();
                    failures = 0;
                    wait.min(WALL_CLOCK_CHECK)
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, failures, "authority rotation is delayed");
                    backoff.next_delay()
                }
            };
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = self.woken(wait) => {}
            }
        }
    }

    /// Does everything that is due and says for how long nothing will be.
    pub(super) async fn settle(&mut self) -> Result<Duration, RotationError> {
        loop {
            match rotate::next(&self.situation(), &self.timing) {
                Next::Prepare => self.prepare().await?,
                Next::Publish => self.publish().await?,
                Next::Activate => self.activate().await?,
                Next::Wait(wait) => {
                    let wait = wait.min(self.prune().await?);
                    // A bundle that was pruned, and what a crash has kept from being remembered.
                    self.remember(journal::encode(self.slots.records())?).await?;
                    return Ok(wait);
                }
            }
        }
    }

    /// Dropping it is safe: it only waits.
    async fn woken(&mut self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.propagation.changed() => {}
            () = self.shared.outdated.notified() => {}
        }
    }

    fn situation(&self) -> Situation {
        let prepared = self.slots.prepared.as_ref().map(|slot| Prepared {
            life: slot.life(),
            publication: slot.published.map(|published| Publication {
                age: published.age(),
                reach: self.propagation.reach(published.sequence),
                audience: self.audience(slot),
            }),
        });
        let active = self.slots.active.as_ref().map(Slot::life);
        Situation { now: self.shared.clock.now(), active, prepared }
    }

    fn audience(&self, prepared: &Slot) -> Audience {
        let bundle = self.store.bundle(&self.shared.config.trust_domain);
        let others = bundle.is_some_and(|bundle| {
            let mut held = bundle.x509_authorities().iter();
            held.any(|authority| authority.certificate != prepared.record.certificate)
        });
        if others { Audience::Existing } else { Audience::Nobody }
    }

    async fn prepare(&mut self) -> Result<(), RotationError> {
        let (shared, keys, free) = (Arc::clone(&self.shared), self.keys.clone(), self.slots.free());
        let now = shared.clock.now();
        let slot =
            TaskSet::blocking(move || Slot::make(free, &shared.config, &keys, now)).await??;
        let id = slot.record.authority_id();
        self.save(self.slots.with_prepared(slot)).await?;
        tracing::info!(authority_id = %id, slot = %free, "authority prepared");
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), RotationError> {
        let mut slots = self.slots.clone();
        let Some(slot) = &mut slots.prepared else { return Ok(()) };
        let certificate = slot.record.certificate.clone();
        let trust_domain = &self.shared.config.trust_domain;
        let bundle = self.store.append_x509_authority(trust_domain, certificate).await?;
        let id = slot.record.authority_id();
        slot.record.published_at = Some(self.shared.clock.unix_now());
        slot.published = Some(Published::now(bundle.sequence()));
        self.save(slots).await?;
        tracing::info!(authority_id = %id, sequence = bundle.sequence(), "authority published");
        Ok(())
    }

    async fn activate(&mut self) -> Result<(), RotationError> {
        self.save(self.slots.with_prepared_active()).await?;
        if let Some(active) = &self.slots.active {
            let record = &active.record;
            let expires_at = record.certificate.expires_at();
            tracing::info!(authority_id = %record.authority_id(), expires_at, "authority activated");
        }
        Ok(())
    }

    /// Drops authorities from the bundle that ended long ago, and says when to look again.
    ///
    /// SPIRE looks every 6 h for authorities that ended 24 h ago. These are its numbers at its default
    /// life of 24 h; with shorter lives they shrink along, or a bundle would grow by hundreds.
    ///
    /// While no authority is active, expired ones stay: they are how a restart in that time knows that
    /// the published one is not the first.
    async fn prune(&mut self) -> Result<Duration, RotationError> {
        let now = Instant::now();
        let active = self.slots.active.as_ref().map(Slot::life);
        if active.is_none_or(|life| life.not_after < self.shared.clock.now()) {
            return Ok(Duration::MAX);
        }
        if now < self.prune_due {
            return Ok(self.prune_due - now);
        }
        let config = &self.shared.config;
        let (grace, interval) =
            (PRUNE_GRACE.min(config.ca_ttl), PRUNE_INTERVAL.min(config.ca_ttl / 4));
        let expired_before = self.shared.clock.now() - grace;
        let pruned = self.store.prune_authorities(&config.trust_domain, expired_before).await?;
        if let Some(bundle) = pruned {
            tracing::info!(sequence = bundle.sequence(), "expired authorities left the bundle");
        }
        self.prune_due = now + interval;
        Ok(interval)
    }

    /// Writes the journal, and only then lets the change be true.
    async fn save(&mut self, slots: Slots) -> Result<(), RotationError> {
        let journal = journal::encode(slots.records())?;
        self.store.save_ca_journal(journal.clone()).await?;
        self.remember(journal).await?;
        self.slots = slots;
        self.show();
        Ok(())
    }

    /// Has keys that outlive the server's data remember what a server without that data needs: a restart
    /// shall add no authority. Before there is a bundle nobody trusts any.
    async fn remember(&self, journal: Vec<u8>) -> Result<(), RotationError> {
        if !self.keys.outlives_data() {
            return Ok(());
        }
        let Some(bundle) = self.store.bundle(&self.shared.config.trust_domain) else {
            return Ok(());
        };
        let memory = Memory { journal, bundle: bundle_doc::write(&bundle)?.into_bytes() };
        let keys = self.keys.clone();
        Ok(TaskSet::blocking(move || keys.remember(memory)).await??)
    }

    fn show(&self) {
        let published = self.slots.prepared.as_ref().filter(|slot| slot.published.is_some());
        self.shared.authorities.store(Arc::new(Authorities {
            active: self.slots.active.as_ref().map(|slot| Arc::clone(&slot.authority)),
            published: published.map(|slot| Arc::clone(&slot.authority)),
        }));
        let state = |slot: &Slot| AuthorityState {
            id: slot.record.authority_id(),
            expires_at: slot.record.certificate.expires_at(),
            bundle_sequence: slot.published.map(|published| published.sequence),
        };
        self.shared.state.publish(CaState {
            active: self.slots.active.as_ref().map(state),
            prepared: self.slots.prepared.as_ref().map(state),
            rotations: self.slots.rotations,
        });
    }
}

// SPIRE 1.15, pkg/server/ca: safetyThresholdBundle and pruneBundleInterval.
const PRUNE_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
const PRUNE_INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);
