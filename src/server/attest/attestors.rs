//! The ways of attestation that this server has, by the names that agents ask for them.

use super::{
    admission::{Admission, AdmissionError, Attested},
    join_token::{self, JoinError, JoinTokens},
    k8s_psat::{self, K8sPsat, PsatError},
};
use crate::{
    runtime::Clock,
    server::{ca::Ca, config::NodeAttestor, store::Store},
    spiffe::TrustDomain,
    transport::status::Kind,
};
use tonic::Status;

/// Attests agents. Clones share what they remember.
#[derive(Clone)]
pub struct Attestors {
    // SPIRE 1.15: tokens are taken whatever is configured; api/agent/v1/service.go.
    join_tokens: JoinTokens,
    k8s_psat: Option<K8sPsat>,
    admission: Admission,
}

/// Why an agent is not attested.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// This server does not know the way; the text is SPIRE's.
    #[error("error getting node attestor: could not find node attestor type {0:?}")]
    UnknownType(String),
    /// The join token is not accepted.
    #[error(transparent)]
    JoinToken(#[from] JoinError),
    /// The service account token is not accepted; the frame is SPIRE's.
    #[error("nodeattestor(k8s_psat): {0}")]
    K8sPsat(#[from] PsatError),
    /// The proof is good, and the agent not let in.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
}

impl Attestors {
    /// The `configured` ways into `trust_domain`.
    #[must_use]
    pub fn new(
        configured: &[NodeAttestor],
        trust_domain: &TrustDomain,
        store: Store,
        ca: Ca,
        clock: Clock,
    ) -> Self {
        let k8s_psat = configured.iter().find_map(|attestor| match attestor {
            NodeAttestor::K8sPsat { clusters } => {
                Some(K8sPsat::new(trust_domain.clone(), clusters))
            }
            NodeAttestor::JoinToken => None,
        });
        Self {
            join_tokens: JoinTokens::new(trust_domain.clone(), store.clone(), ca.clone(), clock),
            k8s_psat,
            admission: Admission::new(store, ca),
        }
    }

    /// Attests the sender of `payload` in the way `kind`. Dropping it leaves the agent attested or not,
    /// never half.
    ///
    /// # Errors
    /// Why it is not attested.
    pub async fn attest(
        &self,
        kind: String,
        payload: &[u8],
        csr: Vec<u8>,
    ) -> Result<Attested, AttestationError> {
        match (kind.as_str(), &self.k8s_psat) {
            (join_token::TYPE, _) => Ok(self.join_tokens.attest(payload, csr).await?),
            (k8s_psat::TYPE, Some(k8s_psat)) => {
                let proven = k8s_psat.prove(payload).await?;
                Ok(self.admission.admit(proven, csr).await?)
            }
            _ => Err(AttestationError::UnknownType(kind)),
        }
    }
}

impl AttestationError {
    /// The status that the agent is given.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::UnknownType(_) => Kind::Precondition.status(self.to_string()),
            Self::JoinToken(error) => error.status(),
            Self::K8sPsat(error) => error.kind().status(self.to_string()),
            Self::Admission(error) => error.status(),
        }
    }
}
