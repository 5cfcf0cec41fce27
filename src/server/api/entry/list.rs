//! Listing and counting, page by page, without holding up the writer.

use super::{read, write::masked};
use crate::{
    server::{registration::Registration, store::Store},
    spiffe::Entry,
    transport::status::Kind,
    wire::proto::spire::api::server::entry::v1::{
        CountEntriesRequest, CountEntriesResponse, ListEntriesRequest, ListEntriesResponse,
    },
};
use prost::Message;
use std::sync::Arc;
use tonic::Status;

/// 1,000 rows: twice what SPIRE's CLI asks for.
const MAX_PAGE_ROWS: usize = 1_000;
/// 1 MiB: a quarter of what a grpc-go client receives at most unless told otherwise.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// 64 MiB, about 270,000 entries: what a request without pages gets at most. SPIRE has no bound.
const MAX_UNPAGED_BYTES: usize = 64 << 20;
/// 1,024 rows are looked at between two chances for other tasks and for the writer.
const CHUNK: usize = 1_024;

/// Counts the entries that the filter accepts.
pub(super) async fn count(
    registration: &Registration,
    request: CountEntriesRequest,
) -> Result<CountEntriesResponse, Status> {
    let store = registration.store();
    let is_unfiltered = request.filter.is_none();
    let filter = read::filter(registration, request.filter)?;
    let mut count = 0;
    if is_unfiltered {
        count = store.entry_count();
    } else {
        let mut rows = Rows::after(store, 0);
        while let Some(chunk) = rows.next().await {
            count += filter.keep(chunk).len();
        }
    }
    Ok(CountEntriesResponse { count: i32::try_from(count).unwrap_or(i32::MAX) })
}

/// Lists entries in the order of their creation. A page is full at the rows that were asked for, at
/// [`MAX_PAGE_ROWS`] or at [`MAX_PAGE_BYTES`]; its token is empty when nothing follows.
pub(super) async fn list(
    registration: &Registration,
    request: ListEntriesRequest,
) -> Result<ListEntriesResponse, Status> {
    let filter = read::filter(registration, request.filter)?;
    let size = usize::try_from(request.page_size).map_err(|_| {
        let size = request.page_size;
        Kind::Invalid.status(format!("page size is {size}, expected 0 for everything, or more"))
    })?;
    let start = position(&request.page_token)?;
    let (max_rows, max_bytes) = match size {
        0 => (usize::MAX, MAX_UNPAGED_BYTES),
        rows => (rows.min(MAX_PAGE_ROWS), MAX_PAGE_BYTES),
    };
    let (mut entries, mut bytes, mut last) = (Vec::new(), 0, start);
    let mut rows = Rows::after(registration.store(), start);
    while let Some(chunk) = rows.next().await {
        for (row, entry) in filter.keep(chunk) {
            let entry = masked(&entry, request.output_mask.as_ref());
            bytes += entry.encoded_len();
            let is_full = entries.len() == max_rows || bytes > max_bytes && !entries.is_empty();
            if is_full && size == 0 {
                return Err(Kind::Exhausted.status(format!(
                    "failed to list entries: more than {} MiB of them, list them in pages",
                    MAX_UNPAGED_BYTES >> 20
                )));
            }
            if is_full {
                return Ok(ListEntriesResponse { entries, next_page_token: last.to_string() });
            }
            entries.push(entry);
            last = row;
        }
    }
    Ok(ListEntriesResponse { entries, next_page_token: String::new() })
}

/// Where the page begins: behind the row that the token names.
fn position(token: &str) -> Result<i64, Status> {
    if token.is_empty() {
        return Ok(0);
    }
    let row = token.parse::<i64>().ok().filter(|row| *row >= 0);
    row.ok_or_else(|| {
        Kind::Invalid.status(format!("failed to list entries: could not parse token '{token}'"))
    })
}

/// All entries, a chunk at a time.
struct Rows<'a> {
    store: &'a Store,
    last: i64,
}

impl<'a> Rows<'a> {
    const fn after(store: &'a Store, row: i64) -> Self {
        Self { store, last: row }
    }

    async fn next(&mut self) -> Option<Vec<(i64, Arc<Entry>)>> {
        tokio::task::yield_now().await;
        let chunk = self.store.entries_after(self.last, CHUNK);
        self.last = chunk.last()?.0;
        Some(chunk)
    }
}
