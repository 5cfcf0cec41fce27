//! What an Envoy would make of a secret: the SVID and the authorities in it, and whether they fit.

use crate::{
    spiffe::{
        Bundle, SpiffeId, TrustDomain, X509Svid, id,
        svid::{SvidError, leaf_id},
    },
    wire::proto::envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{Secret, SpiffeCertValidatorConfig, secret::Type},
    },
    x509::{
        Certificate,
        pem::{self, PemError},
    },
};
use prost::Message;
use std::time::SystemTime;

/// Why an Envoy could not use a secret, or should not.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Another kind of secret than the name promises.
    #[error("secret {name:?} is no {expected}")]
    Kind {
        /// Its name.
        name: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// A field without inline content.
    #[error("secret {name:?} has no inline {field}")]
    Missing {
        /// Its name.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// PEM that holds no certificate or key.
    #[error("the PEM of secret {name:?} is unusable")]
    Pem {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: PemError,
    },
    /// A validator configuration that cannot be decoded.
    #[error("the validator of secret {0:?} is malformed")]
    Validator(String),
    /// A trust domain that is none.
    #[error("the validator names {name:?}, which is no trust domain")]
    TrustDomain {
        /// What it names.
        name: String,
        /// The broken rule.
        source: id::Error,
    },
    /// Nothing to verify the leaf with.
    #[error("no authority of the trust domain of {0} is known")]
    NoAuthority(SpiffeId),
    /// Not an SVID, or not one that the authorities verify now.
    #[error(transparent)]
    Svid(#[from] SvidError),
}

/// The authorities of a validation context.
#[derive(Clone, Debug)]
pub enum Authorities {
    /// Envoy's SPIFFE validator: each trust domain by its own authorities.
    PerTrustDomain(Vec<Bundle>),
    /// A plain `trusted_ca`: any of these may have signed any name.
    Pooled(Vec<Certificate>),
}

impl Authorities {
    /// Reads a validation context.
    ///
    /// # Errors
    /// When an Envoy would refuse it.
    pub fn of(secret: &Secret) -> Result<Self, SecretError> {
        let Some(Type::ValidationContext(context)) = &secret.r#type else {
            return Err(kind(secret, "validation context"));
        };
        let validator = context.custom_validator_config.as_ref();
        let Some(config) = validator.and_then(|validator| validator.typed_config.as_ref()) else {
            let text = inline(secret, "trusted_ca", context.trusted_ca.as_ref())?;
            return Ok(Self::Pooled(certificates(secret, text)?));
        };
        let config = SpiffeCertValidatorConfig::decode(config.value.as_slice())
            .map_err(|_| SecretError::Validator(secret.name.clone()))?;
        let bundles = config.trust_domains.iter().map(|domain| {
            let text = inline(secret, "trust_bundle", domain.trust_bundle.as_ref())?;
            let trust_domain = TrustDomain::parse(&domain.name)
                .map_err(|source| SecretError::TrustDomain { name: domain.name.clone(), source })?;
            Ok(Bundle::from_certificates(trust_domain, certificates(secret, text)?))
        });
        Ok(Self::PerTrustDomain(bundles.collect::<Result<_, SecretError>>()?))
    }

    /// The authorities that verify `id`: one bundle of its trust domain.
    ///
    /// # Errors
    /// When there is none.
    pub fn bundle_for(&self, id: &SpiffeId) -> Result<Bundle, SecretError> {
        let trust_domain = id.trust_domain();
        let found = match self {
            Self::PerTrustDomain(bundles) => {
                bundles.iter().find(|bundle| *bundle.trust_domain() == trust_domain).cloned()
            }
            Self::Pooled(pool) => Some(Bundle::from_certificates(trust_domain, pool.clone())),
        };
        found.ok_or_else(|| SecretError::NoAuthority(id.clone()))
    }
}

/// Checks a certificate secret as a careful peer would: PEM, key and leaf belong together, the leaf is
/// an X509-SVID valid at `now`, and its chain leads to `authorities`. Gives the SVID.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_secret(
    secret: &Secret,
    authorities: &Authorities,
    now: SystemTime,
) -> Result<X509Svid, SecretError> {
    let svid = svid(secret)?;
    svid.verify(&authorities.bundle_for(svid.id())?, now)?;
    Ok(svid)
}

/// The SVID in a certificate secret, its key checked against its leaf but nothing else.
///
/// # Errors
/// When it is no certificate secret, or no SVID.
pub fn svid(secret: &Secret) -> Result<X509Svid, SecretError> {
    let Some(Type::TlsCertificate(tls)) = &secret.r#type else {
        return Err(kind(secret, "TLS certificate"));
    };
    let text = inline(secret, "certificate_chain", tls.certificate_chain.as_ref())?;
    let chain = certificates(secret, text)?;
    let text = inline(secret, "private_key", tls.private_key.as_ref())?;
    let key = pem::read_secret_key(text).map_err(|source| broken(secret, source))?;
    let leaf = chain.first().ok_or(SvidError::EmptyChain)?;
    let id = leaf_id(leaf)?;
    Ok(X509Svid::new(&id, chain, key)?)
}

fn certificates(secret: &Secret, text: &[u8]) -> Result<Vec<Certificate>, SecretError> {
    pem::read_certificates(text).map_err(|source| broken(secret, source))
}

fn inline<'a>(
    secret: &Secret,
    field: &'static str,
    source: Option<&'a DataSource>,
) -> Result<&'a [u8], SecretError> {
    match source.and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes),
        Some(Specifier::InlineString(text)) => Ok(text.as_bytes()),
        _ => Err(SecretError::Missing { name: secret.name.clone(), field }),
    }
}

fn broken(secret: &Secret, source: PemError) -> SecretError {
    SecretError::Pem { name: secret.name.clone(), source }
}

fn kind(secret: &Secret, expected: &'static str) -> SecretError {
    SecretError::Kind { name: secret.name.clone(), expected }
}
