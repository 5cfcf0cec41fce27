//! What SDS sent, checked as far as an Envoy would check it, and shown without its keys.

use super::received::{push_life, push_lives};
use crate::{
    cli::go::{duration::GoDuration, quote::printable},
    runtime::clock::unix_secs,
    spiffe::{
        Bundle, SpiffeId, TrustDomain, X509Svid, id,
        svid::{self, SvidError},
    },
    wire::proto::envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
            secret::Type,
        },
        service::discovery::v3::DiscoveryResponse,
    },
    x509::{Certificate, pem, pem::PemError},
};
use prost::{DecodeError, Message as _};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

/// The secrets that have come, by name: of each the last.
#[derive(Debug, Default)]
pub(super) struct Secrets(BTreeMap<String, Content>);

/// What a secret holds.
#[derive(Debug)]
enum Content {
    /// A certificate with its key.
    Identity(Box<X509Svid>),
    /// Whom to trust, by trust domain; without a name where the validator knows none.
    Trust(Vec<(Option<TrustDomain>, Vec<Certificate>)>),
}

/// A secret that an Envoy could not use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Not the message that it should be.
    #[error("the agent sent an unreadable secret: {0}")]
    Message(#[from] DecodeError),
    /// Something in it is broken.
    #[error("secret {name:?}: {source}")]
    Part {
        /// Which secret.
        name: String,
        /// What is wrong.
        source: PartError,
    },
    /// The other secrets do not bear out this one.
    #[error("secret {name:?}: the trust bundle beside it does not verify {id}: {source}")]
    Unverified {
        /// Which secret.
        name: String,
        /// Whose.
        id: SpiffeId,
        /// Why not.
        source: Box<SvidError>,
    },
}

/// What is wrong with one secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    /// No certificates, or no key.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Parts that do not fit together.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// A trust domain without a proper name.
    #[error(transparent)]
    TrustDomain(#[from] id::Error),
    /// A validator's settings.
    #[error("unreadable validator: {0}")]
    Validator(#[from] DecodeError),
    /// Neither a certificate nor a validation context, or an empty one.
    #[error("expected a certificate or a trust bundle")]
    Empty,
}

impl Secrets {
    /// Which of `names` have not come yet.
    pub(super) fn missing<'a>(&self, names: &'a [String]) -> impl Iterator<Item = &'a str> {
        names.iter().map(String::as_str).filter(|name| !self.0.contains_key(*name))
    }

    /// Takes in a response.
    ///
    /// # Errors
    /// The first secret that an Envoy could not use.
    pub(super) fn take(&mut self, response: &DiscoveryResponse) -> Result<(), Error> {
        for resource in &response.resources {
            let Secret { name, r#type: content } = Secret::decode(resource.value.as_ref())?;
            match read(content) {
                Ok(content) => self.0.insert(name, content),
                Err(source) => return Err(Error::Part { name, source }),
            };
        }
        Ok(())
    }

    /// Checks at `now` that the trust bundle among the secrets verifies each identity among them.
    ///
    /// # Errors
    /// The first one that it does not.
    pub(super) fn verify(&self, now: SystemTime) -> Result<(), Error> {
        for (name, svid) in self.identities() {
            let trust_domain = svid.id().trust_domain();
            let Some(bundle) = self.bundle_of(&trust_domain) else { continue };
            svid.verify(&bundle, now).map_err(|source| Error::Unverified {
                name: name.clone(),
                id: svid.id().clone(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    /// The secrets as people read them; they took `waited`.
    pub(super) fn text(&self, waited: Duration) -> String {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        let mut text =
            format!("Received {} secret{plural} after {}\n", self.0.len(), GoDuration(waited));
        for (name, content) in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\nSecret:\t\t\t{}", printable(name));
            content.push_text(&mut text);
        }
        text.push('\n');
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> String {
        let secrets: Vec<Value> = self.0.iter().map(|(name, content)| content.json(name)).collect();
        format!("{}\n", json!({"secrets": secrets}))
    }

    fn identities(&self) -> impl Iterator<Item = (&String, &X509Svid)> {
        self.0.iter().filter_map(|(name, content)| match content {
            Content::Identity(svid) => Some((name, &**svid)),
            Content::Trust(_) => None,
        })
    }

    /// What the secrets say of a trust domain, if they say anything.
    fn bundle_of(&self, trust_domain: &TrustDomain) -> Option<Bundle> {
        let trusted = self.0.values().filter_map(|content| match content {
            Content::Trust(trusted) => Some(trusted),
            Content::Identity(_) => None,
        });
        let is_of_it =
            |of: &Option<TrustDomain>| of.as_ref().is_none_or(|domain| domain == trust_domain);
        let (_, authorities) = trusted.flatten().find(|(of, _)| is_of_it(of))?;
        Some(Bundle::from_certificates(trust_domain.clone(), authorities.clone()))
    }
}

impl Content {
    fn push_text(&self, text: &mut String) {
        match self {
            Self::Identity(svid) => {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "SPIFFE ID:\t\t{}", svid.id());
                if let Some((leaf, intermediates)) = svid.chain().split_first() {
                    push_life(text, "SVID", leaf);
                    push_lives(text, "Intermediate", intermediates);
                }
            }
            Self::Trust(trusted) => {
                for (trust_domain, authorities) in trusted {
                    let of = trust_domain.as_ref();
                    let label = of.map_or("CA".to_owned(), |domain| format!("[{domain}] CA"));
                    push_lives(text, &label, authorities);
                }
            }
        }
    }

    fn json(&self, name: &str) -> Value {
        match self {
            Self::Identity(svid) => json!({
                "name": name,
                "spiffe_id": svid.id().as_str(),
                "certificates": lives(svid.chain()),
            }),
            Self::Trust(trusted) => {
                let domain = |(of, authorities): &(Option<TrustDomain>, Vec<Certificate>)| {
                    json!({
                        "trust_domain": of.as_ref().map(ToString::to_string),
                        "certificates": lives(authorities),
                    })
                };
                json!({"name": name, "trusted": trusted.iter().map(domain).collect::<Vec<_>>()})
            }
        }
    }
}

/// Serial numbers, and lives in seconds of the epoch.
fn lives(certificates: &[Certificate]) -> Vec<Value> {
    let life = |certificate: &Certificate| {
        json!({
            "serial": certificate.serial().to_string(),
            "not_before": unix_secs(certificate.not_before()),
            "not_after": unix_secs(certificate.not_after()),
        })
    };
    certificates.iter().map(life).collect()
}

fn read(content: Option<Type>) -> Result<Content, PartError> {
    match content {
        Some(Type::TlsCertificate(certificate)) => identity(&certificate),
        Some(Type::ValidationContext(context)) => trust(&context),
        None => Err(PartError::Empty),
    }
}

fn identity(certificate: &TlsCertificate) -> Result<Content, PartError> {
    let chain = pem::read_certificates(inline(certificate.certificate_chain.as_ref()))?;
    let key = pem::read_secret_key(inline(certificate.private_key.as_ref()))?;
    let leaf = chain.first().ok_or(PartError::Empty)?;
    let id = svid::leaf_id(leaf)?;
    Ok(Content::Identity(Box::new(X509Svid::new(&id, chain, key)?)))
}

fn trust(context: &CertificateValidationContext) -> Result<Content, PartError> {
    let validator = context.custom_validator_config.as_ref();
    let Some(settings) = validator.and_then(|validator| validator.typed_config.as_ref()) else {
        let authorities = pem::read_certificates(inline(context.trusted_ca.as_ref()))?;
        return Ok(Content::Trust(vec![(None, authorities)]));
    };
    let settings = SpiffeCertValidatorConfig::decode(settings.value.as_ref())?;
    let mut trusted = Vec::new();
    for domain in &settings.trust_domains {
        let authorities = pem::read_certificates(inline(domain.trust_bundle.as_ref()))?;
        trusted.push((Some(TrustDomain::parse(&domain.name)?), authorities));
    }
    if trusted.is_empty() { Err(PartError::Empty) } else { Ok(Content::Trust(trusted)) }
}

/// What a source holds itself. A file would be Envoy's to read, and no agent sends one.
fn inline(source: Option<&DataSource>) -> &[u8] {
    match source.and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineBytes(bytes)) => bytes,
        Some(Specifier::InlineString(text)) => text.as_bytes(),
        Some(Specifier::Filename(_)) | None => &[],
    }
}
