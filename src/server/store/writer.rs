//! The one thread that writes.
//!
//! It takes every job that is waiting, runs them in one transaction, and after the commit makes their
//! effects visible, publishes the new sequence and answers, in this order: whoever has an answer, or has
//! seen the sequence, reads what was written. While a commit waits for the disk the next jobs gather.

use super::{error::StoreError, sqlite::Database, tables::Tables, transaction::Transaction};
use crate::runtime::{Clock, Publisher};
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A write. It gets the transaction, or why there is none, and leaves an answer that is given when the
/// outcome of the commit is known.
pub(super) type Job = Box<dyn FnOnce(Result<&mut Transaction<'_>, StoreError>) -> Answer + Send>;

/// Tells whoever waits for a write.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What the writer is sent.
pub(super) enum Message {
    /// Do this.
    Write(Job),
    /// Finish what is waiting, close the database and say so.
    Stop(oneshot::Sender<()>),
}

/// 256 jobs: bounds how long the first of a burst waits for its answer.
const MAX_BATCH: usize = 256;

/// Owns the database.
pub(super) struct Writer {
    database: Database,
    tables: Arc<RwLock<Tables>>,
    sequence: Publisher<u64>,
    clock: Clock,
}

impl Writer {
    pub(super) const fn new(
        database: Database,
        tables: Arc<RwLock<Tables>>,
        sequence: Publisher<u64>,
        clock: Clock,
    ) -> Self {
        Self { database, tables, sequence, clock }
    }

    /// Works until it is told to stop or nobody can send any more.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut stopped = None;
        while let Some(first) = inbox.blocking_recv() {
            let mut jobs = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Write(job) => jobs.push(job),
                    Message::Stop(done) => {
                        inbox.close();
                        stopped = Some(done);
                    }
                }
                next = (jobs.len() < MAX_BATCH).then(|| inbox.try_recv().ok()).flatten();
            }
            self.write(jobs);
        }
        self.close();
        if let Some(done) = stopped {
            let _nobody_waits = done.send(()).is_err();
        }
    }

    /// Runs `jobs` in one transaction and answers them.
    pub(super) fn write(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let connection = &self.database.connection;
        let (answers, committed): (Vec<_>, _) =
            match Transaction::begin(connection, &self.tables, self.clock.unix_now()) {
                Ok(mut transaction) => {
                    let answers = jobs.into_iter().map(|job| job(Ok(&mut transaction))).collect();
                    (answers, transaction.commit())
                }
                Err(error) => {
                    let answers = jobs.into_iter().map(|job| job(Err(error.clone()))).collect();
                    (answers, Err(error))
                }
            };
        let outcome = committed.map(|effects| {
            let mut tables = self.tables.write();
            effects.into_iter().for_each(|effect| tables.apply(effect));
            let newest = tables.log.newest();
            drop(tables);
            self.sequence.update(|sequence| std::mem::replace(sequence, newest) != newest);
        });
        if let Err(error) = &outcome {
            tracing::error!(%error, "datastore transaction failed");
        }
        answers.into_iter().for_each(|answer| answer(outcome.clone()));
    }

    /// Leaves the database as one file.
    pub(super) fn close(self) {
        if let Err(error) = self.database.close() {
            tracing::warn!(%error, "datastore was not closed cleanly; nothing is lost");
        }
    }
}
