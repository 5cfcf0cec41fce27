//! Which secret a name asks for, and its bytes: one table, encoded once per view and shared.
//!
//! Decides nothing about streams; knows no caller but by its [`View`].

use crate::{
    agent::cache::view::{BundleSet, Identity, MemoKey, View},
    spiffe::{Bundle, SpiffeId, TrustDomain},
    wire::proto::envoy::{
        config::core::v3::{DataSource, TypedExtensionConfig, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
            secret::Type, spiffe_cert_validator_config,
        },
    },
    x509::pem,
};
use bytes::Bytes;
use prost::Message;
use prost_types::Any;
use std::{sync::Arc, time::SystemTime};

/// The type URL of every resource that SDS serves.
pub const SECRET_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

const VALIDATOR_NAME: &str = "envoy.tls.cert_validator.spiffe";
const VALIDATOR_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// The names under which a workload's own things are served (the `sds` block of the configuration).
#[derive(Clone, Debug)]
pub struct SecretNames {
    /// The first identity. SPIRE's default: `default`.
    pub svid: Arc<str>,
    /// The own bundle; with [`SecretNames::federated_by_default`] the federated ones too. SPIRE's
    /// default: `ROOTCA`.
    pub bundle: Arc<str>,
    /// Own and federated bundles. SPIRE's default: `ALL`.
    pub all_bundles: Arc<str>,
    /// Whether [`SecretNames::bundle`] also serves federated bundles: yes unless the operator has set
    /// `default_bundle_name` or `default_all_bundles_name`, which then mean what they mean in SPIRE.
    pub federated_by_default: bool,
}

/// How a validation context says whom to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Envoy's SPIFFE validator: authorities by trust domain.
    Spiffe,
    /// Envoy's plain `trusted_ca`: one list, so only ever one trust domain's.
    Plain,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The encoded `Any` of the secret.
    Ready(Bytes),
    /// Nothing there yet, or no longer; it may come.
    Waiting,
    /// No secret of ours has such a name.
    Foreign,
    /// Several trust domains cannot be told apart by a plain validation context.
    NeedsSpiffeValidator,
}

/// What a name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An identity.
    Svid,
    /// One or several bundles.
    Bundle,
    /// Something that is not ours.
    Foreign,
}

impl SecretNames {
    /// `name` as a shared text: thousands of streams ask for the same few.
    pub(super) fn intern(&self, name: &str) -> Arc<str> {
        let known = [&self.svid, &self.bundle, &self.all_bundles];
        known.into_iter().find(|known| ***known == *name).map_or_else(|| name.into(), Arc::clone)
    }

    /// What `name` asks for, whether or not it is there.
    #[must_use]
    pub fn subject(&self, name: &str) -> Subject {
        if *name == *self.svid {
            return Subject::Svid;
        }
        if *name == *self.bundle || *name == *self.all_bundles {
            return Subject::Bundle;
        }
        match SpiffeId::parse(name) {
            Ok(id) if id.path().is_empty() => Subject::Bundle,
            Ok(_) => Subject::Svid,
            Err(_) => Subject::Foreign,
        }
    }

    /// The names of everything that a caller with `view` has: its identities by SPIFFE ID and its
    /// bundles by trust domain, as SPIRE answers a request without names.
    #[must_use]
    pub fn everything(&self, view: &View, now: SystemTime) -> Vec<Arc<str>> {
        let bundles = view.bundles.all().into_iter().map(|bundle| bundle.trust_domain().id());
        let identities = view.valid_identities(now).map(|identity| identity.svid.id().clone());
        bundles.chain(identities).map(|id| Arc::from(id.as_str())).collect()
    }

    /// The secret of `name` for a caller with `view`. `padding` newlines make a validation context
    /// differ in its bytes and nothing else (istio-envoy.md §13, "What a NACK leaves behind").
    #[must_use]
    pub fn resolve(
        &self,
        name: &Arc<str>,
        view: &View,
        validation: Validation,
        padding: u8,
        now: SystemTime,
    ) -> Resolution {
        let ask = Ask { name, validation, padding, now };
        if *name == self.svid {
            return svid(name, view.valid_identities(now).next());
        }
        // As in SPIRE, the single-bundle meaning wins when both names are the same.
        if *name == self.bundle {
            let all = self.federated_by_default && validation == Validation::Spiffe;
            return ask.bundles(&view.bundles, if all { Which::All } else { Which::Own });
        }
        if *name == self.all_bundles {
            return match validation {
                Validation::Spiffe => ask.bundles(&view.bundles, Which::All),
                Validation::Plain => Resolution::NeedsSpiffeValidator,
            };
        }
        // Before anything is parsed: nearly every name that is asked for again is an identity's. One
        // without a path would be a bundle's name.
        let has_name = |identity: &&Arc<Identity>| {
            let id = identity.svid.id();
            id.as_str() == &**name && !id.path().is_empty()
        };
        if let Some(identity) = view.valid_identities(now).find(has_name) {
            return svid(name, Some(identity));
        }
        match SpiffeId::parse(name) {
            Ok(id) if id.path().is_empty() => {
                ask.bundles(&view.bundles, Which::Of(&id.trust_domain()))
            }
            Ok(_) => Resolution::Waiting,
            Err(_) => Resolution::Foreign,
        }
    }
}

#[derive(Clone, Copy)]
enum Which<'a> {
    Own,
    All,
    Of(&'a TrustDomain),
}

/// A question for bundles.
struct Ask<'a> {
    name: &'a Arc<str>,
    validation: Validation,
    padding: u8,
    now: SystemTime,
}

impl Ask<'_> {
    fn bundles(&self, set: &BundleSet, which: Which<'_>) -> Resolution {
        let own = set.own.as_ref().filter(|bundle| !bundle.x509_authorities().is_empty());
        let bundles: Vec<&Arc<Bundle>> = match which {
            Which::Own => own.into_iter().collect(),
            // Without the own domain nothing of the caller's own would verify: wait for it.
            Which::All => own.map_or_else(Vec::new, |_| set.all()),
            Which::Of(trust_domain) => set.of(trust_domain).into_iter().collect(),
        };
        if bundles.is_empty() {
            return Resolution::Waiting;
        }
        let plain = u8::from(self.validation == Validation::Plain);
        let variant = self.padding.wrapping_mul(2) | plain;
        let key = MemoKey { name: Arc::clone(self.name), variant };
        Resolution::Ready(set.encoded.get_or_encode(key, || {
            let context = match self.validation {
                Validation::Spiffe => self.spiffe_context(&bundles),
                Validation::Plain => self.plain_context(&bundles),
            };
            encode(self.name, Type::ValidationContext(context))
        }))
    }

    fn spiffe_context(&self, bundles: &[&Arc<Bundle>]) -> CertificateValidationContext {
        let trust_domains =
            bundles.iter().map(|bundle| spiffe_cert_validator_config::TrustDomain {
                name: bundle.trust_domain().name().to_owned(),
                trust_bundle: inline(self.pem(bundle)),
            });
        let config = SpiffeCertValidatorConfig { trust_domains: trust_domains.collect() };
        let typed_config =
            Any { type_url: VALIDATOR_TYPE.to_owned(), value: config.encode_to_vec() };
        let validator = TypedExtensionConfig {
            name: VALIDATOR_NAME.to_owned(),
            typed_config: Some(typed_config),
        };
        CertificateValidationContext { trusted_ca: None, custom_validator_config: Some(validator) }
    }

    fn plain_context(&self, bundles: &[&Arc<Bundle>]) -> CertificateValidationContext {
        let text = bundles.iter().flat_map(|bundle| self.pem(bundle)).collect();
        CertificateValidationContext { trusted_ca: inline(text), custom_validator_config: None }
    }

    fn pem(&self, bundle: &Bundle) -> Vec<u8> {
        let mut text = pem::certificates(&bundle.servable(self.now));
        text.extend(std::iter::repeat_n(b'\n', usize::from(self.padding)));
        text
    }
}

fn svid(name: &Arc<str>, identity: Option<&Arc<Identity>>) -> Resolution {
    let Some(identity) = identity else { return Resolution::Waiting };
    let key = MemoKey { name: Arc::clone(name), variant: 0 };
    Resolution::Ready(identity.encoded.get_or_encode(key, || {
        let certificate = TlsCertificate {
            certificate_chain: inline(pem::certificates(identity.svid.chain())),
            private_key: inline(pem::secret_key(identity.svid.key()).to_vec()),
        };
        encode(name, Type::TlsCertificate(certificate))
    }))
}

fn inline(bytes: Vec<u8>) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineBytes(bytes.into())) })
}

fn encode(name: &str, kind: Type) -> Bytes {
    let secret = Secret { name: name.to_owned(), r#type: Some(kind) };
    let any = Any { type_url: SECRET_TYPE.to_owned(), value: secret.encode_to_vec() };
    any.encode_to_vec().into()
}
