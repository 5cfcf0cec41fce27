//! The CA's journal: kept as it is given.

use super::{error::StoreError, open::Store, tables::Effect};

impl Store {
    /// The journal as it was saved last.
    #[must_use]
    pub fn ca_journal(&self) -> Option<Vec<u8>> {
        self.read(|tables| tables.journal.as_deref().map(<[u8]>::to_vec))
    }

    /// Replaces the journal.
    ///
    /// # Errors
    /// When it was not written.
    pub async fn save_ca_journal(&self, journal: Vec<u8>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("INSERT OR REPLACE INTO ca_journal VALUES (1, ?)", [&journal])?;
            transaction.record(Effect::PutJournal(journal.into()));
            Ok(())
        })
        .await
    }
}
