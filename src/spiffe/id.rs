//! SPIFFE IDs and trust domains (SPIFFE-ID §2). One that exists is valid; nothing is ever normalised,
//! decoded or folded: what was parsed is what is compared, stored and signed (Cure53 SPI-01-003).

use std::{cmp::Ordering, fmt, hash, str::FromStr, sync::Arc};

/// A trust domain name, such as `example.org`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// A SPIFFE ID, such as `spiffe://example.org/ns/default/sa/web`. Its path may be empty, as in the ID
/// of a trust domain.
#[derive(Clone)]
pub struct SpiffeId {
    uri: Arc<str>,
    /// Where the path starts; `uri.len()` when it is empty.
    path_at: usize,
}

/// Why a text is not a SPIFFE ID or trust domain. The texts are go-spiffe's, which SPIRE prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing there at all.
    #[error("cannot be empty")]
    Empty,
    /// Not `spiffe://`, in lower case (SPIFFE-ID §2.1).
    #[error("scheme is missing or invalid")]
    Scheme,
    /// Nothing between the scheme and the path.
    #[error("trust domain is missing")]
    MissingTrustDomain,
    /// A byte outside `[a-z0-9.-_]`; also what a port, user info or percent sign runs into.
    #[error(
        "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores"
    )]
    TrustDomainCharacter,
    /// More than 255 bytes (SPIFFE-ID §2.3).
    #[error("trust domain has {0} bytes, expected at most 255")]
    TrustDomainLength(usize),
    /// A byte outside `[a-zA-Z0-9.-_]`; also what a query, fragment or percent sign runs into.
    #[error(
        "path segment characters are limited to letters, numbers, dots, dashes, and underscores"
    )]
    PathCharacter,
    /// Two slashes in a row.
    #[error("path cannot contain empty segments")]
    EmptySegment,
    /// `.` or `..`.
    #[error("path cannot contain dot segments")]
    DotSegment,
    /// A slash at the end.
    #[error("path cannot have a trailing slash")]
    TrailingSlash,
    /// A path given on its own that does not start with a slash.
    #[error("path must have a leading slash")]
    NoLeadingSlash,
    /// More than 2048 bytes (SPIFFE-ID §2.3).
    #[error("SPIFFE ID has {0} bytes, expected at most 2048")]
    Length(usize),
}

const SCHEME: &str = "spiffe://";

impl TrustDomain {
    /// Parses a bare trust domain name.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(name: &str) -> Result<Self, Error> {
        if name.is_empty() {
            return Err(Error::MissingTrustDomain);
        }
        check_trust_domain(name)?;
        Ok(Self(name.into()))
    }

    /// Parses a name or the trust domain of a SPIFFE ID, as SPIRE's CLI and API accept both.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse_name_or_id(text: &str) -> Result<Self, Error> {
        if text.contains(":/") {
            return SpiffeId::parse(text).map(|id| id.trust_domain());
        }
        Self::parse(text)
    }

    /// The bare name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The trust domain's own SPIFFE ID, without a path.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        let uri: Arc<str> = format!("{SCHEME}{}", self.0).into();
        SpiffeId { path_at: uri.len(), uri }
    }

    /// The ID of a member with this path, which must start with a slash.
    ///
    /// # Errors
    /// The first rule the path breaks.
    pub fn member(&self, path: &str) -> Result<SpiffeId, Error> {
        if !path.starts_with('/') {
            return Err(if path.is_empty() { Error::Empty } else { Error::NoLeadingSlash });
        }
        SpiffeId::parse(&format!("{SCHEME}{}{path}", self.0))
    }

    /// The ID of the trust domain's server: `/spire/server`.
    #[must_use]
    pub fn server_id(&self) -> SpiffeId {
        let uri: Arc<str> = format!("{SCHEME}{}/spire/server", self.0).into();
        SpiffeId { path_at: SCHEME.len() + self.0.len(), uri }
    }
}

impl SpiffeId {
    /// Parses a SPIFFE ID.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.len() > 2048 {
            return Err(Error::Length(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(Error::Scheme)?;
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if name.is_empty() {
            return Err(Error::MissingTrustDomain);
        }
        check_trust_domain(name)?;
        check_path(path)?;
        Ok(Self { uri: text.into(), path_at: SCHEME.len() + name.len() })
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The path with its leading slash, or nothing.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.get(self.path_at..).unwrap_or_default()
    }

    /// The bare name of the trust domain.
    #[must_use]
    pub fn trust_domain_name(&self) -> &str {
        self.uri.get(SCHEME.len()..self.path_at).unwrap_or_default()
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.trust_domain_name().into())
    }

    /// Whether this ID is of `trust_domain`.
    #[must_use]
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain_name() == trust_domain.name()
    }

    /// Whether the path is `/spire` or below it, which belongs to servers and agents.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.path() == "/spire" || self.path().starts_with("/spire/")
    }

    /// Whether this is the ID of an agent: below `/spire/agent/`.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        self.path().starts_with("/spire/agent/")
    }
}

fn check_trust_domain(name: &str) -> Result<(), Error> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
    };
    if !name.bytes().all(allowed) {
        return Err(Error::TrustDomainCharacter);
    }
    if name.len() > 255 {
        return Err(Error::TrustDomainLength(name.len()));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), Error> {
    let Some(segments) = path.strip_prefix('/') else { return Ok(()) };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let mut rest = segments;
    loop {
        let (segment, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if segment.is_empty() {
            return Err(if after.is_empty() { Error::TrailingSlash } else { Error::EmptySegment });
        }
        if !segment.bytes().all(allowed) {
            return Err(Error::PathCharacter);
        }
        if segment == "." || segment == ".." {
            return Err(Error::DotSegment);
        }
        match after.strip_prefix('/') {
            Some(next) => rest = next,
            None => return Ok(()),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl FromStr for TrustDomain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.uri == other.uri
    }
}

impl Eq for SpiffeId {}

impl hash::Hash for SpiffeId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.uri.hash(state);
    }
}

/// By trust domain, then by path: the order in which SPIRE lists entries.
impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.trust_domain_name(), self.path()).cmp(&(other.trust_domain_name(), other.path()))
    }
}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
