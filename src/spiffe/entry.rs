//! Registration entries: which SPIFFE ID a workload gets, on which node, if it has which selectors.

use super::{
    dns::{self, DnsName},
    id::{SpiffeId, TrustDomain},
    selector::SelectorSet,
};
use std::{fmt, sync::Arc};

/// An entry's identifier: 1 to 255 of `[-._0-9A-Za-z]`. Cheap to clone: every index is keyed by it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(Arc<str>);

/// A registration entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its identifier, unique for ever.
    pub id: EntryId,
    /// 0 at creation, one more with each update.
    pub revision: i64,
    /// When it was created, in seconds since the Unix epoch.
    pub created_at: i64,
    /// What its author asked for.
    pub spec: EntrySpec,
}

/// What the author of an entry decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySpec {
    /// The identity that the entry gives.
    pub spiffe_id: SpiffeId,
    /// The agent (or alias, or entry) under which it may be used.
    pub parent_id: SpiffeId,
    /// What a workload must have, all of it; never empty.
    pub selectors: SelectorSet,
    /// The life of an X.509-SVID in seconds; 0 means the server's default.
    pub x509_svid_ttl_secs: u32,
    /// The life of a JWT-SVID in seconds; 0 means the server's default.
    pub jwt_svid_ttl_secs: u32,
    /// Trust domains whose bundles the workload gets too.
    pub federates_with: Vec<TrustDomain>,
    /// The identity may administer the server.
    pub admin: bool,
    /// The identity may ask for a subordinate authority.
    pub downstream: bool,
    /// When the entry ends, in seconds since the Unix epoch; 0 means never.
    pub expires_at: i64,
    /// DNS names of the X.509-SVID; the first one also becomes its common name.
    pub dns_names: Vec<DnsName>,
    /// The SVID is for a store plugin, not for a workload on the node.
    pub store_svid: bool,
    /// Tells a workload with several identities which one this is.
    pub hint: Hint,
    /// Make no key and SVID before a workload asks.
    pub disable_x509_svid_prefetch: bool,
    /// Give JWT-SVIDs a unique `jti`.
    pub jwt_svid_include_jti: bool,
}

/// A hint of at most 1024 bytes without control characters; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hint(String);

/// Why an entry is refused. The texts are SPIRE's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The entry ID is longer than 255 bytes.
    #[error("entry ID too long")]
    IdTooLong,
    /// The entry ID has a character outside `[-._0-9A-Za-z]`.
    #[error("entry ID contains invalid characters")]
    IdCharacter,
    /// No selector: the entry would match everybody.
    #[error("selector list is empty")]
    NoSelectors,
    /// More selectors than any workload has.
    #[error("{0} selectors, expected at most {MAX_SELECTORS}")]
    TooManySelectors(usize),
    /// The hint is longer than 1024 bytes.
    #[error("hint is too long, max length is 1024 characters")]
    HintTooLong,
    /// The hint would garble a terminal or a log.
    #[error("hint contains control characters")]
    HintCharacter,
    /// A store plugin takes its parameters from selectors of its own type only.
    #[error("selector types must be the same when store SVID is enabled")]
    MixedStoreSelectors,
    /// An SVID for a store is always made ahead.
    #[error("store SVID and disable X509-SVID prefetch exclude each other")]
    StoreWithoutPrefetch,
    /// A DNS name is malformed.
    #[error(transparent)]
    DnsName(#[from] dns::Error),
}

/// Limit of B-REG; a Kubernetes workload has 15 to 25.
const MAX_SELECTORS: usize = 128;

impl EntryId {
    /// Parses an identifier.
    ///
    /// # Errors
    /// When it is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > 255 {
            return Err(Error::IdTooLong);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(Error::IdCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Hint {
    /// Parses a hint.
    ///
    /// # Errors
    /// When it is too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > 1024 {
            return Err(Error::HintTooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(Error::HintCharacter);
        }
        Ok(Self(text.to_owned()))
    }

    /// The hint, empty when there is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EntrySpec {
    /// Checks the rules that concern several fields; each field keeps its own by type.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn check(&self) -> Result<(), Error> {
        if self.selectors.is_empty() {
            return Err(Error::NoSelectors);
        }
        if self.selectors.len() > MAX_SELECTORS {
            return Err(Error::TooManySelectors(self.selectors.len()));
        }
        if !self.store_svid {
            return Ok(());
        }
        let mut kinds = self.selectors.as_slice().iter().map(super::Selector::kind);
        let first = kinds.next();
        if kinds.any(|kind| Some(kind) != first) {
            return Err(Error::MixedStoreSelectors);
        }
        if self.disable_x509_svid_prefetch {
            return Err(Error::StoreWithoutPrefetch);
        }
        Ok(())
    }

    /// Whether the entry gives no identity any more at `now`, in seconds since the Unix epoch.
    #[must_use]
    pub const fn has_ended(&self, now: i64) -> bool {
        self.expires_at != 0 && self.expires_at <= now
    }

    /// Whether `other` would give the same identity to the same workloads on the same nodes, which a
    /// server stores once only (server.md §3.2).
    #[must_use]
    pub fn is_similar_to(&self, other: &Self) -> bool {
        self.spiffe_id == other.spiffe_id
            && self.parent_id == other.parent_id
            && self.selectors == other.selectors
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
