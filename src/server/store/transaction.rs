//! One transaction of the writer: what is committed plus what this transaction has done so far.
//!
//! Each job, and each item of a batch, runs isolated in a savepoint: one that fails leaves nothing
//! behind and disturbs no other.

use super::{
    error::StoreError,
    node::Node,
    records::Row,
    tables::{Effect, Similar, Tables},
};
use crate::spiffe::{Bundle, Entry, EntryId, SpiffeId, TrustDomain};
use parking_lot::RwLock;
use rusqlite::{CachedStatement, Connection, Params};
use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// An open transaction.
pub(super) struct Transaction<'a> {
    connection: &'a Connection,
    committed: &'a RwLock<Tables>,
    pending: Pending,
    now: i64,
    /// Why the whole transaction is given up: SQLite did, as it may on a full disk, or a failed
    /// operation could not be undone alone.
    lost: OnceCell<StoreError>,
}

/// The effects so far, and where to find the newest state of what they touch.
#[derive(Default)]
struct Pending {
    effects: Vec<Effect>,
    entries: HashMap<EntryId, Option<Row<Entry>>>,
    similar: HashSet<Similar>,
    nodes: HashMap<SpiffeId, Option<Row<Node>>>,
    bundles: HashMap<TrustDomain, Arc<Bundle>>,
}

impl<'a> Transaction<'a> {
    /// Begins a transaction, waiting for the write lock as long as the connection is set to.
    pub(super) fn begin(
        connection: &'a Connection,
        committed: &'a RwLock<Tables>,
        now: i64,
    ) -> Result<Self, StoreError> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self { connection, committed, pending: Pending::default(), now, lost: OnceCell::new() })
    }

    /// Commits; then the effects are to be applied in their order.
    pub(super) fn commit(self) -> Result<Vec<Effect>, StoreError> {
        let committed = self.check().and_then(|()| self.run("COMMIT"));
        if committed.is_err() && !self.connection.is_autocommit() {
            // A rollback can fail too; the next transaction then fails at its beginning and says so.
            let _refused = self.run("ROLLBACK").is_err();
        }
        committed.map(|()| self.pending.effects)
    }

    /// Runs `operation` so that a failure leaves nothing of it behind.
    pub(super) fn isolated<T, E: From<StoreError>>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.check()?;
        self.run("SAVEPOINT operation")?;
        let mark = self.pending.effects.len();
        let result = operation(self);
        if let Err(lost) = self.check() {
            return Err(result.err().unwrap_or_else(|| lost.into()));
        }
        if result.is_err() {
            self.run("ROLLBACK TO operation").inspect_err(|error| self.give_up(error))?;
            self.pending.undo_to(mark);
        }
        self.run("RELEASE operation").inspect_err(|error| self.give_up(error))?;
        result
    }

    /// Seconds since the Unix epoch when the transaction began.
    pub(super) const fn now(&self) -> i64 {
        self.now
    }

    /// Runs the statement `sql` by `execute`.
    pub(super) fn statement<T>(
        &self,
        sql: &str,
        execute: impl FnOnce(&mut CachedStatement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let result = self.connection.prepare_cached(sql).and_then(|mut sql| execute(&mut sql));
        result.map_err(StoreError::from).inspect_err(|error| {
            if self.connection.is_autocommit() {
                self.give_up(error);
            }
        })
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.statement(sql, |statement| statement.execute(params))
    }

    /// The row that the last INSERT made.
    pub(super) fn inserted_row(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    /// Notes what a statement has done.
    pub(super) fn record(&mut self, effect: Effect) {
        self.pending.record(effect);
    }

    pub(super) fn entry(&self, id: &EntryId) -> Option<Row<Entry>> {
        match self.pending.entries.get(id) {
            Some(pending) => pending.clone(),
            None => self.committed.read().entries.get(id).cloned(),
        }
    }

    /// The stored entry that `entry` would repeat, if there is one.
    pub(super) fn similar(&self, entry: &Arc<Entry>) -> Option<Arc<Entry>> {
        let key = Similar(Arc::clone(entry));
        let is_current = |found: &Arc<Entry>| {
            self.entry(&found.id).filter(|(_, now)| now.spec.is_similar_to(&entry.spec))
        };
        let pending = self.pending.similar.get(&key).and_then(|found| is_current(&found.0));
        let current = pending.or_else(|| {
            let committed = self.committed.read().similar.get(&key).cloned();
            committed.and_then(|found| is_current(&found.0))
        });
        current.map(|(_, entry)| entry)
    }

    /// The entries whose parent is `parent`; reads all of them.
    pub(super) fn children(&self, parent: &SpiffeId) -> Vec<Arc<Entry>> {
        let is_child = |entry: &&Arc<Entry>| entry.spec.parent_id == *parent;
        let pending = self.pending.entries.values().flatten().map(|(_, entry)| entry);
        let mut children: Vec<_> = pending.filter(is_child).cloned().collect();
        let committed = self.committed.read();
        let untouched = committed.entries.all().filter(is_child);
        children.extend(
            untouched.filter(|entry| !self.pending.entries.contains_key(&entry.id)).cloned(),
        );
        children
    }

    /// The committed entries that have ended; reads all of them.
    pub(super) fn ended_entries(&self) -> Vec<EntryId> {
        let committed = self.committed.read();
        let ended = |entry: &&Arc<Entry>| entry.spec.has_ended(self.now);
        committed.entries.all().filter(ended).map(|entry| entry.id.clone()).collect()
    }

    pub(super) fn node(&self, id: &SpiffeId) -> Option<Row<Node>> {
        match self.pending.nodes.get(id) {
            Some(pending) => pending.clone(),
            None => self.committed.read().nodes.get(id).cloned(),
        }
    }

    pub(super) fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        let pending = self.pending.bundles.get(trust_domain).cloned();
        pending.or_else(|| self.committed.read().bundles.get(trust_domain).cloned())
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.execute(sql, []).map(|_| ())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.lost.get().map_or(Ok(()), |lost| Err(lost.clone()))
    }

    /// Gives the whole transaction up because of `error`, of which the writes that did not cause it
    /// learn only what concerns them.
    fn give_up(&self, error: &StoreError) {
        self.lost.get_or_init(|| match error {
            StoreError::Full | StoreError::Locked => error.clone(),
            _ => StoreError::RolledBack,
        });
    }
}

impl Pending {
    fn record(&mut self, effect: Effect) {
        match &effect {
            Effect::PutEntry(row, entry) => {
                self.entries.insert(entry.id.clone(), Some((*row, Arc::clone(entry))));
                self.similar.replace(Similar(Arc::clone(entry)));
            }
            Effect::DropEntry(id) => {
                self.entries.insert(id.clone(), None);
            }
            Effect::PutNode(row, node) => {
                self.nodes.insert(node.id.clone(), Some((*row, Arc::clone(node))));
            }
            Effect::DropNode(id) => {
                self.nodes.insert(id.clone(), None);
            }
            Effect::PutBundle(bundle) => {
                self.bundles.insert(bundle.trust_domain().clone(), Arc::clone(bundle));
            }
            Effect::PutJournal(_) => {}
        }
        self.effects.push(effect);
    }

    /// Forgets all but the first `kept` effects.
    fn undo_to(&mut self, kept: usize) {
        if self.effects.len() == kept {
            return;
        }
        let mut effects = std::mem::take(self).effects;
        effects.truncate(kept);
        effects.into_iter().for_each(|effect| self.record(effect));
    }
}
