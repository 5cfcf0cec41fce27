//! Registration entries: read from memory, written in batches whose items fail one by one.

use super::{
    error::StoreError,
    open::Store,
    patch::EntryPatch,
    rows::{PUT_ENTRY, put_entry},
    tables::Effect,
    transaction::Transaction,
};
use crate::{
    spiffe::{Entry, EntryId, EntrySpec, TrustDomain, entry},
    transport::status::Kind,
};
use std::sync::Arc;

/// An entry to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The identifier its author wants; `None` lets the store draw one.
    pub id: Option<EntryId>,
    /// The rest.
    pub spec: EntrySpec,
}

/// What became of an entry to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created.
    New(Arc<Entry>),
    /// This one, which would give the same identity to the same workloads, was there already.
    Similar(Arc<Entry>),
}

/// Why an entry was not written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EntryError {
    /// It breaks a rule of entries.
    #[error("datastore-validation: invalid registration entry: {0}")]
    Rule(#[from] entry::Error),
    /// It federates with a trust domain whose bundle is not there.
    #[error("unable to find federated bundle \"{}\"", .0.id())]
    UnknownFederated(TrustDomain),
    /// Another entry has its identifier.
    #[error("an entry with ID {0} exists already")]
    IdTaken(EntryId),
    /// The update would make it repeat another entry.
    #[error("similar entry already exists")]
    Similar(Arc<Entry>),
    /// There is no entry with this identifier.
    #[error("entry {0} not found")]
    Unknown(EntryId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EntryError {
    /// What the error means to a peer whose request met it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Rule(_) => Kind::Invalid,
            // SPIRE 1.15: a failed look-up in its database, so INTERNAL.
            Self::UnknownFederated(_) => Kind::Internal,
            Self::IdTaken(_) | Self::Similar(_) => Kind::Exists,
            Self::Unknown(_) => Kind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Store {
    /// The entry with this identifier.
    #[must_use]
    pub fn entry(&self, id: &EntryId) -> Option<Arc<Entry>> {
        self.read(|tables| tables.entries.get(id).map(|(_, entry)| Arc::clone(entry)))
    }

    /// All entries in the order of their rows.
    #[must_use]
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.read(|tables| tables.entries.all().cloned().collect())
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.read(|tables| tables.entries.len())
    }

    /// At most `limit` entries behind the row `row`, each with its row, in the order of rows.
    #[must_use]
    pub fn entries_after(&self, row: i64, limit: usize) -> Vec<(i64, Arc<Entry>)> {
        self.read(|tables| {
            let behind = tables.entries.after(row).take(limit);
            behind.map(|(row, entry)| (row, Arc::clone(entry))).collect()
        })
    }

    /// All entries in the order of their rows, and the number of the change up to which they are whole.
    #[must_use]
    pub fn entries_at(&self) -> (u64, Vec<Arc<Entry>>) {
        self.read(|tables| (tables.log.newest(), tables.entries.all().cloned().collect()))
    }

    /// Creates entries, each on its own: one that fails does not touch the others. The results have the
    /// order of `entries`.
    ///
    /// # Errors
    /// When none was written.
    pub async fn create_entries(
        &self,
        entries: Vec<NewEntry>,
    ) -> Result<Vec<Result<Created, EntryError>>, StoreError> {
        self.write(move |transaction| {
            let create = |new| transaction.isolated(|transaction| create(transaction, new));
            Ok(entries.into_iter().map(create).collect())
        })
        .await
    }

    /// Updates entries, each on its own, as [`Store::create_entries`] does. The revision grows by one
    /// with each update, whether it changes anything or not.
    ///
    /// # Errors
    /// When none was written.
    pub async fn update_entries(
        &self,
        patches: Vec<(EntryId, EntryPatch)>,
    ) -> Result<Vec<Result<Arc<Entry>, EntryError>>, StoreError> {
        self.write(move |transaction| {
            let update = |(id, patch)| transaction.isolated(|t| update(t, id, patch));
            Ok(patches.into_iter().map(update).collect())
        })
        .await
    }

    /// Deletes entries, each on its own, as [`Store::create_entries`] does.
    ///
    /// # Errors
    /// When none was deleted.
    pub async fn delete_entries(
        &self,
        ids: Vec<EntryId>,
    ) -> Result<Vec<Result<(), EntryError>>, StoreError> {
        self.write(move |transaction| {
            let delete = |id| match transaction.isolated(|t| delete(t, &id))? {
                true => Ok(()),
                false => Err(EntryError::Unknown(id)),
            };
            Ok(ids.into_iter().map(delete).collect())
        })
        .await
    }
}

/// Creates one entry.
pub(super) fn create(
    transaction: &mut Transaction<'_>,
    new: NewEntry,
) -> Result<Created, EntryError> {
    check(transaction, &new.spec)?;
    let id = match new.id {
        Some(id) => id,
        None => EntryId::parse(&uuid::Uuid::new_v4().to_string())?,
    };
    let created_at = transaction.now();
    let entry = Arc::new(Entry { id, revision: 0, created_at, spec: new.spec });
    if let Some(similar) = transaction.similar(&entry) {
        return Ok(Created::Similar(similar));
    }
    if transaction.entry(&entry.id).is_some() {
        return Err(EntryError::IdTaken(entry.id.clone()));
    }
    put(transaction, None, &entry)?;
    Ok(Created::New(entry))
}

/// Deletes one entry; returns whether there was one.
pub(super) fn delete(transaction: &mut Transaction<'_>, id: &EntryId) -> Result<bool, StoreError> {
    let Some((row, _)) = transaction.entry(id) else { return Ok(false) };
    transaction.execute("DELETE FROM entries WHERE row = ?", [row])?;
    transaction.record(Effect::DropEntry(id.clone()));
    Ok(true)
}

fn update(
    transaction: &mut Transaction<'_>,
    id: EntryId,
    patch: EntryPatch,
) -> Result<Arc<Entry>, EntryError> {
    let Some((row, current)) = transaction.entry(&id) else { return Err(EntryError::Unknown(id)) };
    let spec = patch.apply(&current.spec);
    check(transaction, &spec)?;
    let revision = current.revision.saturating_add(1);
    let entry = Arc::new(Entry { id, revision, created_at: current.created_at, spec });
    if let Some(similar) = transaction.similar(&entry).filter(|similar| similar.id != entry.id) {
        return Err(EntryError::Similar(similar));
    }
    put(transaction, Some(row), &entry)?;
    Ok(entry)
}

fn check(transaction: &Transaction<'_>, spec: &EntrySpec) -> Result<(), EntryError> {
    spec.check()?;
    let mut federated = spec.federates_with.iter();
    let unknown = federated.find(|trust_domain| transaction.bundle(trust_domain).is_none());
    unknown.map_or(Ok(()), |unknown| Err(EntryError::UnknownFederated(unknown.clone())))
}

fn put(
    transaction: &mut Transaction<'_>,
    row: Option<i64>,
    entry: &Arc<Entry>,
) -> Result<(), StoreError> {
    transaction.statement(PUT_ENTRY, |statement| put_entry(statement, row, entry))?;
    let row = row.unwrap_or_else(|| transaction.inserted_row());
    transaction.record(Effect::PutEntry(row, Arc::clone(entry)));
    Ok(())
}
