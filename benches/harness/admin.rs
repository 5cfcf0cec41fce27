//! The calls of an administrator on a server's private socket.

use super::server::TRUST_DOMAIN;
use anyhow::{Context, ensure};
use finial::{
    spiffe::{SpiffeId, TrustDomain},
    wire::proto::spire::api::{
        server::{
            agent::v1::{CreateJoinTokenRequest, agent_client::AgentClient},
            entry::v1::{
                BatchCreateEntryRequest, BatchUpdateEntryRequest, CountEntriesRequest,
                entry_client::EntryClient,
            },
        },
        types,
    },
};
use tonic::transport::Channel;

/// An administrator's connection.
pub(crate) struct Admin(Channel);

/// What a joining agent needs.
pub(crate) struct Invitation {
    /// The join token.
    pub(crate) token: String,
    /// The identity that the agent will have.
    pub(crate) agent: SpiffeId,
}

impl Admin {
    /// Calls over this channel.
    pub(super) const fn new(channel: Channel) -> Self {
        Self(channel)
    }

    /// Makes a join token.
    pub(crate) async fn invite(&self) -> anyhow::Result<Invitation> {
        let request = CreateJoinTokenRequest { ttl: 600, ..CreateJoinTokenRequest::default() };
        let answer = AgentClient::new(self.0.clone()).create_join_token(request).await?;
        let token = answer.into_inner().value;
        let path = format!("/spire/agent/join_token/{token}");
        Ok(Invitation { token, agent: TrustDomain::parse(TRUST_DOMAIN)?.member(&path)? })
    }

    /// Creates entries in one call; they come back as stored.
    pub(crate) async fn create(
        &self,
        entries: Vec<types::Entry>,
    ) -> anyhow::Result<Vec<types::Entry>> {
        let request = BatchCreateEntryRequest { entries, output_mask: None };
        let answer = EntryClient::new(self.0.clone()).batch_create_entry(request).await?;
        let results = answer.into_inner().results.into_iter();
        results.map(|result| accepted(result.status, result.entry)).collect()
    }

    /// How many entries there are.
    pub(crate) async fn count(&self) -> anyhow::Result<usize> {
        let request = CountEntriesRequest::default();
        let answer = EntryClient::new(self.0.clone()).count_entries(request).await?;
        Ok(usize::try_from(answer.into_inner().count)?)
    }

    /// Replaces entries in one call; they come back as stored.
    pub(crate) async fn update(
        &self,
        entries: Vec<types::Entry>,
    ) -> anyhow::Result<Vec<types::Entry>> {
        let request = BatchUpdateEntryRequest { entries, input_mask: None, output_mask: None };
        let answer = EntryClient::new(self.0.clone()).batch_update_entry(request).await?;
        let results = answer.into_inner().results.into_iter();
        results.map(|result| accepted(result.status, result.entry)).collect()
    }
}

fn accepted(
    status: Option<types::Status>,
    entry: Option<types::Entry>,
) -> anyhow::Result<types::Entry> {
    let status = status.unwrap_or_default();
    ensure!(status.code == 0, "the server refused an entry: {}", status.message);
    entry.context("the server returned no entry")
}
