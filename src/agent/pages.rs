//! The agent's HTTP pages: health for probes, metrics for Prometheus.
//!
//! A port that is taken stops neither the start nor the serving: while one agent takes over from
//! another, both are there for a moment. The pages come when the port is free.

use crate::{
    agent::{
        config::AgentConfig,
        metrics::{
            ServeMetrics, UpkeepMetrics,
            upkeep::{CacheSize, Observed},
        },
        upkeep::Insight,
    },
    runtime::{
        Backoff, Clock, Shutdown, TaskSet,
        complaint::{Complaint, Noted},
        ready::Readiness,
    },
    telemetry::{
        Metrics,
        http::{self, Pages},
        metrics::Identity,
    },
};
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, time::sleep};

/// SPIRE's name of its one check.
const SUBSYSTEMS: &[&str] = &["agent"];

/// Between attempts to have the port.
const BACKOFF_BASE: Duration = Duration::from_millis(500);
const BACKOFF_CAP: Duration = Duration::from_secs(10);

/// Serves the pages that `config` asks for, with tasks of `tasks` until `shutdown`.
pub fn start(
    config: &AgentConfig,
    readiness: &Readiness,
    metrics: Metrics,
    tasks: &TaskSet,
    shutdown: &Shutdown,
) {
    let serve = |address, purpose, pages| {
        let (connections, end) = (tasks.clone(), shutdown.clone());
        tasks.spawn(purpose, serve(address, purpose, pages, connections, end));
    };
    if let Some(health) = &config.health_checks {
        let pages = Pages::new().with_health(health, SUBSYSTEMS, readiness.clone());
        serve(health.bind, "health checks", pages);
    }
    if let Some(prometheus) = &config.prometheus {
        serve(prometheus.bind, "prometheus", Pages::new().with_metrics(metrics));
    }
}

/// Everything that the agent counts.
#[must_use]
pub fn metrics(
    config: &AgentConfig,
    serve: &ServeMetrics,
    upkeep: &UpkeepMetrics,
    insight: &Insight,
    clock: &Clock,
) -> Metrics {
    let identity = Identity {
        program: "spire_agent",
        trust_domain: config.trust_domain.name(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let (sync, standing) = (insight.sync.clone(), insight.identity.standing());
    let (cache, clock) = (insight.cache.clone(), clock.clone());
    let observed = Observed {
        last_sync: Box::new(move || sync.current().last_success(clock.now())),
        agent_svid_end: Box::new(move || Some(standing.current().svid()?.not_after())),
        cached: Box::new(move || {
            let snapshot = cache.snapshot();
            let (entries, svids) = (snapshot.entries.len(), snapshot.svids.len());
            CacheSize { entries, svids, bundles: snapshot.bundles.len() }
        }),
    };
    Metrics::new(identity, |registry| {
        serve.register(registry);
        upkeep.register(registry);
        UpkeepMetrics::observe(registry, observed);
    })
}

async fn serve(
    address: SocketAddr,
    purpose: &'static str,
    pages: Pages,
    connections: TaskSet,
    shutdown: Shutdown,
) {
    let listener = tokio::select! {
        biased;
        () = shutdown.requested() => return,
        listener = listen(address, purpose) => listener,
    };
    http::serve(listener, pages, connections, shutdown).await;
}

async fn listen(address: SocketAddr, purpose: &'static str) -> TcpListener {
    let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
    let mut complaint = Complaint::default();
    loop {
        match http::listen(address, purpose).await {
            Ok(listener) => return listener,
            Err(error) => {
                if let Noted::New(error) = complaint.note(&error) {
                    tracing::warn!(error, "no pages; trying again");
                }
                sleep(backoff.next_delay()).await;
            }
        }
    }
}
