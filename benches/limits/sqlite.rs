//! SQLite alone: rows of an entry's size, durable, in batches.

use rusqlite::{Connection, TransactionBehavior, params};
use std::path::Path;
use tokio::time::Instant;

/// Entries per second that SQLite takes in transactions of `batch`, each synced to the disk that
/// `folder` is on, with three selectors each in a table of their own.
pub(crate) fn entries_per_second(
    folder: &Path,
    entries: usize,
    batch: usize,
) -> anyhow::Result<f64> {
    let mut database = Connection::open(folder.join("raw.sqlite3"))?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE entries (row INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL,
             spiffe_id TEXT NOT NULL, parent_id TEXT NOT NULL, revision INTEGER NOT NULL);
         CREATE TABLE selectors (entry INTEGER NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL);
         CREATE INDEX selectors_of_entry ON selectors (entry);",
    )?;
    let started = Instant::now();
    for first in (0..entries).step_by(batch) {
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for number in first..first + batch {
            insert(&transaction, number)?;
        }
        transaction.commit()?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = entries as f64 / started.elapsed().as_secs_f64();
    Ok(rate)
}

fn insert(database: &Connection, number: usize) -> anyhow::Result<()> {
    let mut entry = database.prepare_cached(
        "INSERT INTO entries (id, spiffe_id, parent_id, revision) VALUES (?, ?, ?, 0)",
    )?;
    let row = entry.insert(params![
        format!("c2b1b0c8-0000-4000-8000-{number:012}"),
        format!("spiffe://example.org/ns/default/sa/workload-{number}"),
        "spiffe://example.org/spire/agent/join_token/c2b1b0c8-0000-4000-8000-000000000000",
    ])?;
    let mut selector =
        database.prepare_cached("INSERT INTO selectors (entry, type, value) VALUES (?, ?, ?)")?;
    for value in ["uid:1000", "gid:1000", "path:/usr/local/bin/envoy"] {
        selector.execute(params![row, "unix", value])?;
    }
    Ok(())
}
