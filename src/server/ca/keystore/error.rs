//! Why keys cannot be read or kept, in words that say what to do.

use crate::{
    k8s::{Fault, KubeError},
    x509::key::KeyError,
};
use std::{io, path::PathBuf};

/// Why keys cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The operating system refused.
    #[error("cannot {operation} the key file {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A link could lead to a file of anybody's choice.
    #[error(
        "the key file {path} is a symbolic link, expected a regular file: name the file itself",
        path = .0.display()
    )]
    SymbolicLink(PathBuf),
    /// A directory, device or pipe.
    #[error("the key file {path} is not a regular file", path = .0.display())]
    NotAFile(PathBuf),
    /// Somebody else could have read or replaced the keys.
    #[error(
        "the key file {path} has mode {mode:04o}, expected 0600: others may know its keys; if they \
         do not, run: chmod 600 {path}",
        path = path.display()
    )]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else can read and replace the keys.
    #[error(
        "the key file {path} belongs to user {owner}, expected {expected}, who runs the server",
        path = path.display()
    )]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it must be.
        expected: u32,
    },
    /// Far larger than a few keys.
    #[error("the key file {path} is larger than {max} bytes", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// Not what was written.
    #[error(
        "the key file {path} is damaged: restore it from a backup; without one, move it away and the \
         server makes a new authority, which workloads trust when they have the new bundle",
        path = path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: Damage,
    },
    /// The Secret is of no use.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Why a Secret is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Kubernetes refuses.
    #[error(
        "this server may not {verb} Secret {secret}: allow its service account the verbs get and update on \
         secrets of this name in this namespace"
    )]
    Forbidden {
        /// What was tried.
        verb: &'static str,
        /// The Secret.
        secret: String,
        /// In Kubernetes' words.
        source: KubeError,
    },
    /// It is not there, and Kubernetes refuses to make it.
    #[error(
        "Secret {secret} does not exist and this server may not create it: run kubectl create secret \
         generic {name} --namespace {namespace}"
    )]
    Missing {
        /// The Secret.
        secret: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// In Kubernetes' words.
        source: KubeError,
    },
    /// Kubernetes does not do it.
    #[error("cannot {verb} Secret {secret}")]
    Kube {
        /// What was tried.
        verb: &'static str,
        /// The Secret.
        secret: String,
        /// Why not.
        source: KubeError,
    },
    /// Somebody else writes it.
    #[error(
        "another server has taken Secret {secret} over: this one signs until its authority ends, and \
         makes no other; end one of the two"
    )]
    Taken {
        /// The Secret.
        secret: String,
    },
    /// Kubernetes would not take it.
    #[error(
        "Secret {secret} would hold {bytes} bytes, and Kubernetes allows {max}: remove values from \
         it that are not the server's"
    )]
    TooLarge {
        /// The Secret.
        secret: String,
        /// How many bytes it would hold.
        bytes: usize,
        /// How many it may hold.
        max: usize,
    },
    /// Not what was written.
    #[error(
        "keys.json of Secret {secret} is damaged: restore it from a backup; without one, delete the Secret and \
         the server makes a new authority, which workloads trust when they have the new bundle"
    )]
    Damaged {
        /// The Secret.
        secret: String,
        /// What is wrong in it.
        source: Damage,
    },
}

/// What is wrong in a key file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Not JSON of the expected form.
    #[error("expected the JSON object {{\"keys\": {{\"<name>\": \"<base64>\"}}}}")]
    Json(#[source] serde_json::Error),
    /// Not base64.
    #[error("key {0:?} is not base64")]
    Base64(String, #[source] base64::DecodeError),
    /// Not a private key.
    #[error("key {0:?} is unusable")]
    Key(String, #[source] KeyError),
}

impl SecretError {
    /// Whether it may be otherwise soon: the API server is away, or somebody wrote at the same moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Kube { source, .. } => source.fault() == Fault::Away || source.is_conflict(),
            _ => false,
        }
    }
}
