//! `token generate`.

use crate::{
    cli::{
        Failure, command::Command, flags::FlagSet, go::quote::printable, output::Output, rpc,
        server::connection::Connection,
    },
    spiffe::{SpiffeId, id},
    wire::proto::spire::api::{
        server::agent::v1::{CreateJoinTokenRequest, agent_client::AgentClient},
        types::Spiffeid,
    },
};

/// Makes a join token.
#[derive(Debug)]
pub(super) struct Generate {
    ttl: i64,
    spiffe_id: String,
    connection: Connection,
    output: Output,
}

impl Default for Generate {
    fn default() -> Self {
        Self {
            // Ten minutes, as in SPIRE: enough to start the agent, short enough to leak little.
            ttl: 600,
            spiffe_id: String::new(),
            connection: Connection::default(),
            output: Output::default(),
        }
    }
}

/// A token that cannot be asked for.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A life of more than 68 years.
    #[error("invalid value for TTL: {0} seconds, expected at most {most}", most = i32::MAX)]
    Ttl(i64),
    /// Not a SPIFFE ID.
    #[error(transparent)]
    Id(#[from] id::Error),
}

impl Command for Generate {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("ttl", &mut self.ttl, "How long the token can be used, in seconds");
        flags.add(
            "spiffeID",
            &mut self.spiffe_id,
            "A SPIFFE ID that the agent gets besides its own, to put entries below",
        );
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let request = self.request()?;
        let answer = self.connection.call(async |channel| -> Result<_, rpc::Error> {
            Ok(AgentClient::new(channel).create_join_token(request).await?.into_inner())
        })?;
        self.output.print(&answer, |token| {
            let warning =
                if self.spiffe_id.is_empty() { "Warning: Missing SPIFFE ID.\n" } else { "" };
            format!("Token: {}\n{warning}", printable(&token.value))
        })
    }
}

impl Generate {
    fn request(&self) -> Result<CreateJoinTokenRequest, Error> {
        let ttl = i32::try_from(self.ttl).map_err(|_| Error::Ttl(self.ttl))?;
        let agent_id = match self.spiffe_id.as_str() {
            "" => None,
            text => Some(Spiffeid::from(&SpiffeId::parse(text)?)),
        };
        Ok(CreateJoinTokenRequest { ttl, token: String::new(), agent_id })
    }
}
