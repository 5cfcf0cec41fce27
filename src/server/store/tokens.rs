//! Join tokens: secrets that let one agent in, once.

use super::{
    entries::{self, Created, EntryError, NewEntry},
    error::StoreError,
    open::Store,
    transaction::Transaction,
};
use crate::{spiffe::EntrySpec, transport::status::Kind};
use rusqlite::{OptionalExtension, params};

/// Why a join token was not created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// There is a token with this value.
    #[error("join token exists already")]
    Exists,
    /// The alias entry that comes with it is refused.
    #[error(transparent)]
    Alias(EntryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenError {
    /// What the error means to a peer whose request met it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Exists => Kind::Exists,
            Self::Alias(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl Store {
    /// Creates a join token that can be used until `expires_at`, together with the entry that gives its
    /// agent another name, if one is wanted.
    ///
    /// # Errors
    /// When the token exists, the entry is refused or repeats another, or nothing was written.
    pub async fn create_join_token(
        &self,
        token: String,
        expires_at: i64,
        alias: Option<EntrySpec>,
    ) -> Result<(), TokenError> {
        self.write(move |transaction| {
            let inserted = transaction.execute(
                "INSERT INTO join_tokens VALUES (?, ?) ON CONFLICT DO NOTHING",
                params![token, expires_at],
            )?;
            if inserted == 0 {
                return Err(TokenError::Exists);
            }
            let Some(spec) = alias else { return Ok(()) };
            match entries::create(transaction, NewEntry { id: None, spec }) {
                Ok(Created::New(_)) => Ok(()),
                Ok(Created::Similar(similar)) => {
                    Err(TokenError::Alias(EntryError::Similar(similar)))
                }
                Err(error) => Err(TokenError::Alias(error)),
            }
        })
        .await
    }
}

/// Uses up a token; its expiry if there was one.
pub(super) fn take(transaction: &Transaction<'_>, token: &str) -> Result<Option<i64>, StoreError> {
    let delete = "DELETE FROM join_tokens WHERE token = ? RETURNING expires_at";
    transaction
        .statement(delete, |statement| statement.query_row([token], |row| row.get(0)).optional())
}
