//! `entry count`.

use super::filter::Filter;
use crate::{
    cli::{
        Failure,
        command::Command,
        flags::FlagSet,
        output::Output,
        rpc,
        server::{connection::Connection, plural::counted_answer},
    },
    wire::proto::spire::api::server::entry::v1::{CountEntriesRequest, entry_client::EntryClient},
};

/// Counts the entries that the filter lets through.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Count {
    filter: Filter,
    connection: Connection,
    output: Output,
}

impl Command for Count {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.filter.flags(flags);
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let request = CountEntriesRequest { filter: Some(self.filter.wire()?) };
        let answer = self.connection.call(async |channel| -> Result<_, rpc::Error> {
            Ok(EntryClient::new(channel).count_entries(request).await?.into_inner())
        })?;
        self.output.print(&answer, |answer| {
            counted_answer(answer.count, "registration entry", "registration entries") + "\n"
        })
    }
}
