//! `agent list` and `agent count`.

use super::{block::block, filter::Filter};
use crate::{
    cli::{
        Failure,
        command::Command,
        flags::FlagSet,
        output::Output,
        rpc,
        server::{
            connection::Connection,
            plural::{counted, counted_answer},
        },
    },
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::spire::api::server::agent::v1::{
        AgentFilter, CountAgentsRequest, ListAgentsRequest, ListAgentsResponse,
        agent_client::AgentClient,
    },
};
use tonic::transport::Channel;

/// Lists the agents that the filter lets through.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct List {
    filter: Filter,
    connection: Connection,
    output: Output,
}

/// Counts the agents that the filter lets through.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Count {
    filter: Filter,
    connection: Connection,
    output: Output,
}

/// As many as SPIRE asks for at once.
const PAGE: i32 = 1_000;

impl Command for List {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.filter.flags(flags);
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let filter = self.filter.wire()?;
        let answer = self.connection.call(async |channel| list(channel, filter).await)?;
        self.output.print(&answer, |answer| {
            if answer.agents.is_empty() {
                return "No attested agents found\n".to_owned();
            }
            let found = counted(answer.agents.len(), "attested agent", "attested agents");
            let mut text = format!("Found {found}:\n\n");
            text.extend(answer.agents.iter().map(block));
            text
        })
    }
}

async fn list(channel: Channel, filter: AgentFilter) -> Result<ListAgentsResponse, rpc::Error> {
    let mut client = AgentClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut answer = ListAgentsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = ListAgentsRequest {
            filter: Some(filter.clone()),
            output_mask: None,
            page_size: PAGE,
            page_token,
        };
        let page = client.list_agents(request).await?.into_inner();
        answer.agents.extend(page.agents);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(answer);
        }
    }
}

impl Command for Count {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.filter.flags(flags);
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let request = CountAgentsRequest { filter: Some(self.filter.wire()?) };
        let answer = self.connection.call(async |channel| -> Result<_, rpc::Error> {
            Ok(AgentClient::new(channel).count_agents(request).await?.into_inner())
        })?;
        self.output.print(&answer, |answer| {
            counted_answer(answer.count, "attested agent", "attested agents") + "\n"
        })
    }
}
