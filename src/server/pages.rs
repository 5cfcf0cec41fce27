//! The server's HTTP pages: health for probes, metrics for Prometheus, each on its own listener when it
//! is configured. What stands on the pages is made elsewhere.

use super::{ca::CaState, config::ServerConfig};
use crate::{
    runtime::{
        Reader, Shutdown, TaskSet,
        ready::{Part, Readiness},
    },
    telemetry::{
        Metrics,
        http::{self, ListenError, Pages},
    },
};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// SPIRE's names of what it checks, for tools that look for them.
const SUBSYSTEMS: &[&str] = &["catalog.datastore", "server", "server.ca", "server.ca.rotator"];

/// The listeners, bound.
pub(super) struct HttpListeners {
    health: Listener,
    metrics: Listener,
    /// Where health is served, and where metrics are.
    pub(super) addresses: (Option<SocketAddr>, Option<SocketAddr>),
}

/// What is served where.
type Listener = Option<(TcpListener, Pages)>;

impl HttpListeners {
    pub(super) async fn bind(
        config: &ServerConfig,
        readiness: &Readiness,
        metrics: Metrics,
    ) -> Result<Self, ListenError> {
        let health = match &config.health_checks {
            Some(checks) => {
                let pages = Pages::new().with_health(checks, SUBSYSTEMS, readiness.clone());
                Some((http::listen(checks.bind, "health checks").await?, pages))
            }
            None => None,
        };
        let metrics = match &config.prometheus {
            Some(prometheus) => {
                let pages = Pages::new().with_metrics(metrics);
                Some((http::listen(prometheus.bind, "metrics").await?, pages))
            }
            None => None,
        };
        let address = |listener: &Listener| {
            listener.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
        };
        let addresses = (address(&health), address(&metrics));
        Ok(Self { health, metrics, addresses })
    }

    /// Serves until `shutdown`.
    pub(super) fn serve(self, tasks: &TaskSet, shutdown: &Shutdown) {
        for (listener, pages) in self.health.into_iter().chain(self.metrics) {
            let serving = http::serve(listener, pages, tasks.clone(), shutdown.clone());
            tasks.spawn("http listener", serving);
        }
    }
}

/// Keeps the readiness of the authority: without an active one no workload gets an SVID.
pub(super) async fn follow_ca(part: Part, mut ca: Reader<CaState>, shutdown: Shutdown) {
    loop {
        match ca.take_current().active {
            Some(_) => part.ready(),
            None => part.not_ready("a new authority on its way to all agents"),
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            changed = ca.changed() => if changed.is_err() { return },
        }
    }
}
