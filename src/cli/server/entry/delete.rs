//! `entry delete`.

use super::batch::{self, SomeFailed, is_done, reason};
use crate::{
    cli::{
        Failure, command::Command, console, flags::FlagSet, go::quote::printable, input, json,
        output::Output, rpc, server::connection::Connection,
    },
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::spire::api::server::entry::v1::{
        BatchDeleteEntryRequest, BatchDeleteEntryResponse, entry_client::EntryClient,
    },
};
use serde::Deserialize;
use std::fmt::Write as _;

/// Deletes an entry, or those that a file lists.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Delete {
    entry_id: String,
    file: String,
    connection: Connection,
    output: Output,
}

/// Nothing to delete.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Neither `-entryID` nor `-file`; the text is SPIRE's.
    #[error("an entry ID is required")]
    NoEntryId,
    /// The file is not readable or not JSON.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// The file is JSON of another kind.
    #[error("expected an object {{\"ids\": [...]}}: {0}")]
    Shape(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Listed {
    ids: Vec<String>,
}

impl Command for Delete {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("entryID", &mut self.entry_id, "The ID of the entry to delete");
        flags.add(
            "file",
            &mut self.file,
            "A JSON file {\"ids\": [...]} of the entries to delete, - for standard input",
        );
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let ids = self.ids()?;
        let mut answer = BatchDeleteEntryResponse::default();
        let called = self.connection.call(async |channel| -> Result<(), rpc::Error> {
            let mut client = EntryClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
            for part in ids.chunks(batch::PART) {
                let request = BatchDeleteEntryRequest { ids: part.to_vec() };
                let part = client.batch_delete_entry(request).await?.into_inner();
                answer.results.extend(part.results);
            }
            Ok(())
        });
        let Err(error) = called else { return show(&answer, self.output) };
        if !answer.results.is_empty() {
            // That the call failed says more than that an item did.
            let _shown = show(&answer, self.output);
        }
        Err(error.into())
    }
}

impl Delete {
    fn ids(&self) -> Result<Vec<String>, Error> {
        if !self.file.is_empty() {
            let listed: Listed =
                serde_json::from_value(input::json(&self.file)?).map_err(Error::Shape)?;
            return Ok(listed.ids);
        }
        if self.entry_id.is_empty() {
            return Err(Error::NoEntryId);
        }
        Ok(vec![self.entry_id.clone()])
    }
}

/// The empty lines, and the summary without a line end, are SPIRE's.
fn show(answer: &BatchDeleteEntryResponse, output: Output) -> Result<(), Failure> {
    let (done, failed): (Vec<_>, Vec<_>) =
        answer.results.iter().partition(|item| is_done(item.status.as_ref()));
    if output.is_json() {
        console::print(&json::line(answer)?)?;
        return if failed.is_empty() { Ok(()) } else { Err(Failure::Told) };
    }
    let mut text = String::new();
    for item in &done {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Deleted entry with ID: {}", printable(&item.id));
    }
    if !done.is_empty() {
        text.push_str("\n\n");
    }
    if failed.is_empty() {
        return console::print(&format!("{text}Deleted {} entries successfully", done.len()));
    }
    for item in &failed {
        let (id, reason) = (printable(&item.id), reason(item.status.as_ref()));
        console::tell(&format!("Failed to delete entry with ID {id} {reason}\n"));
    }
    let (done, failed) = (done.len(), failed.len());
    let summary = if done == 0 {
        format!("Failed to delete {failed} entries")
    } else {
        format!("Deleted {done} entries successfully, but failed to delete {failed} entries")
    };
    console::print(&format!("{text}\n\n{summary}"))?;
    Err(SomeFailed { verb: "delete" }.into())
}
