//! The server's store: what it keeps, what it refuses, and what survives.

mod faults;
mod files;
mod kill;
mod nodes;
mod records;

use finial::{
    runtime::{Clock, clock::from_unix_secs},
    server::store::{Created, EntryError, NewEntry, Store, StoreConfig},
    spiffe::{Entry, EntryId, EntrySpec, Selector, SpiffeId, entry::Hint},
};
use std::{path::PathBuf, sync::Arc};

/// A directory with a database in it.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("datastore.sqlite3")
    }

    fn open(&self) -> Store {
        Store::open(&self.config(), Clock::system()).unwrap()
    }

    fn config(&self) -> StoreConfig {
        StoreConfig::Sqlite(self.path())
    }

    /// A second, plain connection to the database.
    fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

/// A store in memory in which it is second 1,000.
fn memory() -> Store {
    let clock = Clock::anchored_at(from_unix_secs(1_000));
    Store::open(&StoreConfig::Memory, clock).unwrap()
}

fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap()
}

fn entry_id(text: &str) -> EntryId {
    EntryId::parse(text).unwrap()
}

/// The entry of the workload `path` under `/node` with the selector `unix:uid:<path>`.
fn spec(path: &str) -> EntrySpec {
    EntrySpec {
        spiffe_id: id(path),
        parent_id: id("/node"),
        selectors: [Selector::new("unix", &format!("uid:{path}")).unwrap()].into_iter().collect(),
        x509_svid_ttl_secs: 0,
        jwt_svid_ttl_secs: 0,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: 0,
        dns_names: Vec::new(),
        store_svid: false,
        hint: Hint::default(),
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    }
}

fn new(spec: EntrySpec) -> NewEntry {
    NewEntry { id: None, spec }
}

async fn create(store: &Store, spec: EntrySpec) -> Arc<Entry> {
    match try_create(store, new(spec)).await.unwrap() {
        Created::New(entry) => entry,
        Created::Similar(entry) => panic!("{entry:?} is similar"),
    }
}

async fn try_create(store: &Store, new: NewEntry) -> Result<Created, EntryError> {
    store.create_entries(vec![new]).await.unwrap().remove(0)
}
