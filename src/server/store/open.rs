//! The store itself: a handle to the committed state and to the writer.

use super::{
    changes::Changes,
    error::StoreError,
    load::load,
    sqlite::Database,
    tables::Tables,
    transaction::Transaction,
    writer::{Answer, Job, Message, Writer},
};
use crate::runtime::{Clock, Publisher, Reader};
use parking_lot::{Mutex, RwLock};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Where the store keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In a SQLite database at this path.
    Sqlite(PathBuf),
    /// Nowhere: it is lost with the process. Writes run on the caller's thread.
    Memory,
}

/// What the server must not forget. Clones share it.
///
/// Dropping the future of a write does not undo it: once handed over it happens or fails as a whole.
#[derive(Clone)]
pub struct Store {
    tables: Arc<RwLock<Tables>>,
    writer: WriterHandle,
    sequence: Reader<u64>,
}

#[derive(Clone)]
enum WriterHandle {
    Thread(mpsc::Sender<Message>),
    Inline(Arc<Mutex<Option<Writer>>>),
}

/// 1,024 jobs, four batches: more writers wait before they queue, so that memory stays bounded.
const QUEUE: usize = 1_024;

/// 30 s: SPIRE's RPC timeout; a write that is not confirmed by then meets a caller that is gone.
const DEADLINE: Duration = Duration::from_secs(30);

impl Store {
    /// Opens the database, makes it if there is none, and reads it whole. Blocks on the disk.
    ///
    /// # Errors
    /// When another server has it, or it is not a database that this finial can use.
    pub fn open(config: &StoreConfig, clock: Clock) -> Result<Self, StoreError> {
        let database = match config {
            StoreConfig::Sqlite(path) => Database::open(path)?,
            StoreConfig::Memory => Database::in_memory()?,
        };
        let tables = Arc::new(RwLock::new(load(&database.connection)?));
        let publisher = Publisher::new(0);
        let sequence = publisher.reader();
        let writer = Writer::new(database, Arc::clone(&tables), publisher, clock);
        let writer = match config {
            StoreConfig::Sqlite(_) => start(writer)?,
            StoreConfig::Memory => WriterHandle::Inline(Arc::new(Mutex::new(Some(writer)))),
        };
        Ok(Self { tables, writer, sequence })
    }

    /// Finishes the writes that are waiting, closes the database and lets go of its lock. Writes that
    /// come later fail. Dropping the future does not stop it.
    pub async fn shutdown(&self) {
        match &self.writer {
            WriterHandle::Inline(writer) => {
                let writer = writer.lock().take();
                writer.into_iter().for_each(Writer::close);
            }
            WriterHandle::Thread(inbox) => {
                let (done, closed) = oneshot::channel();
                if inbox.send(Message::Stop(done)).await.is_ok() {
                    let _was_closed_before = closed.await.is_err();
                }
            }
        }
    }

    /// The number of the newest change, 0 when nothing has changed since the store was opened.
    /// Published when the changes up to it can be read.
    #[must_use]
    pub fn sequence(&self) -> Reader<u64> {
        self.sequence.clone()
    }

    /// What changed after `sequence`.
    #[must_use]
    pub fn changes_since(&self, sequence: u64) -> Changes {
        self.tables.read().log.since(sequence)
    }

    /// Looks at the committed state. Keep `look` short: the writer waits for it.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.tables.read())
    }

    /// Runs `operation` in the writer's next transaction, isolated from what else is in it, and returns
    /// when that is committed, on the disk and visible.
    pub(super) async fn write<T, E, F>(&self, operation: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move |transaction| {
            let result = match transaction {
                Ok(transaction) => transaction.isolated(operation),
                Err(error) => Err(error.into()),
            };
            let tell: Answer = Box::new(move |outcome| {
                // A write that failed on its own knows why better than the transaction does.
                let result = match outcome {
                    Err(error) if result.is_ok() => Err(error.into()),
                    _ => result,
                };
                let _caller_is_gone = sender.send(result).is_err();
            });
            tell
        });
        tokio::time::timeout(DEADLINE, self.hand_over(job, answer))
            .await
            .unwrap_or_else(|_| Err(StoreError::Stalled(DEADLINE.as_secs()).into()))
    }

    async fn hand_over<T, E: From<StoreError>>(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<T, E>>,
    ) -> Result<T, E> {
        match &self.writer {
            WriterHandle::Inline(writer) => {
                writer.lock().as_mut().ok_or(StoreError::Closed)?.write(vec![job]);
            }
            WriterHandle::Thread(inbox) => {
                inbox.send(Message::Write(job)).await.map_err(|_| StoreError::Closed)?;
            }
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

fn start(writer: Writer) -> Result<WriterHandle, StoreError> {
    let (sender, inbox) = mpsc::channel(QUEUE);
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || writer.run(inbox))
        .map_err(|error| StoreError::Writer(Arc::new(error)))?;
    Ok(WriterHandle::Thread(sender))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spiffe::SpiffeId, transport::status::Kind};

    /// Lets the database have at most `pages` pages, as a disk of that size would.
    async fn limit(store: &Store, pages: u32) {
        store
            .write(move |transaction| {
                let sql = format!("PRAGMA max_page_count = {pages}");
                let set: u32 = transaction
                    .statement(&sql, |statement| statement.query_row([], |row| row.get(0)))?;
                assert!(set >= pages);
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_refuses_what_does_not_fit_and_recovers_with_room() {
        let directory = tempfile::tempdir().unwrap();
        let config = StoreConfig::Sqlite(directory.path().join("datastore.sqlite3"));
        let store = Store::open(&config, Clock::system()).unwrap();
        limit(&store, 1).await;
        let error = store.save_ca_journal(vec![0; 100_000]).await.unwrap_err();
        assert!(matches!(error, StoreError::Full), "{error}");
        assert_eq!((error.kind(), store.ca_journal()), (Kind::Exhausted, None));
        store.save_ca_journal(vec![1]).await.unwrap();
        let agent = SpiffeId::parse("spiffe://example.org/spire/agent/x").unwrap();
        assert!(store.node(&agent).is_none(), "reads go on");
        limit(&store, 1_000).await;
        store.save_ca_journal(vec![0; 100_000]).await.unwrap();
        store.shutdown().await;
        let store = Store::open(&config, Clock::system()).unwrap();
        assert_eq!(store.ca_journal().unwrap().len(), 100_000);
        store.shutdown().await;
    }
}
