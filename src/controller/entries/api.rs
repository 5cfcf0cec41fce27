//! Calls to the entry service, over one connection that is made when it is needed, and anew after a
//! failure. Batches are of upstream's sizes: 50 creates, 50 updates, 200 deletes a call; the caller cuts
//! them.

use super::error::{ApiError, Refusal, UnreadableEntry};
use crate::{
    spiffe::{Entry, EntryId, EntrySpec},
    transport::channel,
    wire::{
        self,
        proto::spire::api::{
            server::entry::v1::{
                BatchCreateEntryRequest, BatchDeleteEntryRequest, BatchUpdateEntryRequest,
                ListEntriesRequest, entry_client::EntryClient,
            },
            types,
        },
    },
};
use parking_lot::Mutex;
use std::{path::PathBuf, time::Duration};
use tokio::time::timeout;
use tonic::{Code, Response, Status, transport::Channel};

/// The entries of one server.
#[derive(Debug)]
pub(in crate::controller) struct EntryApi {
    socket: PathBuf,
    max_message_bytes: usize,
    client: Mutex<Option<EntryClient<Channel>>>,
}

/// What became of an entry that was to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) enum Created {
    /// The server made it, under this ID.
    New(EntryId),
    /// The server has one with its identity, parent and selectors already.
    Similar(Box<Entry>),
}

/// A full batch takes a server milliseconds; more than this is a server that hangs.
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// Five of upstream's pages at once: a page is bounded by its bytes besides.
const PAGE_ROWS: i32 = 1_000;
/// Items in one call.
pub(in crate::controller) const CREATE_BATCH: usize = 50;
pub(in crate::controller) const UPDATE_BATCH: usize = 50;
pub(in crate::controller) const DELETE_BATCH: usize = 200;

impl EntryApi {
    /// The entries of the server at `socket`, which nobody has asked yet.
    pub(in crate::controller) const fn new(socket: PathBuf, max_message_bytes: usize) -> Self {
        Self { socket, max_message_bytes, client: Mutex::new(None) }
    }

    /// Every entry. One that cannot be read is left out, and told.
    ///
    /// # Errors
    /// When the server does not answer a page.
    pub(in crate::controller) async fn list(&self) -> Result<Vec<Entry>, ApiError> {
        let (mut entries, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                ListEntriesRequest { page_size: PAGE_ROWS, page_token, ..Default::default() };
            let page = self
                .call(async move |mut client: EntryClient<Channel>| {
                    client.list_entries(request).await
                })
                .await?;
            entries.extend(page.entries.iter().filter_map(readable));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(entries);
            }
        }
    }

    /// Creates entries, each under its ID or one of the server's choice: a result for each, in order.
    ///
    /// # Errors
    /// When there is no answer: some may have been created.
    pub(in crate::controller) async fn create(
        &self,
        entries: &[(Option<EntryId>, &EntrySpec)],
    ) -> Result<Vec<Result<Created, Refusal>>, ApiError> {
        let wire = entries.iter().map(|(id, spec)| types::Entry {
            id: id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            ..types::Entry::from(*spec)
        });
        let request = BatchCreateEntryRequest { entries: wire.collect(), output_mask: None };
        let answer = self
            .call(async move |mut client: EntryClient<Channel>| {
                client.batch_create_entry(request).await
            })
            .await?;
        check_count(entries.len(), answer.results.len())?;
        let results = answer.results.into_iter().map(|result| {
            let entry = result.entry.as_ref().and_then(readable);
            match (refusal(result.status), entry) {
                (None, Some(entry)) => Ok(Created::New(entry.id)),
                (None, None) => Err(Refusal {
                    code: Code::Internal,
                    message: "an entry was created that cannot be read".to_owned(),
                }),
                (Some(refusal), Some(entry)) if refusal.code == Code::AlreadyExists => {
                    Ok(Created::Similar(Box::new(entry)))
                }
                (Some(refusal), _) => Err(refusal),
            }
        });
        Ok(results.collect())
    }

    /// Replaces what entries say: a result for each, in order.
    ///
    /// # Errors
    /// When there is no answer: some may have been replaced.
    pub(in crate::controller) async fn update(
        &self,
        entries: &[(EntryId, &EntrySpec)],
    ) -> Result<Vec<Result<(), Refusal>>, ApiError> {
        let wire = entries
            .iter()
            .map(|(id, spec)| types::Entry { id: id.as_str().to_owned(), ..(*spec).into() });
        let request = BatchUpdateEntryRequest {
            entries: wire.collect(),
            input_mask: None,
            output_mask: Some(types::EntryMask::default()),
        };
        let answer = self
            .call(async move |mut client: EntryClient<Channel>| {
                client.batch_update_entry(request).await
            })
            .await?;
        check_count(entries.len(), answer.results.len())?;
        Ok(answer.results.into_iter().map(|result| done(result.status)).collect())
    }

    /// Deletes entries: a result for each, in order. One that is not there is deleted.
    ///
    /// # Errors
    /// When there is no answer: some may have been deleted.
    pub(in crate::controller) async fn delete(
        &self,
        ids: &[EntryId],
    ) -> Result<Vec<Result<(), Refusal>>, ApiError> {
        let request =
            BatchDeleteEntryRequest { ids: ids.iter().map(|id| id.as_str().to_owned()).collect() };
        let answer = self
            .call(async move |mut client: EntryClient<Channel>| {
                client.batch_delete_entry(request).await
            })
            .await?;
        check_count(ids.len(), answer.results.len())?;
        let results = answer.results.into_iter().map(|result| match done(result.status) {
            Err(refusal) if refusal.code == Code::NotFound => Ok(()),
            done => done,
        });
        Ok(results.collect())
    }

    async fn call<T, F>(&self, ask: impl FnOnce(EntryClient<Channel>) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = async { Ok(ask(self.client().await?).await?.into_inner()) };
        let answer = timeout(CALL_WITHIN, answer).await;
        let answer = answer.unwrap_or(Err(ApiError::Timeout(CALL_WITHIN)));
        if answer.is_err() {
            // The next call connects anew.
            *self.client.lock() = None;
        }
        answer
    }

    /// The client that is there, or a new one. Should two be made at once, one of them is kept.
    async fn client(&self) -> Result<EntryClient<Channel>, ApiError> {
        if let Some(client) = self.client.lock().clone() {
            return Ok(client);
        }
        let client = EntryClient::new(channel::connect_uds(&self.socket).await?)
            .max_decoding_message_size(self.max_message_bytes);
        *self.client.lock() = Some(client.clone());
        Ok(client)
    }
}

/// The entry, unless it breaks a rule that another server's do not have.
fn readable(wire: &types::Entry) -> Option<Entry> {
    let entry =
        wire::entry::entry(wire).map_err(|source| UnreadableEntry { id: wire.id.clone(), source });
    entry.map_err(|error| tracing::warn!(%error, "an entry of the server is left alone")).ok()
}

const fn check_count(asked: usize, found: usize) -> Result<(), ApiError> {
    if asked == found { Ok(()) } else { Err(ApiError::Results { asked, found }) }
}

fn done(status: Option<types::Status>) -> Result<(), Refusal> {
    refusal(status).map_or(Ok(()), Err)
}

fn refusal(status: Option<types::Status>) -> Option<Refusal> {
    let status = status.filter(|status| status.code != 0)?;
    Some(Refusal { code: Code::from_i32(status.code), message: status.message })
}
