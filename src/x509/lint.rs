//! The rules a certificate must keep before it is signed and after: RFC 5280 and X509-SVID §4.
//!
//! [`Linted`] can only be made here, and [`super::issue::Authority`] signs nothing else.

use super::{
    cert::Certificate,
    key::PublicAlgorithm,
    template::{AuthorityTemplate, LeafTemplate, Validity},
};
use std::time::{Duration, SystemTime};

/// Something that was judged and may be signed, once.
#[derive(Debug)]
pub struct Linted<T>(T);

impl<T> Linted<T> {
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LintError {
    /// The life is empty or runs backwards.
    #[error("validity is empty: not after is not later than not before")]
    EmptyValidity,
    /// The leaf would outlive or predate its authority.
    #[error("validity reaches beyond that of the signing authority")]
    BeyondAuthority,
    /// A URI that a certificate cannot carry.
    #[error("URI {0:?} must be 1 to 2048 printable ASCII characters")]
    Uri(String),
    /// A DNS name that a certificate cannot carry.
    #[error("DNS name {0:?} must be 1 to 253 printable ASCII characters")]
    DnsName(String),
    /// The signing certificate may not sign certificates.
    #[error("certificate may not sign others: expected CA:TRUE and keyUsage keyCertSign")]
    NotAnAuthority,
    /// The leaf's key is the authority's own.
    #[error("the key to certify is the authority's own key")]
    AuthorityKey,
    /// The key's bits are not of the length that its algorithm has.
    #[error("the public key to certify is malformed")]
    PublicKey,
    /// The finished certificate differs from its template.
    #[error("the signed certificate differs from what was asked for: {0}")]
    Differs(&'static str),
}

/// Judges an end-entity template against the certificate of the authority that shall sign it.
///
/// # Errors
/// The first broken rule.
pub fn leaf(
    template: LeafTemplate,
    issuer: &Certificate,
) -> Result<Linted<LeafTemplate>, LintError> {
    validity(template.validity)?;
    uri(&template.uri)?;
    for name in &template.dns_names {
        if name.is_empty() || name.len() > 253 || !is_printable(name) {
            return Err(LintError::DnsName(name.clone()));
        }
    }
    if template.validity.not_after > issuer.not_after()
        || whole(template.validity.not_before) < whole(issuer.not_before())
    {
        return Err(LintError::BeyondAuthority);
    }
    if template.public_key == *issuer.public_key() {
        return Err(LintError::AuthorityKey);
    }
    let length = template.public_key.bits().len();
    let fits = match template.public_key.algorithm() {
        PublicAlgorithm::EcP256 => length == 65,
        PublicAlgorithm::EcP384 => length == 97,
        PublicAlgorithm::Rsa => length >= 256,
    };
    if fits { Ok(Linted(template)) } else { Err(LintError::PublicKey) }
}

/// Judges the template of a self-signed authority.
///
/// # Errors
/// The first broken rule.
pub fn authority(template: AuthorityTemplate) -> Result<Linted<AuthorityTemplate>, LintError> {
    validity(template.validity)?;
    uri(&template.uri)?;
    Ok(Linted(template))
}

/// Judges a certificate that shall sign others.
///
/// # Errors
/// [`LintError::NotAnAuthority`] when it may not.
pub fn authority_certificate(certificate: &Certificate) -> Result<(), LintError> {
    let extensions = certificate.extensions();
    let may_sign = extensions.key_usage.is_some_and(|usage| usage.key_cert_sign);
    if extensions.is_ca && may_sign { Ok(()) } else { Err(LintError::NotAnAuthority) }
}

/// Judges a signed end-entity certificate against its template: whatever the encoder did, only what
/// was asked for leaves the server.
///
/// # Errors
/// What differs.
pub(super) fn issued_leaf(
    certificate: &Certificate,
    template: &LeafTemplate,
    issuer: &Certificate,
    issuer_key_id: &[u8],
) -> Result<(), LintError> {
    let extensions = certificate.extensions();
    let usage = extensions.key_usage;
    let checks = [
        ("issuer", certificate.issuer_der() == issuer.subject_der()),
        ("subject", *certificate.subject() == template.subject),
        ("public key", *certificate.public_key() == template.public_key),
        ("not before", certificate.not_before() == whole(template.validity.not_before)),
        ("not after", certificate.not_after() == whole(template.validity.not_after)),
        ("URI", extensions.uris.as_slice() == std::slice::from_ref(&template.uri)),
        ("DNS names", extensions.dns_names == template.dns_names),
        ("CA flag", !extensions.is_ca),
        (
            "key usage",
            usage.is_some_and(|u| u.digital_signature && !u.key_cert_sign && !u.crl_sign),
        ),
        ("extended key usage", extensions.server_and_client_auth == Some(true)),
        ("authority key id", extensions.authority_key_id.as_deref() == Some(issuer_key_id)),
        ("subject key id", extensions.subject_key_id.is_some()),
    ];
    match checks.into_iter().find(|(_, holds)| !holds) {
        Some((what, _)) => Err(LintError::Differs(what)),
        None => Ok(()),
    }
}

fn validity(validity: Validity) -> Result<(), LintError> {
    if whole(validity.not_before) < whole(validity.not_after) {
        Ok(())
    } else {
        Err(LintError::EmptyValidity)
    }
}

fn uri(uri: &str) -> Result<(), LintError> {
    if uri.is_empty() || uri.len() > 2048 || !is_printable(uri) {
        return Err(LintError::Uri(uri.to_owned()));
    }
    Ok(())
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Certificates count whole seconds.
fn whole(wall: SystemTime) -> SystemTime {
    wall.duration_since(SystemTime::UNIX_EPOCH).map_or(SystemTime::UNIX_EPOCH, |gap| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(gap.as_secs())
    })
}
