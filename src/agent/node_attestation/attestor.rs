//! The ways to prove which node this is, behind one face.

use super::join_token::{JoinToken, TokenError};
use crate::agent::config;
use bytes::Bytes;

/// The configured way.
#[derive(Debug)]
pub enum NodeAttestor {
    /// A token that the server gave out, good for one use.
    JoinToken(JoinToken),
}

/// No proof can be given now.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// With a join token.
    #[error(transparent)]
    JoinToken(#[from] TokenError),
}

impl NodeAttestor {
    /// The configured way.
    #[must_use]
    pub fn new(config: &config::NodeAttestor) -> Self {
        match config {
            config::NodeAttestor::JoinToken(token) => {
                Self::JoinToken(JoinToken::new(token.clone()))
            }
        }
    }

    /// What the server calls this way.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::JoinToken(_) => "join_token",
        }
    }

    /// The first message of the proof. Blocks: it may read a file.
    ///
    /// # Errors
    /// When there is none to give.
    pub fn payload(&self) -> Result<Bytes, ProofError> {
        match self {
            Self::JoinToken(token) => Ok(token.payload()?),
        }
    }

    /// The answer to a challenge.
    ///
    /// # Errors
    /// When this way knows no challenges.
    pub fn answer(&self, _challenge: &[u8]) -> Result<Bytes, ProofError> {
        match self {
            Self::JoinToken(_) => Err(TokenError::Challenged.into()),
        }
    }

    /// The server does not accept the proof last given and never will.
    pub fn rejected(&self) {
        match self {
            Self::JoinToken(token) => token.rejected(),
        }
    }
}
