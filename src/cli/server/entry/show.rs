//! `entry show`.

use super::{
    block::block,
    filter::{self, Filter},
    order,
};
use crate::{
    cli::{
        Failure,
        command::Command,
        flags::FlagSet,
        output::Output,
        rpc,
        server::{connection::Connection, plural::counted},
    },
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::spire::api::server::entry::v1::{
        EntryFilter, GetEntryRequest, ListEntriesRequest, ListEntriesResponse,
        entry_client::EntryClient,
    },
};
use tonic::transport::Channel;

/// Shows the entries that the filter lets through, or one by its ID.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Show {
    entry_id: String,
    filter: Filter,
    connection: Connection,
    output: Output,
}

/// What went wrong. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// An ID already says which entry.
    #[error("the -entryID flag can't be combined with others")]
    Combined,
    /// The filter has the wrong form.
    #[error(transparent)]
    Filter(#[from] filter::Error),
    /// One entry was not to be had.
    #[error("error fetching entry ID {id}: {source}")]
    One {
        /// Which.
        id: String,
        /// Why not.
        source: rpc::Error,
    },
    /// The list was not to be had.
    #[error("error fetching entries: {0}")]
    List(#[source] rpc::Error),
}

/// As many as SPIRE asks for at once.
const PAGE: i32 = 500;

impl Command for Show {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add(
            "entryID",
            &mut self.entry_id,
            "The ID of the entry to show; not together with filters",
        );
        self.filter.flags(flags);
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let mut answer = self.fetch()?;
        order::sort(&mut answer.entries);
        self.output.print(&answer, |answer| {
            let mut text = format!("Found {}\n", counted(answer.entries.len(), "entry", "entries"));
            text.extend(answer.entries.iter().map(block));
            text
        })
    }
}

impl Show {
    fn fetch(&self) -> Result<ListEntriesResponse, Error> {
        if self.entry_id.is_empty() {
            let filter = self.filter.wire()?;
            return self
                .connection
                .call(async |channel| list(channel, filter).await)
                .map_err(Error::List);
        }
        if self.filter.is_narrow() {
            return Err(Error::Combined);
        }
        let id = self.entry_id.clone();
        let fetched = self.connection.call(async |channel| -> Result<_, rpc::Error> {
            let request = GetEntryRequest { id: id.clone(), output_mask: None };
            Ok(EntryClient::new(channel).get_entry(request).await?.into_inner())
        });
        let entry = fetched.map_err(|source| Error::One { id, source })?;
        Ok(ListEntriesResponse { entries: vec![entry], next_page_token: String::new() })
    }
}

async fn list(channel: Channel, filter: EntryFilter) -> Result<ListEntriesResponse, rpc::Error> {
    let mut client = EntryClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut answer = ListEntriesResponse::default();
    let mut page_token = String::new();
    loop {
        let request = ListEntriesRequest {
            filter: Some(filter.clone()),
            output_mask: None,
            page_size: PAGE,
            page_token,
        };
        let page = client.list_entries(request).await?.into_inner();
        answer.entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(answer);
        }
    }
}
