//! The ways to prove which node this is, behind one face.

use super::{
    join_token::{JoinToken, TokenError},
    k8s_psat::{K8sPsat, PsatError},
};
use crate::agent::config;
use bytes::Bytes;

/// The configured way.
#[derive(Debug)]
pub enum NodeAttestor {
    /// A token that the server gave out, good for one use.
    JoinToken(JoinToken),
    /// The service account token of the agent's pod.
    K8sPsat(K8sPsat),
}

/// No proof can be given now.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// With a join token.
    #[error(transparent)]
    JoinToken(#[from] TokenError),
    /// With a service account token.
    #[error(transparent)]
    K8sPsat(#[from] PsatError),
}

/// How often a proof is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofValidity {
    /// What is given for it must not be lost.
    Once,
    /// Another is to be had at any time.
    Again,
}

impl NodeAttestor {
    /// The configured way.
    #[must_use]
    pub fn new(config: &config::NodeAttestor) -> Self {
        match config {
            config::NodeAttestor::JoinToken(token) => {
                Self::JoinToken(JoinToken::new(token.clone()))
            }
            config::NodeAttestor::K8sPsat { cluster, token_path } => {
                Self::K8sPsat(K8sPsat::new(cluster.clone(), token_path.clone()))
            }
        }
    }

    /// What the server calls this way.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::JoinToken(_) => "join_token",
            Self::K8sPsat(_) => "k8s_psat",
        }
    }

    /// How often a proof is good.
    #[must_use]
    pub const fn validity(&self) -> ProofValidity {
        match self {
            Self::JoinToken(_) => ProofValidity::Once,
            Self::K8sPsat(_) => ProofValidity::Again,
        }
    }

    /// The first message of the proof. Blocks: it may read a file.
    ///
    /// # Errors
    /// When there is none to give.
    pub fn payload(&self) -> Result<Bytes, ProofError> {
        match self {
            Self::JoinToken(token) => Ok(token.payload()?),
            Self::K8sPsat(token) => Ok(token.payload()?),
        }
    }

    /// The answer to a challenge.
    ///
    /// # Errors
    /// When this way knows no challenges.
    pub fn answer(&self, _challenge: &[u8]) -> Result<Bytes, ProofError> {
        match self {
            Self::JoinToken(_) => Err(TokenError::Challenged.into()),
            Self::K8sPsat(_) => Err(PsatError::Challenged.into()),
        }
    }

    /// The server does not accept the proof last given and, if it is good but once, never will.
    pub fn rejected(&self) {
        match self {
            Self::JoinToken(token) => token.rejected(),
            Self::K8sPsat(_) => {}
        }
    }
}
