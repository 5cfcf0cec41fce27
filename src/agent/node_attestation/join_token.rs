//! The `join_token` attestor (server.md §5.2): a secret that works once.
//!
//! A token that the server has refused is not sent again: it cannot succeed, and each attempt would
//! count against the server's limit for new agents. A new one is picked up from the file.

use crate::{agent::config, config::secret::Secret};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Where the token is, and which ones are used up.
#[derive(Debug)]
pub struct JoinToken {
    source: Option<config::JoinToken>,
    last_sent: Mutex<Sent>,
}

/// No token can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// None is configured.
    #[error(
        "no join token: generate one with `spire-server token generate` and start the agent with join_token"
    )]
    Missing,
    /// The file with it cannot be read.
    #[error("cannot read join token file {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no text in it.
    #[error("the join token is empty")]
    Empty,
    /// The server has refused it.
    #[error(
        "the join token was used already or has expired: generate a new one and start the agent with it"
    )]
    Spent,
    /// The server plays by other rules.
    #[error("the server challenged a join token, which cannot be answered")]
    Challenged,
}

#[derive(Debug, Default)]
struct Sent {
    token: Option<Secret>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Unknown,
    Rejected,
}

/// A token is a UUID; what does not fit into 4 KiB is a wrong file.
const MAX_BYTES: usize = 4 * 1024;

impl JoinToken {
    /// The configured token.
    #[must_use]
    pub fn new(source: Option<config::JoinToken>) -> Self {
        Self { source, last_sent: Mutex::default() }
    }

    /// The token's bytes. Blocks: it may be in a file.
    ///
    /// # Errors
    /// When there is none that is worth sending.
    pub fn payload(&self) -> Result<Bytes, TokenError> {
        let token = match self.source.as_ref().ok_or(TokenError::Missing)? {
            config::JoinToken::Token(token) => token.clone(),
            config::JoinToken::File(path) => read(path)?,
        };
        if token.expose().is_empty() {
            return Err(TokenError::Empty);
        }
        let mut sent = self.last_sent.lock();
        if sent.fate == Fate::Rejected && sent.token.as_ref() == Some(&token) {
            return Err(TokenError::Spent);
        }
        let payload = Bytes::copy_from_slice(token.expose().as_bytes());
        *sent = Sent { token: Some(token), fate: Fate::Unknown };
        Ok(payload)
    }

    /// The server does not accept the token last given.
    pub fn rejected(&self) {
        self.last_sent.lock().fate = Fate::Rejected;
    }
}

fn read(path: &Path) -> Result<Secret, TokenError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES));
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64).read_to_string(&mut text))
        .map_err(|source| TokenError::File { path: path.to_owned(), source })?;
    Ok(Secret::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_rejected_token_is_not_sent_again_until_the_file_has_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let token = JoinToken::new(Some(config::JoinToken::File(path.clone())));
        assert_eq!(token.payload().unwrap(), "first");
        assert_eq!(token.payload().unwrap(), "first", "a lost connection proves nothing");
        token.rejected();
        assert!(matches!(token.payload(), Err(TokenError::Spent)));
        fs::write(&path, "second").unwrap();
        assert_eq!(token.payload().unwrap(), "second");
    }

    #[test]
    fn a_missing_and_an_empty_token_are_told_apart() {
        assert!(matches!(JoinToken::new(None).payload(), Err(TokenError::Missing)));
        let empty = config::JoinToken::Token(Secret::new(String::new()));
        assert!(matches!(JoinToken::new(Some(empty)).payload(), Err(TokenError::Empty)));
    }
}
