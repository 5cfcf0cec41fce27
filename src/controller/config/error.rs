//! Why a configuration is refused.

use crate::{
    config,
    controller::{ownership::OwnershipError, template::CompileError},
    spiffe,
};
use std::path::PathBuf;

/// A configuration that no controller can work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, not text or too large.
    #[error(transparent)]
    File(#[from] config::Error),
    /// It is not YAML, or has a key that nobody knows, or a value of another kind.
    #[error("configuration {}: {source}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<serde_saphyr::Error>,
    },
    /// Another kind of object.
    #[error(
        "configuration has {key} {value:?}, expected spire.spiffe.io/v1alpha1 ControllerManagerConfig"
    )]
    Kind {
        /// `apiVersion` or `kind`.
        key: &'static str,
        /// What it says.
        value: String,
    },
    /// A required key is missing. The text is upstream's.
    #[error("{0} is required configuration")]
    Missing(&'static str),
    /// No trust domain.
    #[error("trustDomain {name:?} is no trust domain: {source}")]
    TrustDomain {
        /// What was given.
        name: String,
        /// Why not.
        source: spiffe::id::Error,
    },
    /// A trust domain that pods may name.
    #[error("podAnnotationTrustDomains has {name:?}, which is no trust domain: {source}")]
    AnnotationTrustDomain {
        /// What was given.
        name: String,
        /// Why not.
        source: spiffe::id::Error,
    },
    /// A pattern of namespaces.
    #[error("ignoreNamespaces has {pattern:?}, which is no regular expression: {source}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// Why not.
        source: Box<regex::Error>,
    },
    /// A word that is none of a few.
    #[error("{key} is {value:?}, expected {expected}")]
    Word {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What may be given.
        expected: &'static str,
    },
    /// An address to listen on.
    #[error(
        "{key} is {value:?}, expected an IP address and a port such as 0.0.0.0:8082 or :8082, or 0 for none"
    )]
    Address {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
    },
    /// A number out of bounds.
    #[error("{key} is {value}, expected {expected}")]
    Number {
        /// The key.
        key: &'static str,
        /// What was given.
        value: i64,
        /// What may be given.
        expected: &'static str,
    },
    /// The prefixes of entry IDs.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// Without a prefix all entries are ours already.
    #[error("entryIDPrefixCleanup needs entryIDPrefix: without it every entry is the controller's")]
    NothingToCleanUp,
    /// The template of parent IDs.
    #[error("parentIDTemplate {template:?}: {source}")]
    ParentTemplate {
        /// What was given.
        template: String,
        /// Why not.
        source: CompileError,
    },
    /// The three times of a lease do not fit.
    #[error(
        "leaderElection needs leaseDuration above renewDeadline above retryPeriod, and a lease of whole seconds"
    )]
    LeaseTimes,
    /// What upstream can and this controller cannot.
    #[error(
        "{key} is a setting of spire-controller-manager that finial does not support: {instead}"
    )]
    Unsupported {
        /// The key.
        key: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// Two keys that say the same differently.
    #[error("{0} and {1} exclude each other: set one")]
    Both(&'static str, &'static str),
}
