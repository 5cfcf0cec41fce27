//! What follows from a proof: the agent's key is certified and the agent stored. A ban holds whatever
//! was proved.
//!
//! Knows nothing of how a node proves what it is.

use crate::{
    runtime::TaskSet,
    server::{
        ca::{Ca, SignError},
        store::{AttestError, Node, Store},
    },
    spiffe::{SelectorSet, SpiffeId},
    transport::status::{Kind, Reason},
    x509::{
        Certificate, PublicKey,
        csr::{self, CsrError},
    },
};
use tonic::Status;

/// Lets agents in.
#[derive(Clone)]
pub struct Admission {
    store: Store,
    ca: Ca,
}

/// What an attestor found out. An agent that could prove it once can prove it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Who the agent is.
    pub id: SpiffeId,
    /// How it proved it.
    pub attestation_type: &'static str,
    /// What is known of its node.
    pub selectors: SelectorSet,
}

/// An attested agent and its certificate.
#[derive(Clone, Debug)]
pub struct Attested {
    /// The agent.
    pub id: SpiffeId,
    /// Its chain, leaf first.
    pub chain: Vec<Certificate>,
    /// Whether it attests again instead of renewing.
    pub is_reattestable: bool,
}

/// Why an agent is not let in. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// An operator has banned the agent.
    #[error("failed to attest: agent is banned")]
    Banned,
    /// There is no certificate for it.
    #[error(transparent)]
    Certify(#[from] CertifyError),
    /// Nothing was stored.
    #[error("failed to create attested agent: {0}")]
    Store(AttestError),
}

/// Why an agent's key is not certified. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// The CSR proves nothing.
    #[error("failed to parse CSR: {0}")]
    Csr(#[from] CsrError),
    /// The chain cannot be signed.
    #[error("failed to sign X509 SVID: {0}")]
    Sign(#[from] SignError),
    /// The server is ending.
    #[error("the server is shutting down, attest again later")]
    Ending,
}

impl Admission {
    /// Stores agents in `store` and certifies them by `ca`.
    #[must_use]
    pub const fn new(store: Store, ca: Ca) -> Self {
        Self { store, ca }
    }

    /// Lets an agent in, again or for the first time. Dropping it leaves the agent attested or not,
    /// never half.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn admit(&self, proven: Proven, csr: Vec<u8>) -> Result<Attested, AdmissionError> {
        let Proven { id, attestation_type, selectors } = proven;
        if self.store.node(&id).is_some_and(|node| node.banned) {
            return Err(AdmissionError::Banned);
        }
        let (_, chain) = certify(&self.ca, id.clone(), csr).await?;
        let node =
            Node { can_reattest: true, selectors, ..node(id.clone(), attestation_type, &chain) };
        self.store.attest_node(node, None).await.map_err(|error| match error {
            AttestError::Banned => AdmissionError::Banned,
            error => AdmissionError::Store(error),
        })?;
        Ok(Attested { id, chain, is_reattestable: true })
    }
}

/// Proof of possession and signature, off the event loop.
///
/// # Errors
/// Why there is no certificate.
pub(super) async fn certify(
    ca: &Ca,
    id: SpiffeId,
    csr: Vec<u8>,
) -> Result<(PublicKey, Vec<Certificate>), CertifyError> {
    let ca = ca.clone();
    TaskSet::blocking(move || {
        let key = csr::verify(&csr)?;
        let chain = ca.sign_agent(&id, key.clone())?;
        Ok((key, chain))
    })
    .await
    .map_err(|_| CertifyError::Ending)?
}

/// An agent that uses `chain`, of whose node nothing is known.
pub(super) fn node(id: SpiffeId, attestation_type: &str, chain: &[Certificate]) -> Node {
    let (serial, expires_at) = chain
        .first()
        .map_or_else(Default::default, |leaf| (leaf.serial().to_string(), leaf.expires_at()));
    Node {
        id,
        attestation_type: attestation_type.to_owned(),
        serial,
        new_serial: String::new(),
        expires_at,
        new_expires_at: 0,
        banned: false,
        can_reattest: false,
        selectors: SelectorSet::default(),
        agent_version: String::new(),
    }
}

impl AdmissionError {
    /// The status that the agent is given.
    #[must_use]
    pub fn status(&self) -> Status {
        let kind = match self {
            Self::Banned => return Reason::AgentBanned.status(self.to_string()),
            Self::Certify(error) => error.kind(),
            Self::Store(error) => error.kind(),
        };
        kind.status(self.to_string())
    }
}

impl CertifyError {
    /// What the error means to the agent.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Csr(_) => Kind::Invalid,
            Self::Sign(error) => error.kind(),
            Self::Ending => Kind::Unavailable,
        }
    }
}
