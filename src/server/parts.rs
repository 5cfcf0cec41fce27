//! The parts of one server that others are made of, and the services made of them. Wiring only: what
//! each part does is its own affair, and `start` decides when it runs.

use super::{
    api::{
        agent::AgentService, bundle::BundleService, entry::EntryService, health::HealthService,
        routes::Services, svid::SvidService, watch::WatchService,
    },
    attest::attestors::Attestors,
    authorize::Authorizer,
    authorized::Authorized,
    ca::{Ca, Watchers},
    config::{BundleMap, NodeAttestor, RateLimit, ServerConfig},
    gate::Gatehouse,
    metrics::{RpcMetrics, ServerFacts, WatchMetrics},
    publish::{Keeper, PublishMetrics},
    ratelimit::RateLimits,
    registration::Registration,
    store::Store,
};
use crate::{
    runtime::{Clock, Reader, Shutdown, ready::Readiness},
    spiffe::{TrustDomain, X509Svid},
    telemetry::{Metrics, metrics},
    transport::{
        mtls::{self, MtlsError},
        verify::Trust,
    },
};
use std::sync::Arc;

/// What the services of one server share.
pub(super) struct Parts {
    trust_domain: TrustDomain,
    rate_limit: RateLimit,
    node_attestors: Vec<NodeAttestor>,
    bundle_maps: Vec<BundleMap>,
    pub(super) clock: Clock,
    watchers: Watchers,
    rpc: RpcMetrics,
    watching: WatchMetrics,
    publishing: PublishMetrics,
    pub(super) store: Store,
    pub(super) ca: Ca,
    pub(super) readiness: Readiness,
    pub(super) shutdown: Shutdown,
}

impl Parts {
    pub(super) fn new(
        config: &ServerConfig,
        clock: Clock,
        store: Store,
        ca: Ca,
        watchers: Watchers,
    ) -> Self {
        Self {
            trust_domain: config.trust_domain.clone(),
            rate_limit: config.rate_limit,
            node_attestors: config.node_attestors.clone(),
            bundle_maps: config.bundle_maps.clone(),
            clock,
            watchers,
            rpc: RpcMetrics::new(),
            watching: WatchMetrics::default(),
            publishing: PublishMetrics::default(),
            store,
            ca,
            readiness: Readiness::new(),
            shutdown: Shutdown::new(),
        }
    }

    /// What `/metrics` shows.
    pub(super) fn metrics(&self) -> Metrics {
        let identity = metrics::Identity {
            program: "spire_server",
            trust_domain: self.trust_domain.name(),
            version: env!("CARGO_PKG_VERSION"),
        };
        let (store, ca) = (self.store.clone(), self.ca.state());
        let facts = ServerFacts { clock: self.clock.clone(), store, ca };
        Metrics::new(identity, |registry| {
            self.rpc.register(registry);
            self.watching.register(registry);
            self.publishing.register(registry);
            facts.register(registry);
        })
    }

    /// The TLS configuration of the listener for agents.
    pub(super) fn tls(
        &self,
        svid: Reader<Arc<X509Svid>>,
    ) -> Result<Arc<rustls::ServerConfig>, MtlsError> {
        let store = self.store.clone();
        let trust = Trust::new(move |trust_domain| store.bundle(trust_domain));
        mtls::server_config(svid, trust, self.clock.clone())
    }

    /// What keeps the bundle where the configuration wants it.
    pub(super) fn keepers(&self) -> Vec<Keeper> {
        let keeper = |map: &BundleMap| {
            let (store, trust_domain) = (self.store.clone(), self.trust_domain.clone());
            Keeper::new(map.clone(), store, trust_domain, &self.publishing)
        };
        self.bundle_maps.iter().map(keeper).collect()
    }

    /// The ways in: for agents, and for local callers.
    pub(super) fn gatehouses(&self) -> (Gatehouse, Gatehouse) {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let authorizer = Authorizer::new(store, self.trust_domain.clone(), clock);
        let services = self.services(&authorizer);
        let house = |routes| Gatehouse {
            authorizer: authorizer.clone(),
            metrics: self.rpc.clone(),
            routes,
        };
        (house(services.for_agents()), house(services.for_local()))
    }

    fn services(&self, authorizer: &Authorizer) -> Services {
        let Self { trust_domain, clock, store, ca, .. } = self;
        let limits = RateLimits::new(self.rate_limit);
        let authorized = Authorized::new(store.clone(), trust_domain, clock.clone());
        let registration =
            Registration::new(store.clone(), authorized.clone(), trust_domain.clone());
        let attestors = Attestors::new(
            &self.node_attestors,
            trust_domain,
            store.clone(),
            ca.clone(),
            clock.clone(),
        );
        Services {
            agent: AgentService::new(
                trust_domain.clone(),
                store.clone(),
                ca.clone(),
                attestors,
                limits.clone(),
                clock.clone(),
            ),
            bundle: BundleService::new(trust_domain.clone(), store.clone()),
            entry: EntryService::new(registration, authorized.clone()),
            svid: SvidService::new(ca.clone(), authorized.clone(), limits),
            watch: WatchService {
                trust_domain: trust_domain.clone(),
                store: store.clone(),
                authorized,
                authorizer: authorizer.clone(),
                watchers: self.watchers.clone(),
                metrics: self.watching.clone(),
                clock: clock.clone(),
                shutdown: self.shutdown.clone(),
            },
            health: HealthService::new(self.readiness.clone()),
        }
    }
}
