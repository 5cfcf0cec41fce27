//! The way to the server: opens connections, as nobody in particular or as this agent.
//!
//! Owns the address and nothing else; whom to believe and what to show is said with each call. When to
//! call again after a failure is the caller's business.

use crate::{
    agent::config::ServerAddress,
    runtime::{Clock, Publisher},
    spiffe::X509Svid,
    transport::{
        channel::{self, Address, ConnectError},
        mtls::ServerTrust,
    },
};
use futures_util::future::BoxFuture;
use std::{fmt, sync::Arc};
use tonic::transport::Channel;

/// Opens connections to the server.
#[derive(Clone)]
pub struct Upstream(Arc<Dial>);

type Dial = dyn Fn(ServerTrust, Credentials) -> Dialed + Send + Sync;

/// A connection on its way.
pub type Dialed = BoxFuture<'static, Result<Channel, ConnectError>>;

/// What the agent shows of itself.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing: it has no SVID that the server would take.
    Anonymous,
    /// Its SVID.
    Svid(Arc<X509Svid>),
}

/// The connection that stands, for all who call over it, and the SVID that it shows.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What calls go over.
    pub channel: Channel,
    /// Who the server takes us for.
    pub svid: Arc<X509Svid>,
}

impl Upstream {
    /// The server at `address`, over mutual TLS.
    #[must_use]
    pub fn server(address: &ServerAddress, clock: Clock) -> Self {
        let address = Address { host: address.host.clone(), port: address.port };
        Self::through(move |trust, credentials| {
            let (address, clock) = (address.clone(), clock.clone());
            Box::pin(async move {
                let svid = match credentials {
                    Credentials::Anonymous => None,
                    // For the life of the connection: a renewed SVID gets a connection of its own.
                    Credentials::Svid(svid) => Some(Publisher::new(svid).reader()),
                };
                channel::connect(&address, trust, svid, clock).await
            })
        })
    }

    /// A server that `dial` connects to.
    pub fn through(
        dial: impl Fn(ServerTrust, Credentials) -> Dialed + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(dial))
    }

    /// Opens a connection. Dropping the future is safe.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(
        &self,
        trust: ServerTrust,
        credentials: Credentials,
    ) -> Result<Channel, ConnectError> {
        (self.0)(trust, credentials).await
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstream")
    }
}
