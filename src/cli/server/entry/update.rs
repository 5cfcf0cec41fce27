//! `entry update`.

use super::{
    attributes::{self, Attributes},
    batch, data,
};
use crate::{
    cli::{
        Failure, command::Command, flags::FlagSet, output::Output, rpc,
        server::connection::Connection,
    },
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::spire::api::{
        server::entry::v1::{
            BatchCreateEntryResponse, BatchUpdateEntryRequest, GetEntryRequest,
            batch_create_entry_response, batch_update_entry_response, entry_client::EntryClient,
        },
        types::Entry,
    },
};
use tonic::transport::Channel;

/// Replaces the entry with the given ID by what the flags describe, or entries by those of a file.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Update {
    entry_id: String,
    attributes: Attributes,
    data: String,
    connection: Connection,
    output: Output,
}

/// An update that was not done.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The entry as it is was not to be had.
    #[error("failed to fetch existing entry to merge additional attributes: {0}")]
    Fetch(#[source] rpc::Error),
    /// The update failed.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
}

impl Command for Update {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.attributes.flags(flags);
        flags.add("entryID", &mut self.entry_id, "The ID of the entry to replace");
        flags.add(
            "data",
            &mut self.data,
            "A JSON file with entries, - for standard input; other flags are not looked at then",
        );
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let mut entries =
            if self.data.is_empty() { vec![self.entry()?] } else { data::entries(&self.data)? };
        let mut answer = BatchCreateEntryResponse::default();
        let called = self.connection.call(async |channel| -> Result<(), Error> {
            let mut client = EntryClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
            if let [entry] = entries.as_mut_slice() {
                self.keep_other_attributes(&mut client, entry).await.map_err(Error::Fetch)?;
            }
            for part in entries.chunks(batch::PART) {
                let request = BatchUpdateEntryRequest {
                    entries: part.to_vec(),
                    input_mask: None,
                    output_mask: None,
                };
                let part = client.batch_update_entry(request).await.map_err(rpc::Error::from)?;
                answer.results.extend(part.into_inner().results.into_iter().map(as_created));
            }
            Ok(())
        });
        batch::finish("update", called, answer, &entries, self.output)
    }
}

impl Update {
    fn entry(&self) -> Result<Entry, attributes::Error> {
        let attributes = &self.attributes;
        if self.entry_id.is_empty() {
            return Err(attributes::Error::NoEntryId);
        }
        if attributes.selectors.is_empty() {
            return Err(attributes::Error::NoSelector);
        }
        if attributes.parent_id.is_empty() {
            return Err(attributes::Error::NoParent);
        }
        if attributes.spiffe_id.is_empty() {
            return Err(attributes::Error::NoSpiffeId);
        }
        attributes.check_lifetimes()?;
        let parent_id = attributes::spiffe_id(&attributes.parent_id)?;
        let spiffe_id = attributes::spiffe_id(&attributes.spiffe_id)?;
        Ok(Entry { id: self.entry_id.clone(), ..attributes.entry(spiffe_id, parent_id)? })
    }

    /// The server replaces all additional attributes at once: when only one of them was given, the
    /// other must be sent as it is.
    async fn keep_other_attributes(
        &self,
        client: &mut EntryClient<Channel>,
        entry: &mut Entry,
    ) -> Result<(), rpc::Error> {
        let given = &self.attributes;
        let (prefetch, jti) = (given.disable_x509_svid_prefetch, given.jwt_svid_include_jti);
        if !self.data.is_empty() || (prefetch.is_none() && jti.is_none()) {
            return Ok(());
        }
        let request = GetEntryRequest { id: self.entry_id.clone(), output_mask: None };
        let existing = client.get_entry(request).await?.into_inner();
        let mut attributes = existing.additional_attributes.unwrap_or_default();
        if let Some(prefetch) = prefetch {
            attributes.disable_x509_svid_prefetch = prefetch;
        }
        if let Some(jti) = jti {
            attributes.jwt_svid_include_jti = jti;
        }
        entry.additional_attributes = Some(attributes);
        Ok(())
    }
}

fn as_created(item: batch_update_entry_response::Result) -> batch_create_entry_response::Result {
    batch_create_entry_response::Result { status: item.status, entry: item.entry }
}
