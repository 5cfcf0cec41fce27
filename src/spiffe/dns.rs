//! DNS names that an entry may ask for: the rules of SPIRE's `x509util.ValidateLabel` and friends.

use std::fmt;

/// A DNS name as a certificate may carry it: ASCII labels, at most one wildcard as the first label.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(String);

/// Why a text is not such a name. The texts are SPIRE's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing there.
    #[error("empty or only whitespace")]
    Empty,
    /// More than 253 bytes (RFC 1035 §2.3.4).
    #[error("name length exceeded: {0} bytes, expected at most 253")]
    TooLong(usize),
    /// More than one `*`.
    #[error("too many wildcards")]
    TooManyWildcards,
    /// A `*` that is not the whole first label of several.
    #[error("wildcard must be first label: {0:?}")]
    Wildcard(String),
    /// A dot at the start, the end, or next to another.
    #[error("label is empty in {0:?}")]
    EmptyLabel(String),
    /// A label of more than 63 bytes (RFC 1035 §2.3.4).
    #[error("label length exceeded: {0:?}")]
    LabelTooLong(String),
    /// A character that is no letter, digit or hyphen, or a hyphen at the edge of a label.
    #[error("label does not match regex: {0:?}")]
    Label(String),
}

impl DnsName {
    /// Parses a name.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(name: &str) -> Result<Self, Error> {
        if name.trim().is_empty() {
            return Err(Error::Empty);
        }
        if name.len() > 253 {
            return Err(Error::TooLong(name.len()));
        }
        let wildcards = name.matches('*').count();
        if wildcards > 1 {
            return Err(Error::TooManyWildcards);
        }
        let labels = match name.strip_prefix("*.") {
            Some(rest) => rest,
            None if wildcards == 1 => return Err(Error::Wildcard(name.to_owned())),
            None => name,
        };
        labels.split('.').try_for_each(|label| check_label(label, name))?;
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_label(label: &str, name: &str) -> Result<(), Error> {
    if label.is_empty() {
        return Err(Error::EmptyLabel(name.to_owned()));
    }
    if label.len() > 63 {
        return Err(Error::LabelTooLong(label.to_owned()));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !label.bytes().all(allowed) || label.starts_with('-') || label.ends_with('-') {
        return Err(Error::Label(label.to_owned()));
    }
    Ok(())
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_one_leading_wildcard_are_accepted() {
        for name in
            ["a", "web.default.svc", "*.example.org", "1.2", "a-b.c", "xn--bcher-kva.example"]
        {
            assert_eq!(DnsName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn every_broken_rule_is_named() {
        let refused = |name: &str| DnsName::parse(name).unwrap_err();
        assert_eq!(refused("  "), Error::Empty);
        assert_eq!(refused("*.*.bad"), Error::TooManyWildcards);
        assert!(matches!(refused("a.*.b"), Error::Wildcard(_)));
        assert!(matches!(refused("a*.b"), Error::Wildcard(_)));
        assert!(matches!(refused("*"), Error::Wildcard(_)));
        assert!(matches!(refused("a."), Error::EmptyLabel(_)));
        assert!(matches!(refused("a..b"), Error::EmptyLabel(_)));
        assert!(matches!(refused(&"a".repeat(64)), Error::LabelTooLong(_)));
        assert!(matches!(refused(&["a"; 128].join(".")), Error::TooLong(255)));
        for label in ["-a", "a-", "a_b", "bücher"] {
            assert!(matches!(refused(label), Error::Label(_)), "{label}");
        }
    }
}
