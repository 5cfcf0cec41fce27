//! The server's own SVID: made at start, renewed in the middle of its life, published to the listener.
//!
//! One task runs [`Identity::run`]. Each SVID has a key of its own, which never leaves memory.

use super::ca::{Ca, SignError};
use crate::{
    runtime::{Backoff, Clock, Publisher, Reader, Shutdown},
    spiffe::{TrustDomain, X509Svid, lifetime::renewal_due, svid::SvidError},
    x509::{KeyPair, KeyType, key::KeyError},
};
use std::{error::Error as StdError, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// A jump of the wall clock is noticed within this time.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CAP: Duration = Duration::from_secs(30);

/// The server's identity and what renews it.
pub struct Identity {
    trust_domain: TrustDomain,
    ca: Ca,
    clock: Clock,
    svid: Publisher<Arc<X509Svid>>,
}

/// The server has no SVID.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No key.
    #[error("the server's own key")]
    Key(#[from] KeyError),
    /// No signature.
    #[error("the server's own SVID was not signed")]
    Sign(#[from] SignError),
    /// What was signed is no SVID of ours.
    #[error("the server's own SVID is unusable")]
    Svid(#[from] SvidError),
}

impl Identity {
    /// Makes the first SVID.
    ///
    /// # Errors
    /// When the authority cannot sign it.
    pub fn new(trust_domain: TrustDomain, ca: Ca, clock: Clock) -> Result<Self, IdentityError> {
        let svid = Publisher::new(make(&trust_domain, &ca)?);
        Ok(Self { trust_domain, ca, clock, svid })
    }

    /// The SVID in use.
    #[must_use]
    pub fn svid(&self) -> Reader<Arc<X509Svid>> {
        self.svid.reader()
    }

    /// Renews the SVID whenever half of its life is over, until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
        let mut due = self.due();
        loop {
            let wake = self.clock.instant_of(due).min(Instant::now() + LOOK_EVERY);
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = sleep_until(wake) => {}
            }
            if self.clock.now() < due {
                continue;
            }
            match make(&self.trust_domain, &self.ca) {
                Ok(svid) => {
                    let serial = svid.chain().first().map(|leaf| leaf.serial().to_string());
                    tracing::info!(serial, "server SVID renewed");
                    self.svid.publish(svid);
                    backoff.reset();
                    due = self.due();
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn StdError, "server SVID not renewed");
                    due = self.clock.now() + backoff.next_delay();
                }
            }
        }
    }

    fn due(&self) -> std::time::SystemTime {
        // No jitter: there is one of us.
        renewal_due(self.clock.now(), self.svid.current().not_after(), 0.5)
    }
}

fn make(trust_domain: &TrustDomain, ca: &Ca) -> Result<Arc<X509Svid>, IdentityError> {
    let key = KeyPair::generate(KeyType::EcP256)?;
    let chain = ca.sign_server(key.public_key().clone())?;
    Ok(Arc::new(X509Svid::from_key_pair(&trust_domain.server_id(), chain, &key)?))
}
