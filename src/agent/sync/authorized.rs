//! SyncAuthorizedEntries, the agent's side (server.md §1.9): the whole list when it is short, else
//! revisions first and then the entries that differ.

use super::{
    error::{SyncError, Violation},
    intake::Reading,
    known::{Known, Listed},
};
use crate::{
    spiffe::{Entry, EntryId},
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::spire::api::{
        server::entry::v1::{
            EntryRevision, SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse,
            entry_client::EntryClient,
        },
        types::{self, EntryMask},
    },
};
use std::collections::HashSet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// How the server's list differs from what is known.
#[derive(Debug)]
pub(super) struct Difference {
    /// Entries that are new or changed.
    pub(super) entries: Vec<Entry>,
    /// Entries that are gone, or cannot be understood any more.
    pub(super) removed: Vec<EntryId>,
    /// How many entries had to be fetched.
    pub(super) stale: usize,
}

/// One stream of it.
struct Conversation {
    requests: mpsc::Sender<SyncAuthorizedEntriesRequest>,
    responses: Streaming<SyncAuthorizedEntriesResponse>,
}

/// Brings `known` up to date. Dropping the future leaves `known` unusable for a later call.
pub(super) async fn synchronise(
    channel: Channel,
    known: &mut Known,
    reading: &Reading,
) -> Result<Difference, SyncError> {
    let mut conversation = Conversation::open(channel).await?;
    let first = conversation.next().await?;
    // Any first message without revisions is the complete list, an empty one too.
    if first.entry_revisions.is_empty() {
        let listed: Vec<_> = first.entries.iter().filter_map(listed_entry).collect();
        let stale: HashSet<EntryId> = known.stale(&listed).into_iter().collect();
        let mut differing = first.entries;
        differing.retain(|entry| EntryId::parse(&entry.id).is_ok_and(|id| stale.contains(&id)));
        return Ok(difference(known, &listed, &differing, reading));
    }
    let (listed, page) = conversation.revisions(first).await?;
    let differing = conversation.entries(&known.stale(&listed), page).await?;
    Ok(difference(known, &listed, &differing, reading))
}

fn difference(
    known: &mut Known,
    listed: &[Listed],
    differing: &[types::Entry],
    reading: &Reading,
) -> Difference {
    let mut removed = known.removed(listed);
    removed.iter().for_each(|id| known.forget(id));
    let mut entries = Vec::with_capacity(differing.len());
    for entry in differing {
        if let Some(entry) = reading.entry(entry) {
            known.record(&entry);
            entries.push(entry);
        } else if let Some(line) = listed_entry(entry) {
            // What it was before is no longer true either.
            removed.push(line.id.clone());
            known.record_unreadable(line);
        }
    }
    Difference { entries, removed, stale: differing.len() }
}

impl Conversation {
    async fn open(channel: Channel) -> Result<Self, SyncError> {
        let (requests, outgoing) = mpsc::channel(1);
        let first = SyncAuthorizedEntriesRequest { output_mask: Some(MASK), ids: Vec::new() };
        // There is room for one, so this never waits.
        let _first_fits = requests.send(first).await;
        let mut client = EntryClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let call = client.sync_authorized_entries(ReceiverStream::new(outgoing));
        Ok(Self { requests, responses: call.await?.into_inner() })
    }

    /// Reads the pages of revisions after `first`; also the length of a page, which is how many entries
    /// may be asked for at once.
    async fn revisions(
        &mut self,
        first: SyncAuthorizedEntriesResponse,
    ) -> Result<(Vec<Listed>, usize), SyncError> {
        let page = first.entry_revisions.len();
        let (mut listed, mut response) = (Vec::new(), first);
        loop {
            if !response.entries.is_empty() {
                return Err(SyncError::Protocol(Violation::EntryAmongRevisions));
            }
            listed.extend(response.entry_revisions.iter().filter_map(listed_revision));
            if !response.more {
                return Ok((listed, page));
            }
            response = self.next().await?;
        }
    }

    /// Fetches entries, `page` at a time. Those that are gone by now are simply missing.
    async fn entries(
        &mut self,
        ids: &[EntryId],
        page: usize,
    ) -> Result<Vec<types::Entry>, SyncError> {
        let mut entries = Vec::with_capacity(ids.len());
        for wanted in ids.chunks(page) {
            let ids = wanted.iter().map(|id| id.as_str().to_owned()).collect();
            let request = SyncAuthorizedEntriesRequest { output_mask: None, ids };
            if self.requests.send(request).await.is_err() {
                return Err(SyncError::Protocol(Violation::Incomplete));
            }
            loop {
                let response = self.next().await?;
                if !response.entry_revisions.is_empty() {
                    return Err(SyncError::Protocol(Violation::RevisionAmongEntries));
                }
                entries.extend(response.entries);
                if !response.more {
                    break;
                }
            }
        }
        Ok(entries)
    }

    async fn next(&mut self) -> Result<SyncAuthorizedEntriesResponse, SyncError> {
        let response = self.responses.message().await?;
        response.ok_or(SyncError::Protocol(Violation::Incomplete))
    }
}

/// What SPIRE's agent asks for, and what else an entry of ours has: parent, life, DNS names and end.
const MASK: EntryMask = EntryMask {
    spiffe_id: true,
    parent_id: true,
    selectors: true,
    x509_svid_ttl: true,
    federates_with: true,
    admin: true,
    downstream: true,
    expires_at: true,
    dns_names: true,
    revision_number: true,
    store_svid: true,
    jwt_svid_ttl: false,
    hint: true,
    created_at: true,
    additional_attributes: true,
};

/// A line with an empty id or a negative revision is no line (SPIRE 1.15: agent/client/client.go).
fn listed_revision(line: &EntryRevision) -> Option<Listed> {
    listed(&line.id, line.revision_number, line.created_at)
}

fn listed_entry(entry: &types::Entry) -> Option<Listed> {
    listed(&entry.id, entry.revision_number, entry.created_at)
}

fn listed(id: &str, revision: i64, created_at: i64) -> Option<Listed> {
    let id = EntryId::parse(id).ok().filter(|id| !id.as_str().is_empty())?;
    (revision >= 0).then_some(Listed { id, revision, created_at })
}
