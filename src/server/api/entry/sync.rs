//! SyncAuthorizedEntries: an agent learns which entries it may use and fetches those that it lacks
//! (server.md §1.9). The entries are those of the moment at which the stream was opened.

use super::write::masked;
use crate::{
    spiffe::Entry,
    transport::status::Kind,
    wire::proto::spire::api::{
        server::entry::v1::{
            EntryRevision, SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse,
        },
        types,
    },
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream, Stream},
};
use prost::Message;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tonic::{Code, Status};

/// SPIRE 1.15: what fits into one message is sent whole; agents take the length of the first list of
/// revisions for the number of ids that they may ask for at once.
const PAGE: usize = 500;
/// 2 MiB: half of what a grpc-go client receives at most unless told otherwise.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// 60 s: twice the time in which an agent must be done with the whole call.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// One call.
struct Session<S> {
    requests: S,
    entries: Vec<Arc<Entry>>,
    mask: Option<types::EntryMask>,
    next: Next,
}

/// What is to be sent next.
enum Next {
    /// The answer to the first request, which has not come.
    First,
    /// The revisions from this entry on.
    Revisions(usize),
    /// The answer to another request, which has not come.
    Request(HashMap<String, usize>),
    /// Entries that were asked for, by their place, the next one last.
    Entries(HashMap<String, usize>, Vec<usize>),
    /// Nothing.
    End,
}

/// The answers to `requests` of an agent that may use `entries`.
pub(super) fn answers<S>(
    requests: S,
    entries: Vec<Arc<Entry>>,
) -> BoxStream<'static, Result<SyncAuthorizedEntriesResponse, Status>>
where
    S: Stream<Item = Result<SyncAuthorizedEntriesRequest, Status>> + Send + Unpin + 'static,
{
    let session = Session { requests, entries, mask: None, next: Next::First };
    stream::try_unfold(session, |mut session| async {
        let answer = session.answer().await?;
        Ok(answer.map(|answer| (answer, session)))
    })
    .boxed()
}

impl<S> Session<S>
where
    S: Stream<Item = Result<SyncAuthorizedEntriesRequest, Status>> + Send + Unpin,
{
    async fn answer(&mut self) -> Result<Option<SyncAuthorizedEntriesResponse>, Status> {
        match std::mem::replace(&mut self.next, Next::End) {
            Next::First => self.first().await,
            Next::Revisions(start) => Ok(Some(self.revisions(start))),
            Next::Request(places) => {
                let Some(request) = self.request().await? else { return Ok(None) };
                let mut wanted: Vec<_> =
                    request.ids.iter().filter_map(|id| places.get(id).copied()).collect();
                wanted.reverse();
                Ok(Some(self.asked(places, wanted)))
            }
            Next::Entries(places, wanted) => Ok(Some(self.asked(places, wanted))),
            Next::End => Ok(None),
        }
    }

    async fn first(&mut self) -> Result<Option<SyncAuthorizedEntriesResponse>, Status> {
        let Some(request) = self.request().await? else { return Ok(None) };
        if !request.ids.is_empty() {
            let message = "specifying IDs on initial request is not supported";
            return Err(Kind::Invalid.status(message));
        }
        if request.output_mask.is_some_and(|mask| !mask.revision_number) {
            return Err(Kind::Invalid.status("revision number cannot be masked"));
        }
        self.mask = request.output_mask;
        if let Some(entries) = self.whole() {
            return Ok(Some(SyncAuthorizedEntriesResponse { entries, ..Default::default() }));
        }
        Ok(Some(self.revisions(0)))
    }

    /// All entries, if they fit into one message: an agent takes a first message of entries for all.
    fn whole(&self) -> Option<Vec<types::Entry>> {
        if self.entries.len() > PAGE {
            return None;
        }
        let entries: Vec<_> =
            self.entries.iter().map(|entry| masked(entry, self.mask.as_ref())).collect();
        let bytes: usize = entries.iter().map(Message::encoded_len).sum();
        (bytes <= MAX_PAGE_BYTES).then_some(entries)
    }

    fn revisions(&mut self, start: usize) -> SyncAuthorizedEntriesResponse {
        let end = self.entries.len().min(start + PAGE);
        let page = self.entries.iter().take(end).skip(start);
        let entry_revisions = page.map(|entry| EntryRevision {
            id: entry.id.as_str().to_owned(),
            revision_number: entry.revision,
            created_at: entry.created_at,
        });
        let entry_revisions = entry_revisions.collect();
        let more = end < self.entries.len();
        self.next = if more { Next::Revisions(end) } else { Next::Request(self.places()) };
        SyncAuthorizedEntriesResponse { entry_revisions, entries: Vec::new(), more }
    }

    fn places(&self) -> HashMap<String, usize> {
        let ids = self.entries.iter().map(|entry| entry.id.as_str().to_owned());
        ids.zip(0..).collect()
    }

    /// As many of the wanted entries as fit into one message.
    fn asked(
        &mut self,
        places: HashMap<String, usize>,
        mut wanted: Vec<usize>,
    ) -> SyncAuthorizedEntriesResponse {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = wanted.last().and_then(|place| self.entries.get(*place)) {
            let entry = masked(entry, self.mask.as_ref());
            bytes += entry.encoded_len();
            if entries.len() == PAGE || bytes > MAX_PAGE_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(entry);
            wanted.pop();
        }
        let more = !wanted.is_empty();
        self.next = if more { Next::Entries(places, wanted) } else { Next::Request(places) };
        SyncAuthorizedEntriesResponse { entry_revisions: Vec::new(), entries, more }
    }

    /// The next request; none when the agent is done.
    async fn request(&mut self) -> Result<Option<SyncAuthorizedEntriesRequest>, Status> {
        let next = tokio::time::timeout(REQUEST_DEADLINE, self.requests.next()).await;
        match next.map_err(|_| Kind::Deadline.status("no request within 60 s"))? {
            Some(Err(status)) if status.code() != Code::Cancelled => Err(status),
            Some(Ok(request)) => Ok(Some(request)),
            Some(Err(_)) | None => Ok(None),
        }
    }
}
