//! What `finial dev` asks its server for, over the same private socket as every operator.

use crate::{
    spiffe::{Selector, SelectorSet, SpiffeId},
    transport::channel::{self, ConnectError},
    wire::{
        self,
        proto::spire::api::{
            server::{
                agent::v1::{CreateJoinTokenRequest, agent_client::AgentClient},
                entry::v1::{BatchCreateEntryRequest, entry_client::EntryClient},
            },
            types,
        },
    },
};
use std::path::Path;
use tonic::{Code, Status, transport::Channel};

/// A connection to the server's private socket.
#[derive(Clone, Debug)]
pub struct ServerApi {
    channel: Channel,
}

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It does not answer.
    #[error("the server's socket does not answer")]
    Connect(#[from] ConnectError),
    /// It refuses.
    #[error("the server refuses the {what}: {}", status.message())]
    Refused {
        /// What it was asked for.
        what: &'static str,
        /// Its answer.
        status: Box<Status>,
    },
    /// It refuses this one.
    #[error("the server refuses an entry for {spiffe_id}: {message}")]
    Entry {
        /// Whose entry.
        spiffe_id: SpiffeId,
        /// Why.
        message: String,
    },
}

/// Enough for the agent's start, which follows at once.
const TOKEN_LIFE_SECS: i32 = 600;

impl ServerApi {
    /// Connects to the socket. Dropping the future closes what it opened.
    ///
    /// # Errors
    /// When nobody serves it.
    pub async fn connect(socket: &Path) -> Result<Self, ApiError> {
        Ok(Self { channel: channel::connect_uds(socket).await? })
    }

    /// Makes a join token, whose agent can also be called `alias`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn join_token(&self, alias: &SpiffeId) -> Result<String, ApiError> {
        let request = CreateJoinTokenRequest {
            ttl: TOKEN_LIFE_SECS,
            token: String::new(),
            agent_id: Some(types::Spiffeid::from(alias)),
        };
        let answer = AgentClient::new(self.channel.clone()).create_join_token(request).await;
        let refused = |status| ApiError::Refused { what: "join token", status: Box::new(status) };
        Ok(answer.map_err(refused)?.into_inner().value)
    }

    /// Makes an entry that gives `spiffe_id` to workloads of `parent` with `selector`; one that is
    /// there already is as good.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn register(
        &self,
        parent: &SpiffeId,
        spiffe_id: &SpiffeId,
        selector: Selector,
    ) -> Result<(), ApiError> {
        let entry = types::Entry {
            spiffe_id: Some(spiffe_id.into()),
            parent_id: Some(parent.into()),
            selectors: wire::selector::to_wire(&SelectorSet::from_iter([selector])),
            ..types::Entry::default()
        };
        let request = BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
        let answer = EntryClient::new(self.channel.clone()).batch_create_entry(request).await;
        let refused = |status| ApiError::Refused { what: "entry", status: Box::new(status) };
        let results = answer.map_err(refused)?.into_inner().results;
        let status = results.into_iter().next().and_then(|result| result.status);
        match status {
            Some(status) if !is_created(status.code) => {
                Err(ApiError::Entry { spiffe_id: spiffe_id.clone(), message: status.message })
            }
            _ => Ok(()),
        }
    }
}

const fn is_created(code: i32) -> bool {
    code == Code::Ok as i32 || code == Code::AlreadyExists as i32
}
