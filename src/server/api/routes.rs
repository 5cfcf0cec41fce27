//! Which services each listener has. Wiring only: what they share is made by the caller.

use super::{
    agent::AgentService, bundle::BundleService, entry::EntryService, health::HealthService,
    svid::SvidService, watch::WatchService,
};
use crate::{
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::{
        finial::agent::v1::watch_server::WatchServer,
        spire::api::server::{
            agent::v1::agent_server::AgentServer, bundle::v1::bundle_server::BundleServer,
            entry::v1::entry_server::EntryServer, svid::v1::svid_server::SvidServer,
        },
    },
};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

/// Every service of the server.
pub struct Services {
    /// Attestation, renewal and lists of agents.
    pub agent: AgentService,
    /// Bundles.
    pub bundle: BundleService,
    /// Registration entries.
    pub entry: EntryService,
    /// Signing.
    pub svid: SvidService,
    /// Pushes to agents.
    pub watch: WatchService,
    /// Health.
    pub health: HealthService,
}

impl Services {
    /// What agents and remote administrators reach.
    #[must_use]
    pub fn for_agents(&self) -> Routes {
        self.of_both().add_service(EntryServer::new(self.entry.clone())).prepare()
    }

    /// What local callers reach: also health, and bulk registration in large messages.
    #[must_use]
    pub fn for_local(&self) -> Routes {
        let entry =
            EntryServer::new(self.entry.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let health = HealthServer::new(self.health.clone());
        self.of_both().add_service(entry).add_service(health).prepare()
    }

    fn of_both(&self) -> Routes {
        Routes::new(AgentServer::new(self.agent.clone()))
            .add_service(BundleServer::new(self.bundle.clone()))
            .add_service(SvidServer::new(self.svid.clone()))
            .add_service(WatchServer::new(self.watch.clone()))
    }
}
