//! Attestation of a caller: every configured attestor is asked, and all of them must answer.
//!
//! A caller's selectors are what all attestors say together or an error, never a part of it: a partial
//! set would give a workload fewer identities or bundles than it is registered for, silently and for
//! as long as its stream lives (spiffe/spire#5638). The caller of this module holds the stream and
//! asks again. Knows nothing of streams.

use super::{
    accounts::Accounts,
    k8s::{self, K8sAttestor, K8sError},
    unix::{self, UnixAttestor, UnixError},
};
use crate::{
    agent::{
        config::WorkloadAttestor,
        metrics::{Outcome, UpkeepMetrics},
    },
    runtime::Clock,
    spiffe::{Selector, SelectorSet},
    transport::PeerCred,
};
use futures_util::future;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;

/// Attests callers.
#[derive(Debug)]
pub struct Attestor {
    kinds: Vec<Kind>,
    metrics: UpkeepMetrics,
}

/// The attestors that there are. Each is asked for every caller.
#[derive(Debug)]
enum Kind {
    Unix(UnixAttestor),
    K8s(K8sAttestor),
}

/// Why a caller cannot be attested now.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The process that connected has ended: what was read may be another's. Nobody is left to answer.
    #[error("the caller, process {pid}, has ended")]
    CallerEnded {
        /// Its process id.
        pid: i32,
    },
    /// An attestor cannot tell. It may later.
    #[error("attestor {attestor:?} cannot tell who process {pid} is")]
    Attestor {
        /// Which attestor.
        attestor: &'static str,
        /// The caller's process id.
        pid: i32,
        /// Why not.
        source: Failure,
    },
}

/// Why an attestor cannot tell.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The `unix` attestor.
    #[error(transparent)]
    Unix(#[from] UnixError),
    /// The `k8s` attestor.
    #[error(transparent)]
    K8s(#[from] K8sError),
}

impl Attestor {
    /// The attestors of a configuration.
    #[must_use]
    pub fn new(attestors: &[WorkloadAttestor], clock: &Clock) -> Self {
        let kinds = attestors.iter().map(|attestor| match attestor {
            WorkloadAttestor::Unix { executable } => {
                let accounts = Accounts::system();
                Kind::Unix(UnixAttestor::new(*executable, accounts, clock.clone()))
            }
            WorkloadAttestor::K8s(config) => Kind::K8s(K8sAttestor::new(config)),
        });
        Self { kinds: kinds.collect(), metrics: UpkeepMetrics::default() }
    }

    /// The same, counted in `metrics`.
    #[must_use]
    pub fn counted_in(self, metrics: UpkeepMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// After how long a process may be told otherwise although it did nothing; nothing when it never is.
    #[must_use]
    pub fn attest_again_every(&self) -> Option<Duration> {
        let times = self.kinds.iter().filter_map(|kind| match kind {
            Kind::Unix(_) => None,
            Kind::K8s(attestor) => Some(attestor.attest_again_every()),
        });
        times.min()
    }

    /// Everything that the attestors say of the process at the other end of a connection. Dropping the
    /// future is safe.
    ///
    /// # Errors
    /// When one of them cannot tell, or the process has ended meanwhile.
    pub async fn attest(&self, peer: &PeerCred) -> Result<SelectorSet, AttestError> {
        let started = Instant::now();
        let attested = self.ask_all(peer).await;
        let outcome = attested.as_ref().map_or_else(AttestError::outcome, |_| Outcome::OK);
        self.metrics.workload_attested(outcome, started.elapsed());
        attested
    }

    async fn ask_all(&self, peer: &PeerCred) -> Result<SelectorSet, AttestError> {
        let asked = self.kinds.iter().map(|kind| kind.attest(peer.pid));
        let answers = future::join_all(asked).await;
        // Last of all: only if the caller is alive now was its number its own all the time.
        if !peer.is_alive() {
            return Err(AttestError::CallerEnded { pid: peer.pid });
        }
        let mut selectors = Vec::new();
        for (kind, answer) in self.kinds.iter().zip(answers) {
            let (attestor, pid) = (kind.name(), peer.pid);
            selectors.extend(answer.map_err(|source| AttestError::Attestor {
                attestor,
                pid,
                source,
            })?);
        }
        Ok(selectors.into_iter().collect())
    }
}

impl AttestError {
    /// How metrics call it.
    const fn outcome(&self) -> Outcome {
        match self {
            Self::CallerEnded { .. } => Outcome::UNAVAILABLE,
            Self::Attestor { .. } => Outcome::code(Code::Internal),
        }
    }
}

impl Kind {
    const fn name(&self) -> &'static str {
        match self {
            Self::Unix(_) => unix::KIND,
            Self::K8s(_) => k8s::KIND,
        }
    }

    async fn attest(&self, pid: i32) -> Result<Vec<Selector>, Failure> {
        match self {
            Self::Unix(attestor) => Ok(attestor.attest(pid).await?),
            Self::K8s(attestor) => Ok(attestor.attest(pid).await?),
        }
    }
}

#[cfg(test)]
mod tests;
