//! Distinguished names: the attributes of a subject or issuer, in the order they stand in the DER.

use std::fmt;

/// The attribute kinds that finial writes or prints by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeKind {
    /// `C`, 2.5.4.6.
    Country,
    /// `O`, 2.5.4.10.
    Organization,
    /// `OU`, 2.5.4.11.
    OrganizationalUnit,
    /// `CN`, 2.5.4.3.
    CommonName,
    /// `SERIALNUMBER`, 2.5.4.5: SPIRE puts an authority's certificate serial here, so that each
    /// authority's name is unique and verifiers find the right one at once (spiffe/spire#4415).
    SerialNumber,
    /// Anything else, as a dotted OID.
    Other(String),
}

/// A name as a list of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Name(Vec<(AttributeKind, String)>);

impl Name {
    /// A name with these attributes, in this order.
    #[must_use]
    pub const fn new(attributes: Vec<(AttributeKind, String)>) -> Self {
        Self(attributes)
    }

    /// The attributes in DER order.
    #[must_use]
    pub fn attributes(&self) -> &[(AttributeKind, String)] {
        &self.0
    }

    /// The same name with one more attribute at its end.
    #[must_use]
    pub fn with(mut self, kind: AttributeKind, value: impl Into<String>) -> Self {
        self.0.push((kind, value.into()));
        self
    }

    /// Whether an attribute of this kind is present.
    #[must_use]
    pub fn has(&self, kind: &AttributeKind) -> bool {
        self.0.iter().any(|(present, _)| present == kind)
    }
}

/// RFC 2253 order and spelling as Go prints it: `SERIALNUMBER=1,O=SPIFFE,C=US`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, value)) in self.0.iter().rev().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match kind {
                AttributeKind::Country => f.write_str("C=")?,
                AttributeKind::Organization => f.write_str("O=")?,
                AttributeKind::OrganizationalUnit => f.write_str("OU=")?,
                AttributeKind::CommonName => f.write_str("CN=")?,
                AttributeKind::SerialNumber => f.write_str("SERIALNUMBER=")?,
                AttributeKind::Other(oid) => write!(f, "{oid}=")?,
            }
            for character in value.chars() {
                if matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
                    f.write_str("\\")?;
                }
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}
