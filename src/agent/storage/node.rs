//! `agent-data.json`: the agent's own SVID without its key, and the bundle that it trusts, in SPIRE's
//! form, so that either agent can take over the other's data directory.
//!
//! Blocks; called on the blocking pool. One change is written after the other, each file whole.

use super::file::{self, FileError};
use crate::x509::{Certificate, pem};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file and what it says.
#[derive(Debug)]
pub struct NodeFile {
    path: PathBuf,
    state: Mutex<NodeState>,
}

/// What the agent knows of itself and its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// The agent's chain, leaf first; empty before it attested.
    pub svid: Vec<Certificate>,
    /// The authorities of its trust domain; empty before it met its server.
    pub bundle: Vec<Certificate>,
    /// Whether the server lets it attest again.
    pub is_reattestable: bool,
    /// The SHA-256 of the bootstrap bundle with which it first met its server.
    pub bootstrap_digest: Option<String>,
    /// What SPIRE keeps about its bootstrap; passed through.
    bootstrap: SpireBootstrap,
}

/// A state that was not kept.
#[derive(Debug, thiserror::Error)]
pub enum NodeFileError {
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state cannot be encoded, which for these types cannot happen.
    #[error("cannot encode the agent's state")]
    Encode(#[from] serde_json::Error),
}

/// 16 MiB: far more than any bundle.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// SPIRE 1.15: agent/storage/storage.go `storageJSON`, in its order. Go writes an empty list as null.
#[derive(Serialize, Deserialize)]
struct Stored {
    svid: Option<Vec<String>>,
    bundle: Option<Vec<String>>,
    #[serde(default)]
    reattestable: bool,
    #[serde(flatten)]
    bootstrap: SpireBootstrap,
    /// SPIRE ignores keys that it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bootstrap_bundle_sha256: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SpireBootstrap {
    #[serde(default)]
    bootstrap_use: i64,
    #[serde(default = "never")]
    bootstrap_start_time: String,
    #[serde(default)]
    connection_attempts: i64,
}

impl Default for SpireBootstrap {
    fn default() -> Self {
        Self { bootstrap_use: 0, bootstrap_start_time: never(), connection_attempts: 0 }
    }
}

/// Go's zero time.
fn never() -> String {
    "0001-01-01T00:00:00Z".to_owned()
}

impl NodeFile {
    /// Loads the file of a data directory, which is made when it is missing. A damaged file is set
    /// aside at `unix_now`.
    ///
    /// # Errors
    /// When the directory cannot be made or the file cannot be read.
    pub fn open(data_dir: &Path, unix_now: i64) -> Result<Self, FileError> {
        file::create_directory(data_dir)?;
        let path = data_dir.join("agent-data.json");
        let state = match file::read(&path, MAX_BYTES)? {
            None => NodeState::default(),
            Some(content) => parse(&content).unwrap_or_else(|| {
                tracing::warn!(path = %path.display(), "file of the agent's state is damaged");
                file::quarantine(&path, unix_now);
                NodeState::default()
            }),
        };
        Ok(Self { path, state: Mutex::new(state) })
    }

    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.state.lock().clone()
    }

    /// Changes the state and stores it. It counts in this process even when it cannot be stored.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn update(&self, change: impl FnOnce(&mut NodeState)) -> Result<(), NodeFileError> {
        let mut state = self.state.lock();
        change(&mut state);
        let stored = Stored {
            svid: encode(&state.svid),
            bundle: encode(&state.bundle),
            reattestable: state.is_reattestable,
            bootstrap: state.bootstrap.clone(),
            bootstrap_bundle_sha256: state.bootstrap_digest.clone(),
        };
        file::write(&self.path, &serde_json::to_vec(&stored)?)?;
        Ok(())
    }
}

fn parse(content: &[u8]) -> Option<NodeState> {
    let stored: Stored = serde_json::from_slice(content).ok()?;
    Some(NodeState {
        svid: decode(stored.svid)?,
        bundle: decode(stored.bundle)?,
        is_reattestable: stored.reattestable,
        bootstrap_digest: stored.bootstrap_bundle_sha256,
        bootstrap: stored.bootstrap,
    })
}

/// Each certificate as the base64 of its PEM block: Go's form of a list of byte strings.
fn encode(certificates: &[Certificate]) -> Option<Vec<String>> {
    let block = |certificate: &Certificate| {
        STANDARD.encode(pem::certificates(std::slice::from_ref(certificate)))
    };
    (!certificates.is_empty()).then(|| certificates.iter().map(block).collect())
}

fn decode(blocks: Option<Vec<String>>) -> Option<Vec<Certificate>> {
    let mut certificates = Vec::new();
    for block in blocks.unwrap_or_default() {
        certificates.extend(pem::read_certificates(&STANDARD.decode(block).ok()?).ok()?);
    }
    Some(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ca::TestCa;
    use std::{fs, time::SystemTime};

    fn state() -> NodeState {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        let (ca, other) = (TestCa::new("example.org", now), TestCa::new("example.org", now));
        let id = ca.trust_domain().member("/spire/agent/join_token/x").unwrap();
        NodeState {
            svid: ca.svid(&id, std::time::Duration::from_secs(60)).chain().to_vec(),
            bundle: vec![
                ca.authority().certificate().clone(),
                other.authority().certificate().clone(),
            ],
            is_reattestable: true,
            bootstrap_digest: Some("abc".to_owned()),
            ..NodeState::default()
        }
    }

    fn open(dir: &Path) -> NodeFile {
        NodeFile::open(dir, 7).unwrap()
    }

    #[test]
    fn the_state_survives_in_spires_form() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).update(|known| *known = state()).unwrap();
        let text = fs::read_to_string(dir.path().join("agent-data.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["svid"].as_array().unwrap().len(), 1);
        assert_eq!(json["bundle"].as_array().unwrap().len(), 2);
        assert!(json["svid"][0].as_str().unwrap().starts_with("LS0tLS1CRUdJTiBDRVJUSUZJ"));
        assert_eq!(json["reattestable"], true);
        assert_eq!(json["bootstrap_start_time"], "0001-01-01T00:00:00Z");
        let again = open(dir.path()).state();
        assert_eq!((again.svid.len(), again.bundle.len()), (1, 2));
        assert_eq!(again.bootstrap_digest.as_deref(), Some("abc"));
    }

    #[test]
    fn what_a_real_spire_agent_wrote_is_read_and_its_bootstrap_state_kept() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"svid":null,"bundle":null,"reattestable":false,"bootstrap_use":2,
            "bootstrap_start_time":"2026-11-22T16:58:02Z","connection_attempts":3}"#;
        fs::write(dir.path().join("agent-data.json"), text).unwrap();
        open(dir.path()).update(|state| state.is_reattestable = true).unwrap();
        let text = fs::read_to_string(dir.path().join("agent-data.json")).unwrap();
        assert_eq!(
            text,
            r#"{"svid":null,"bundle":null,"reattestable":true,"bootstrap_use":2,"bootstrap_start_time":"2026-11-22T16:58:02Z","connection_attempts":3}"#
        );
    }

    #[test]
    fn a_file_truncated_anywhere_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent-data.json");
        open(dir.path()).update(|known| *known = state()).unwrap();
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(open(dir.path()).state(), NodeState::default(), "{end} bytes");
            assert!(!path.exists() && dir.path().join("agent-data.json.corrupt-7").exists());
        }
    }
}
