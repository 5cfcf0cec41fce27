//! The commands on one agent: `agent show`, `agent evict`, `agent ban`.

use super::block::{block, selectors};
use crate::{
    cli::{
        Failure, command::Command, flags::FlagSet, output::Output, rpc,
        server::connection::Connection,
    },
    spiffe::{SpiffeId, id},
    wire::proto::spire::api::{
        server::agent::v1::{
            BanAgentRequest, DeleteAgentRequest, GetAgentRequest, agent_client::AgentClient,
        },
        types::Spiffeid,
    },
};

/// Shows an agent.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Show(OneAgent);

/// Removes an agent, which may attest again.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Evict(OneAgent);

/// Bans an agent, which may not attest again.
#[derive(Debug, Default)]
pub(in crate::cli::server) struct Ban(OneAgent);

/// The flags of all three.
#[derive(Debug, Default)]
struct OneAgent {
    spiffe_id: String,
    connection: Connection,
    output: Output,
}

/// No agent is named. The text is SPIRE's.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// No `-spiffeID`.
    #[error("a SPIFFE ID is required")]
    NoId,
    /// Not a SPIFFE ID.
    #[error(transparent)]
    Id(#[from] id::Error),
}

impl OneAgent {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("spiffeID", &mut self.spiffe_id, "The SPIFFE ID of the agent");
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn id(&self) -> Result<Option<Spiffeid>, Error> {
        if self.spiffe_id.is_empty() {
            return Err(Error::NoId);
        }
        Ok(Some(Spiffeid::from(&SpiffeId::parse(&self.spiffe_id)?)))
    }
}

impl Command for Show {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.0.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let request = GetAgentRequest { id: self.0.id()?, output_mask: None };
        let agent = self.0.connection.call(async |channel| -> Result<_, rpc::Error> {
            Ok(AgentClient::new(channel).get_agent(request).await?.into_inner())
        })?;
        self.0.output.print(&agent, |agent| {
            let (block, selectors) = (block(agent), selectors(agent));
            format!("Found an attested agent given its SPIFFE ID\n\n{block}{selectors}")
        })
    }
}

impl Command for Evict {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.0.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let request = DeleteAgentRequest { id: self.0.id()? };
        self.0.connection.call(async |channel| -> Result<_, rpc::Error> {
            AgentClient::new(channel).delete_agent(request).await?;
            Ok(())
        })?;
        self.0.output.print(&(), |()| "Agent evicted successfully\n".to_owned())
    }
}

impl Command for Ban {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.0.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let request = BanAgentRequest { id: self.0.id()? };
        self.0.connection.call(async |channel| -> Result<_, rpc::Error> {
            AgentClient::new(channel).ban_agent(request).await?;
            Ok(())
        })?;
        self.0.output.print(&(), |()| "Agent banned successfully\n".to_owned())
    }
}
