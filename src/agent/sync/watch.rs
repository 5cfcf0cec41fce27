//! The watch stream of a finial server: a snapshot, then changes as they happen, and the agent's word on
//! which bundle its workloads use.

use super::{error::SyncError, intake::Reading};
use crate::{
    agent::cache::{Update, UpdateKind},
    runtime::{Publisher, Reader},
    spiffe::{EntryId, TrustDomain},
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::finial::agent::v1::{WatchEvent, WatchRequest, watch_client::WatchClient},
};
use futures_util::{Stream, stream};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Streaming, transport::Channel};

/// An open stream.
pub(super) struct Watch {
    events: Streaming<WatchEvent>,
    acknowledged: Publisher<u64>,
    reading: Reading,
}

/// The snapshot of a large server takes seconds.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

impl Watch {
    /// Opens the stream and reads its snapshot.
    pub(super) async fn open(
        channel: Channel,
        reading: Reading,
    ) -> Result<(Self, Update), SyncError> {
        let acknowledged = Publisher::new(0);
        let requests = requests(acknowledged.reader());
        let mut client = WatchClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let opened = async {
            let events = client.watch(requests).await?.into_inner();
            let mut watch = Self { events, acknowledged, reading };
            let snapshot = watch.next().await?;
            Ok((watch, snapshot))
        };
        timeout(OPEN_WITHIN, opened).await.map_err(|_| SyncError::Timeout(OPEN_WITHIN))?
    }

    /// The next change. Dropping the future is safe.
    pub(super) async fn next(&mut self) -> Result<Update, SyncError> {
        let event = self.events.message().await?.ok_or(SyncError::Closed)?;
        Ok(update(&event, &self.reading))
    }

    /// Tells the server which bundle all streams of this agent use.
    pub(super) fn acknowledge(&self, sequence: u64) {
        self.acknowledged.update(|last| {
            let is_news = *last != sequence;
            *last = sequence;
            is_news
        });
    }
}

/// The first request says 0; each later one the latest sequence, whatever came between.
fn requests(acknowledged: Reader<u64>) -> impl Stream<Item = WatchRequest> + Send + 'static {
    enum Next {
        First(Reader<u64>),
        Changed(Reader<u64>),
    }
    stream::unfold(Next::First(acknowledged), |next| async {
        let (served_bundle_sequence, reader) = match next {
            Next::First(reader) => (0, reader),
            Next::Changed(mut reader) => (reader.changed().await.ok()?, reader),
        };
        Some((WatchRequest { served_bundle_sequence }, Next::Changed(reader)))
    })
}

fn update(event: &WatchEvent, reading: &Reading) -> Update {
    let mut removed_entries: Vec<EntryId> =
        event.removed_entry_ids.iter().filter_map(|id| EntryId::parse(id).ok()).collect();
    let mut entries = Vec::with_capacity(event.entries.len());
    for entry in &event.entries {
        match reading.entry(entry) {
            Some(entry) => entries.push(entry),
            // What it was before is no longer true either.
            None => removed_entries.extend(EntryId::parse(&entry.id)),
        }
    }
    Update {
        kind: if event.snapshot { UpdateKind::Snapshot } else { UpdateKind::Delta },
        entries,
        removed_entries,
        bundles: event.bundles.iter().filter_map(|bundle| reading.bundle(bundle)).collect(),
        removed_bundles: event
            .removed_trust_domains
            .iter()
            .filter_map(|name| TrustDomain::parse_name_or_id(name).ok())
            .collect(),
    }
}
