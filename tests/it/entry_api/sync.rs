//! What an agent learns of its entries: GetAuthorizedEntries, and SyncAuthorizedEntries as SPIRE's agent
//! speaks it (server.md §1.9).

use super::{Api, spec};
use finial::{
    server::store::NewEntry,
    spiffe::{EntrySpec, Selector},
    wire::proto::spire::api::{
        server::entry::v1::{
            GetAuthorizedEntriesRequest, SyncAuthorizedEntriesRequest,
            SyncAuthorizedEntriesResponse,
        },
        types::EntryMask,
    },
};
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// One open call.
struct Call {
    requests: mpsc::Sender<SyncAuthorizedEntriesRequest>,
    answers: Streaming<SyncAuthorizedEntriesResponse>,
}

impl Call {
    /// Opens a call with a first request.
    async fn open(api: &mut Api, first: SyncAuthorizedEntriesRequest) -> Self {
        let (requests, stream) = mpsc::channel(1);
        requests.send(first).await.unwrap();
        let answers = api.client.sync_authorized_entries(ReceiverStream::new(stream)).await;
        Self { requests, answers: answers.unwrap().into_inner() }
    }

    async fn ask(&self, ids: &[String]) {
        let request = SyncAuthorizedEntriesRequest { output_mask: None, ids: ids.to_vec() };
        self.requests.send(request).await.unwrap();
    }

    async fn answer(&mut self) -> SyncAuthorizedEntriesResponse {
        self.answers.message().await.unwrap().expect("an answer")
    }

    async fn end(mut self) -> Result<(), Status> {
        drop(self.requests);
        assert_eq!(self.answers.message().await?, None);
        Ok(())
    }
}

/// What SPIRE's agent asks for.
fn first() -> SyncAuthorizedEntriesRequest {
    let output_mask = Some(EntryMask {
        spiffe_id: true,
        selectors: true,
        federates_with: true,
        admin: true,
        downstream: true,
        revision_number: true,
        store_svid: true,
        hint: true,
        created_at: true,
        additional_attributes: true,
        ..EntryMask::default()
    });
    SyncAuthorizedEntriesRequest { output_mask, ids: Vec::new() }
}

/// Synchronises as SPIRE's agent does; returns what it then holds and the sizes of all answers.
async fn synchronise(api: &mut Api, cached: &[String]) -> (BTreeMap<String, i64>, Vec<usize>) {
    let mut call = Call::open(api, first()).await;
    let mut answer = call.answer().await;
    let mut sizes = vec![answer.entry_revisions.len() + answer.entries.len()];
    let revision = |entry: finial::wire::proto::spire::api::types::Entry| {
        assert!(entry.parent_id.is_none() && entry.spiffe_id.is_some(), "masked");
        (entry.id, entry.revision_number)
    };
    if answer.entry_revisions.is_empty() {
        assert!(!answer.more);
        return (answer.entries.into_iter().map(revision).collect(), sizes);
    }
    let page = answer.entry_revisions.len();
    let mut listed = BTreeMap::new();
    loop {
        assert!(answer.entries.is_empty(), "revisions and entries never mix");
        listed.extend(answer.entry_revisions.into_iter().map(|r| (r.id, r.revision_number)));
        if !answer.more {
            break;
        }
        answer = call.answer().await;
        sizes.push(answer.entry_revisions.len());
    }
    let missing: Vec<_> = listed.keys().filter(|id| !cached.contains(id)).cloned().collect();
    for ids in missing.chunks(page) {
        call.ask(ids).await;
        let mut received = Vec::new();
        loop {
            let answer = call.answer().await;
            assert!(answer.entry_revisions.is_empty(), "revisions and entries never mix");
            sizes.push(answer.entries.len());
            received.extend(answer.entries.into_iter().map(revision));
            if !answer.more {
                break;
            }
        }
        let received: BTreeMap<_, _> = received.into_iter().collect();
        assert!(ids.iter().all(|id| received.get(id) == listed.get(id)));
    }
    call.end().await.unwrap();
    (listed, sizes)
}

#[tokio::test]
async fn up_to_a_page_of_entries_comes_whole_and_more_by_revision() {
    for (count, sizes) in
        [(0, &[0][..]), (1, &[1]), (500, &[500]), (501, &[500, 1, 500, 1]), (5_000, &[500; 20])]
    {
        let mut api = Api::with_entries(count).await;
        let (held, found) = synchronise(&mut api, &[]).await;
        assert_eq!(held.len(), count);
        assert_eq!(found, sizes, "{count}");
    }
}

#[tokio::test]
async fn an_agent_fetches_only_what_it_lacks() {
    let mut api = Api::with_entries(1_200).await;
    let cached: Vec<_> = (0..1_199).map(|number| format!("e{number:06}")).collect();
    let (held, sizes) = synchronise(&mut api, &cached).await;
    assert_eq!((held.len(), sizes), (1_200, vec![500, 500, 200, 1]));
}

#[tokio::test]
async fn unknown_ids_are_left_out_and_an_empty_answer_still_comes() {
    let mut api = Api::with_entries(501).await;
    let mut call = Call::open(&mut api, first()).await;
    while call.answer().await.more {}
    call.ask(&["nobody".to_owned(), "e000500".to_owned()]).await;
    let answer = call.answer().await;
    let ids: Vec<_> = answer.entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!((ids, answer.more), (vec!["e000500"], false));
    call.ask(&["nobody".to_owned()]).await;
    assert_eq!(call.answer().await, SyncAuthorizedEntriesResponse::default());
    call.end().await.unwrap();
}

#[tokio::test]
async fn more_ids_than_a_page_are_answered_in_pages() {
    let mut api = Api::with_entries(1_100).await;
    let mut call = Call::open(&mut api, first()).await;
    while call.answer().await.more {}
    let all: Vec<_> = (0..1_100).map(|number| format!("e{number:06}")).collect();
    call.ask(&all).await;
    let mut received = Vec::new();
    for (size, more) in [(500, true), (500, true), (100, false)] {
        let answer = call.answer().await;
        assert_eq!((answer.entries.len(), answer.more), (size, more));
        received.extend(answer.entries.into_iter().map(|entry| entry.id));
    }
    assert_eq!(received, all, "in the order of the request");
    call.end().await.unwrap();
}

/// About 128 KB each: 40 are more than an agent receives at once.
async fn with_large_entries() -> Api {
    let api = Api::new().await;
    let news = (0..40).map(|number| {
        let selector = |index| Selector::new("x", &format!("{index:0>1024}")).unwrap();
        let spec = spec(&format!("/large/{number}"));
        let spec = EntrySpec { selectors: (0..126).map(selector).collect(), ..spec };
        NewEntry { id: None, spec }
    });
    api.store.create_entries(news.collect()).await.unwrap();
    api
}

#[tokio::test]
async fn few_but_large_entries_stay_below_what_an_agent_receives() {
    let mut api = with_large_entries().await;
    // SPIRE's agent keeps grpc-go's limit.
    api.client = api.client.clone().max_decoding_message_size(4 << 20);
    let (held, sizes) = synchronise(&mut api, &[]).await;
    assert_eq!((held.len(), sizes[0]), (40, 40), "by revision");
    assert!(sizes.len() > 3, "in several answers: {sizes:?}");
}

#[tokio::test]
async fn the_first_request_is_checked() {
    let mut api = Api::with_entries(1).await;
    let with_ids = SyncAuthorizedEntriesRequest { ids: vec!["x".to_owned()], ..first() };
    let without_revision = SyncAuthorizedEntriesRequest {
        output_mask: Some(EntryMask { spiffe_id: true, ..EntryMask::default() }),
        ids: Vec::new(),
    };
    for (request, message) in [
        (with_ids, "specifying IDs on initial request is not supported"),
        (without_revision, "revision number cannot be masked"),
    ] {
        let mut call = Call::open(&mut api, request).await;
        let status = call.answers.message().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
    }
    let unmasked = Call::open(&mut api, SyncAuthorizedEntriesRequest::default()).await;
    let mut unmasked = unmasked;
    assert!(unmasked.answer().await.entries[0].parent_id.is_some(), "no mask asks for everything");
}

#[tokio::test]
async fn an_agent_gets_its_own_entries_only() {
    let mut api = Api::with_entries(3).await;
    let foreign = EntrySpec { parent_id: super::id("/spire/agent/other"), ..spec("/w") };
    let new = NewEntry { id: None, spec: foreign };
    api.store.create_entries(vec![new]).await.unwrap();
    let request = GetAuthorizedEntriesRequest { output_mask: None };
    let entries = api.client.get_authorized_entries(request).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 3);
    assert_eq!(synchronise(&mut api, &[]).await.0.len(), 3);
}
