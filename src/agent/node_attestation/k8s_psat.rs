//! The `k8s_psat` attestor (agent.md §4.1): the service account token that the kubelet puts into the
//! agent's pod and renews there, so it is read anew for each attestation.

use bytes::Bytes;
use serde::Serialize;
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Where the token is, and which cluster's.
#[derive(Debug)]
pub struct K8sPsat {
    cluster: String,
    token_path: PathBuf,
}

/// No token can be sent.
#[derive(Debug, thiserror::Error)]
pub enum PsatError {
    /// The file with it cannot be read.
    #[error(
        "unable to load token from {}: it needs a projected service account token with the audience \
         of the server", path.display()
    )]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("unable to load token from {}: the file is empty", .0.display())]
    Empty(PathBuf),
    /// It holds something else.
    #[error(
        "unable to load token from {}: it has more than {MAX_BYTES} bytes, which no token has",
        .0.display()
    )]
    TooLong(PathBuf),
    /// The token cannot be put into JSON.
    #[error("unable to marshal PSAT token data")]
    Json(#[from] serde_json::Error),
    /// The server plays by other rules.
    #[error("the server challenged a service account token, which cannot be answered")]
    Challenged,
}

/// What the server reads (SPIRE 1.15: pkg/common/plugin/k8s).
#[derive(Serialize)]
struct Payload<'a> {
    cluster: &'a str,
    token: &'a str,
}

/// Tokens have one or two KiB.
const MAX_BYTES: usize = 64 * 1024;

impl K8sPsat {
    /// The token at `token_path`, of the cluster that the server knows as `cluster`.
    #[must_use]
    pub const fn new(cluster: String, token_path: PathBuf) -> Self {
        Self { cluster, token_path }
    }

    /// The cluster and the token of this moment. Blocks: it reads a file.
    ///
    /// # Errors
    /// When there is no token.
    pub fn payload(&self) -> Result<Bytes, PsatError> {
        let token = read(&self.token_path)?;
        // Whoever writes the file by hand ends it with a newline.
        let payload = Payload { cluster: &self.cluster, token: token.trim() };
        if payload.token.is_empty() {
            return Err(PsatError::Empty(self.token_path.clone()));
        }
        Ok(serde_json::to_vec(&payload)?.into())
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, PsatError> {
    let mut text = Zeroizing::new(String::with_capacity(4 * 1024));
    let limit = MAX_BYTES as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(|source| PsatError::File { path: path.to_owned(), source })?;
    if text.len() > MAX_BYTES {
        return Err(PsatError::TooLong(path.to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_proof_is_the_token_of_its_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let attestor = K8sPsat::new("demo".to_owned(), path.clone());
        fs::write(&path, "first").unwrap();
        assert_eq!(attestor.payload().unwrap(), r#"{"cluster":"demo","token":"first"}"#);
        fs::write(&path, "second\n").unwrap();
        assert_eq!(attestor.payload().unwrap(), r#"{"cluster":"demo","token":"second"}"#);
    }

    #[test]
    fn a_file_without_a_token_is_told_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let attestor = K8sPsat::new("demo".to_owned(), path.clone());
        let said = || attestor.payload().unwrap_err().to_string();
        assert!(said().starts_with(&format!("unable to load token from {}", path.display())));
        for (content, expected) in [(String::new(), "is empty"), ("x".repeat(65_537), "65536")] {
            fs::write(&path, content).unwrap();
            assert!(said().contains(expected), "{}", said());
        }
    }
}
