//! `entry create`.

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
            BatchCreateEntryRequest, BatchCreateEntryResponse, entry_client::EntryClient,
        },
        types::{Entry, Spiffeid},
    },
};

/// Creates the entry that the flags describe, or those of a file.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Create {
    entry_id: String,
    attributes: Attributes,
    node: bool,
    data: String,
    connection: Connection,
    output: Output,
}

impl Command for Create {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.attributes.flags(flags);
        flags.add(
            "entryID",
            &mut self.entry_id,
            "An ID for the entry; without it the server chooses one",
        );
        flags.add(
            "node",
            &mut self.node,
            "The entry is for nodes: an alias for all agents with these selectors",
        );
        flags.add(
            "data",
            &mut self.data,
            "A JSON file with entries, - for standard input; other flags are not looked at then",
        );
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let entries =
            if self.data.is_empty() { vec![self.entry()?] } else { data::entries(&self.data)? };
        let mut answer = BatchCreateEntryResponse::default();
        let called = self.connection.call(async |channel| -> Result<(), rpc::Error> {
            let mut client = EntryClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
            for part in entries.chunks(batch::PART) {
                let request = BatchCreateEntryRequest { entries: part.to_vec(), output_mask: None };
                let part = client.batch_create_entry(request).await?.into_inner();
                answer.results.extend(part.results);
            }
            Ok(())
        });
        batch::finish("create", called, answer, &entries, self.output)
    }
}

impl Create {
    fn entry(&self) -> Result<Entry, attributes::Error> {
        self.check()?;
        let spiffe_id = attributes::spiffe_id(&self.attributes.spiffe_id)?;
        let parent_id = if self.node {
            // What the server knows as the parent of every alias.
            Spiffeid { trust_domain: spiffe_id.trust_domain.clone(), path: "/spire/server".into() }
        } else {
            attributes::spiffe_id(&self.attributes.parent_id)?
        };
        Ok(Entry { id: self.entry_id.clone(), ..self.attributes.entry(spiffe_id, parent_id)? })
    }

    fn check(&self) -> Result<(), attributes::Error> {
        let attributes = &self.attributes;
        if attributes.selectors.is_empty() {
            return Err(attributes::Error::NoSelector);
        }
        if self.node && !attributes.federates_with.is_empty() {
            return Err(attributes::Error::NodeFederates);
        }
        if attributes.parent_id.is_empty() && !self.node {
            return Err(attributes::Error::NoParentOrNode);
        }
        if attributes.spiffe_id.is_empty() {
            return Err(attributes::Error::NoSpiffeId);
        }
        attributes.check_lifetimes()
    }
}
