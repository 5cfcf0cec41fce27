//! What a certificate shall say, before [`super::lint`] judges it and [`super::issue`] signs it.

use super::{key::PublicKey, name::Name};
use std::time::SystemTime;

/// Both ends of a certificate's life, inclusive; whole seconds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not valid before.
    pub not_before: SystemTime,
    /// Not valid after.
    pub not_after: SystemTime,
}

/// What an end-entity certificate shall say.
#[derive(Clone, Debug)]
pub struct LeafTemplate {
    /// The subject.
    pub subject: Name,
    /// The only URI of subjectAltName.
    pub uri: String,
    /// DNS names of subjectAltName, before the URI, in this order.
    pub dns_names: Vec<String>,
    /// The key to certify.
    pub public_key: PublicKey,
    /// The life.
    pub validity: Validity,
}

/// What a self-signed authority shall say.
#[derive(Clone, Debug)]
pub struct AuthorityTemplate {
    /// The subject; [`super::issue::Authority::self_sign`] adds the serial number attribute when it has none.
    pub subject: Name,
    /// The only URI of subjectAltName.
    pub uri: String,
    /// The life.
    pub validity: Validity,
}
