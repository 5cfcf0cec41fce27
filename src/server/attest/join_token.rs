//! Attestation by join token: whoever shows the token first is the agent that it names (server.md §5.2).
//!
//! The token is used up and the agent stored in one transaction, so of many racing users one wins
//! . An agent that lost the answer may ask again with the same token and key for a short while
//! and is given the same chain. A CSR that cannot be signed costs no token.

use super::admission::{Attested, CertifyError, certify, node};
use crate::{
    runtime::Clock,
    server::{
        ca::Ca,
        store::{AttestError, Store},
    },
    spiffe::{SpiffeId, TrustDomain},
    transport::status::{Kind, Reason},
    x509::PublicKey,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tonic::Status;

/// The type of this attestation in requests and rows.
pub const TYPE: &str = "join_token";

/// A token's value: 1 to 128 of `[A-Za-z0-9._-]`, so that it can stand in an agent's ID as it is
///
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

/// A value that cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "token is not valid: expected 1 to 128 letters, digits, dots, dashes and underscores, but not \
     \".\" or \"..\""
)]
pub struct TokenFormatError;

/// How long a lost answer can be asked for again: three tries of an agent that waits 30 s for each.
const REPEAT_FOR: Duration = Duration::from_secs(90);
/// Bounds the memory of answers; beyond it the oldest ones cannot be repeated.
const MAX_REMEMBERED: usize = 4_096;

/// Attests by join token.
#[derive(Clone)]
pub struct JoinTokens {
    trust_domain: TrustDomain,
    store: Store,
    ca: Ca,
    clock: Clock,
    answers: Arc<Mutex<HashMap<Token, Answer>>>,
}

/// An answer that may have been lost.
struct Answer {
    key: PublicKey,
    attested: Attested,
    until: SystemTime,
}

/// Why an agent is not attested. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token was never there, cannot be one, or somebody has used it.
    #[error("failed to attest: join token does not exist or has already been used")]
    TokenUnknown,
    /// The token came too late.
    #[error("join token expired")]
    TokenExpired,
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

impl Token {
    /// Checks a value.
    ///
    /// # Errors
    /// When it has other characters or another length.
    pub fn parse(value: &str) -> Result<Self, TokenFormatError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_dots = matches!(value, "." | "..");
        if !(1..=128).contains(&value.len()) || is_dots || !value.bytes().all(allowed) {
            return Err(TokenFormatError);
        }
        Ok(Self(value.to_owned()))
    }

    /// A new token with 122 random bits.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The secret itself. Never log it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// The agent that it makes of its user.
    ///
    /// # Errors
    /// When the ID would be too long.
    pub fn agent_id(
        &self,
        trust_domain: &TrustDomain,
    ) -> Result<SpiffeId, crate::spiffe::id::Error> {
        trust_domain.member(&format!("/spire/agent/{TYPE}/{}", self.0))
    }
}

impl JoinTokens {
    /// Attests agents of `trust_domain` by the tokens of `store`, and certifies them by `ca`.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, store: Store, ca: Ca, clock: Clock) -> Self {
        Self { trust_domain, store, ca, clock, answers: Arc::default() }
    }

    /// Attests the sender of `payload`, whose key `csr` proves. Dropping it leaves the agent attested or
    /// not, never half.
    ///
    /// # Errors
    /// Why it is not attested.
    pub async fn attest(&self, payload: &[u8], csr: Vec<u8>) -> Result<Attested, JoinError> {
        let token = std::str::from_utf8(payload)
            .ok()
            .and_then(|value| Token::parse(value).ok())
            .ok_or(JoinError::TokenUnknown)?;
        let id = token.agent_id(&self.trust_domain).map_err(|_| JoinError::TokenUnknown)?;
        if self.store.node(&id).is_some_and(|node| node.banned) {
            return Err(JoinError::Banned);
        }
        let (key, chain) = certify(&self.ca, id.clone(), csr).await?;
        if let Some(attested) = self.repeated(&token, &key) {
            return Ok(attested);
        }
        let node = node(id.clone(), TYPE, &chain);
        self.store.attest_node(node, Some(token.0.clone())).await.map_err(|error| match error {
            AttestError::TokenUnknown => JoinError::TokenUnknown,
            AttestError::TokenExpired => JoinError::TokenExpired,
            AttestError::Banned => JoinError::Banned,
            error @ AttestError::Store(_) => JoinError::Store(error),
        })?;
        let attested = Attested { id, chain, is_reattestable: false };
        self.remember(token, key, attested.clone());
        Ok(attested)
    }

    /// The answer to an earlier request with this token and key, if the agent still stands as it was.
    fn repeated(&self, token: &Token, key: &PublicKey) -> Option<Attested> {
        let answers = self.answers.lock();
        let answer = answers.get(token)?;
        let serial = answer.attested.chain.first()?.serial().to_string();
        let node = self.store.node(&answer.attested.id)?;
        let is_same = answer.key == *key && node.serial == serial && !node.banned;
        (is_same && self.clock.now() <= answer.until).then(|| answer.attested.clone())
    }

    fn remember(&self, token: Token, key: PublicKey, attested: Attested) {
        let now = self.clock.now();
        let mut answers = self.answers.lock();
        if answers.len() >= MAX_REMEMBERED {
            answers.retain(|_, answer| answer.until >= now);
        }
        if answers.len() < MAX_REMEMBERED {
            answers.insert(token, Answer { key, attested, until: now + REPEAT_FOR });
        }
    }
}

impl JoinError {
    /// The status that the agent is given.
    #[must_use]
    pub fn status(&self) -> Status {
        let kind = match self {
            Self::TokenUnknown | Self::TokenExpired => Kind::Invalid,
            Self::Banned => return Reason::AgentBanned.status(self.to_string()),
            Self::Certify(error) => error.kind(),
            Self::Store(error) => error.kind(),
        };
        kind.status(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_segment_of_an_id_and_nothing_else() {
        let trust_domain = TrustDomain::parse("example.org").unwrap();
        for value in ["a", "A.b-c_9", "...", &"x".repeat(128), Token::generate().secret()] {
            let id = Token::parse(value).unwrap().agent_id(&trust_domain).unwrap();
            assert_eq!(id.path(), format!("/spire/agent/join_token/{value}"));
        }
        for value in
            ["", ".", "..", "a/b", "a/../b", " a", "a ", "a\0", "ä", "%2e", &"x".repeat(129)]
        {
            assert_eq!(Token::parse(value).err(), Some(TokenFormatError), "{value:?}");
        }
    }
}
