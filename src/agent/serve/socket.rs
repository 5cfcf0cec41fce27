//! Puts the workload socket into the world: bound, served, and only then given its public name.

use super::{
    caller::{Caller, Serving},
    reattest,
    route::{self, Route},
};
use crate::{
    runtime::TaskSet,
    transport::{
        Acceptor, Greeting, Limits, Takeover, accept::AcceptError, alias, greeting::GreetingError,
        serve_all, uds,
    },
};
use std::{path::Path, sync::Arc};
use tonic_health::server::HealthReporter;

/// Everybody on the node may connect; who they are decides what they get.
const SOCKET_MODE: u32 = 0o777;

/// Why there is no workload socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A live agent has the name, and it was not said that this one replaces it.
    #[error("the socket is served already; `agent run -replace` takes it over")]
    InUse(#[source] uds::BindError),
    /// The name could not be had.
    #[error("cannot serve the socket")]
    Bind(#[source] uds::BindError),
    /// The accept loop did not start.
    #[error("cannot accept connections on the workload socket")]
    Accept(#[from] AcceptError),
    /// HTTP/2 could not be set up.
    #[error("cannot prepare the HTTP/2 greeting")]
    Greeting(#[from] GreetingError),
    /// The descriptors of our own services do not fit together.
    #[error("cannot set up gRPC reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl From<uds::BindError> for SocketError {
    fn from(error: uds::BindError) -> Self {
        match error {
            uds::BindError::InUse { .. } => Self::InUse(error),
            other => Self::Bind(other),
        }
    }
}

/// The served socket's switch: whether its health service says SERVING.
pub struct SocketHealth(HealthReporter);

/// Binds `path`, serves it with tasks of `tasks` until `serving.shutdown`, and publishes it. From then
/// on every connection is greeted at once, whether or not anything is known yet.
///
/// # Errors
/// When the name cannot be had or the process lacks resources.
pub async fn start(
    path: &Path,
    takeover: Takeover,
    limits: Limits,
    serving: Arc<Serving>,
    tasks: &TaskSet,
) -> Result<SocketHealth, SocketError> {
    let (routes, health) = route::others().await?;
    alias::make_room(path);
    let (listener, publication) = uds::bind(path, SOCKET_MODE, takeover)?;
    let acceptor = Acceptor::start(listener, Greeting::record()?, limits)?;
    let shutdown = serving.shutdown.clone();
    let ending = Arc::clone(&serving);
    tasks.spawn("end of the streams", async move {
        ending.shutdown.requested().await;
        ending.cache.end();
    });
    if let Some(every) = serving.attestor.attest_again_every() {
        let (serving, end) = (Arc::clone(&serving), shutdown.clone());
        let again = async move { reattest::attest_again(&serving.callers, every, end).await };
        tasks.spawn("re-attestation", again);
    }
    let connections = tasks.clone();
    tasks.spawn("workload socket", async move {
        serve_all(acceptor, connections, shutdown, |peer| {
            let caller = Arc::new(Caller::new(Arc::clone(peer), Arc::clone(&serving)));
            serving.callers.add(&caller);
            Route::new(caller, routes.clone())
        })
        .await;
    });
    publication.publish()?;
    Ok(SocketHealth(health))
}

impl SocketHealth {
    /// Sets what the health service on the socket says.
    pub async fn set_serving(&self, is_serving: Serves) {
        let status = match is_serving {
            Serves::Yes => tonic_health::ServingStatus::Serving,
            Serves::NotYet => tonic_health::ServingStatus::NotServing,
        };
        self.0.set_service_status("", status).await;
    }
}

/// Whether the agent can give out identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// It knows its entries and bundle.
    Yes,
    /// It does not.
    NotYet,
}
