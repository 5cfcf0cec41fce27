//! Asks the server for changes, and writes into the ledger what it answered.
//!
//! What makes identities comes before what takes them away, so that a pod whose entry is replaced is never
//! without one. A call without an answer ends the round: what it did is not known, and the next listing
//! tells. A refused item ends nothing.

use super::refusals::Refusals;
use crate::{
    controller::{
        entries::{ApiError, CREATE_BATCH, Created, DELETE_BATCH, EntryApi, Refusal, UPDATE_BATCH},
        guard::{Guard, Pass},
        ledger::{Changes, Deletion, Ledger, Update},
        metrics::{Change, ControllerMetrics},
        ownership::Holder,
        wanted::{EntryKey, Wanted},
        world::Owner,
    },
    spiffe::EntryId,
};
use futures_util::{StreamExt as _, stream};
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::Instant;
use uuid::Uuid;

/// Calls under way at once: the server writes what comes together in one transaction.
const AT_ONCE: usize = 4;

/// The server, and what is known of it.
pub(super) struct Calls {
    pub(super) api: EntryApi,
    pub(super) ledger: Ledger,
    pub(super) guard: Guard,
    pub(super) refusals: Refusals,
    pub(super) metrics: ControllerMetrics,
    /// Custom resources of which the server has said something new.
    pub(super) touched: BTreeSet<Owner>,
    /// Deletes that wait.
    pub(super) held: usize,
    /// The ledger is known to be wrong.
    pub(super) is_stale: bool,
}

impl Calls {
    /// Asks for all of `changes`.
    ///
    /// # Errors
    /// The first call without an answer.
    pub(super) async fn make(&mut self, pass: Pass, changes: Changes) -> Result<(), ApiError> {
        for (key, id) in &changes.foreign {
            tracing::debug!(?key, %id, "somebody else's entry gives this identity");
        }
        for (id, doubt) in &changes.doubtful {
            tracing::debug!(%id, ?doubt, "kept: it is not known that nobody wants it");
        }
        self.update(changes.updates).await?;
        self.create(changes.creates).await?;
        self.replace(changes.replacements).await?;
        let deletions = self.admitted(pass, changes.deletes);
        self.delete(deletions).await
    }

    /// The deletes that may be done now.
    fn admitted(&mut self, pass: Pass, deletions: Vec<Deletion>) -> Vec<Deletion> {
        let admitted = self.guard.admit(pass, deletions, self.ledger.owned());
        if !admitted.held.is_empty() && self.held != admitted.held.len() {
            tracing::warn!(
                entries = admitted.held.len(),
                owned = self.ledger.owned(),
                "many entries are wanted by nobody at once: they are kept until the next full comparison \
                 finds the same; allowMassDeletes of the configuration deletes them at once"
            );
        }
        if pass == Pass::Full || !admitted.held.is_empty() {
            self.held = admitted.held.len();
        }
        // What a pod had is kept while the server refuses what it should have instead.
        let (kept, now): (Vec<_>, Vec<_>) = admitted.now.into_iter().partition(|deletion| {
            deletion.pod.as_deref().is_some_and(|pod| self.refusals.concerns_pod(pod))
        });
        if !kept.is_empty() {
            tracing::info!(
                entries = kept.len(),
                "kept: the server refuses what comes in their place"
            );
        }
        now
    }

    async fn create(&mut self, creates: Vec<(EntryKey, Arc<Wanted>)>) -> Result<(), ApiError> {
        let ids: Vec<_> = creates.iter().map(|_| self.new_id()).collect();
        let items: Vec<_> =
            creates.iter().zip(ids).map(|((_, wanted), id)| (id, &wanted.spec)).collect();
        let api = &self.api;
        let mut calls = Vec::new();
        for batch in items.chunks(CREATE_BATCH) {
            calls.push(api.create(batch));
        }
        let answers: Vec<_> = stream::iter(calls).buffered(AT_ONCE).collect().await;
        for (batch, answer) in creates.chunks(CREATE_BATCH).zip(answers) {
            for ((key, wanted), result) in batch.iter().zip(answer?) {
                self.created(*key, wanted, result);
            }
        }
        Ok(())
    }

    fn created(&mut self, key: EntryKey, wanted: &Arc<Wanted>, result: Result<Created, Refusal>) {
        match result {
            Ok(Created::New(id)) => {
                tracing::debug!(%id, spiffe_id = %wanted.spec.spiffe_id, owner = %wanted.owner, "entry created");
                self.ledger.created(id, &wanted.spec);
                self.took(Change::Create, key);
            }
            Ok(Created::Similar(entry)) => {
                // Ours, and unknown to the ledger: another leader made it, or a call whose answer was lost.
                self.is_stale |= self.ledger.ownership().holder(&entry) != Holder::Other;
                self.settle(&key);
            }
            Err(refusal) => self.refused(Change::Create, key, wanted, &refusal),
        }
    }

    async fn update(&mut self, updates: Vec<Update>) -> Result<(), ApiError> {
        let items: Vec<_> =
            updates.iter().map(|update| (update.id.clone(), &update.wanted.spec)).collect();
        let api = &self.api;
        let mut calls = Vec::new();
        for batch in items.chunks(UPDATE_BATCH) {
            calls.push(api.update(batch));
        }
        let answers: Vec<_> = stream::iter(calls).buffered(AT_ONCE).collect().await;
        for (batch, answer) in updates.chunks(UPDATE_BATCH).zip(answers) {
            for (update, result) in batch.iter().zip(answer?) {
                match result {
                    Ok(()) => {
                        tracing::debug!(id = %update.id, owner = %update.wanted.owner, "entry updated");
                        self.ledger.updated(&update.id, &update.wanted.spec);
                        self.took(Change::Update, update.key);
                    }
                    Err(refusal) => {
                        // Gone from under us: the next listing makes it anew.
                        self.is_stale |= refusal.code == tonic::Code::NotFound;
                        self.refused(Change::Update, update.key, &update.wanted, &refusal);
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts entries under a new identifier. The server has one entry of a key only, so each is away for the
    /// time between two calls, in small batches.
    async fn replace(&mut self, replacements: Vec<Update>) -> Result<(), ApiError> {
        for batch in replacements.chunks(CREATE_BATCH) {
            let ids: Vec<EntryId> = batch.iter().map(|update| update.id.clone()).collect();
            let deleted = self.api.delete(&ids).await?;
            let mut creates = Vec::with_capacity(batch.len());
            for (update, result) in batch.iter().zip(deleted) {
                match result {
                    Ok(()) => {
                        self.ledger.deleted(&update.key, &update.id);
                        creates.push((update.key, Arc::clone(&update.wanted)));
                    }
                    Err(refusal) => {
                        self.refused(Change::Delete, update.key, &update.wanted, &refusal);
                    }
                }
            }
            self.create(creates).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, deletions: Vec<Deletion>) -> Result<(), ApiError> {
        let ids: Vec<_> = deletions.iter().map(|deletion| deletion.id.clone()).collect();
        let api = &self.api;
        let mut calls = Vec::new();
        for batch in ids.chunks(DELETE_BATCH) {
            calls.push(api.delete(batch));
        }
        let answers: Vec<_> = stream::iter(calls).buffered(AT_ONCE).collect().await;
        for (batch, answer) in deletions.chunks(DELETE_BATCH).zip(answers) {
            for (deletion, result) in batch.iter().zip(answer?) {
                match result {
                    Ok(()) => {
                        tracing::debug!(id = %deletion.id, reason = ?deletion.reason, "entry deleted");
                        self.ledger.deleted(&deletion.key, &deletion.id);
                        self.metrics.changed(Change::Delete);
                    }
                    Err(refusal) => {
                        self.metrics.refused(Change::Delete);
                        tracing::warn!(id = %deletion.id, %refusal, "entry not deleted");
                    }
                }
            }
        }
        Ok(())
    }

    /// Nobody wants it any more, or the server has it: it need not be tried again.
    pub(super) fn settle(&mut self, key: &EntryKey) {
        self.touched.extend(self.refusals.settle(key));
    }

    fn took(&mut self, change: Change, key: EntryKey) {
        self.metrics.changed(change);
        self.settle(&key);
    }

    fn refused(&mut self, change: Change, key: EntryKey, wanted: &Arc<Wanted>, refusal: &Refusal) {
        self.metrics.refused(change);
        if self.refusals.add(key, wanted, refusal.message.clone(), Instant::now()) {
            tracing::warn!(owner = %wanted.owner, spiffe_id = %wanted.spec.spiffe_id, %refusal, "entry refused");
            self.touched.insert(wanted.owner.clone());
        }
    }

    fn new_id(&self) -> Option<EntryId> {
        self.ledger.ownership().new_id(Uuid::new_v4())
    }
}
