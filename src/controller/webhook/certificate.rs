//! The webhook's own authority and certificate. Both live in memory only and end with the process: what
//! they certify is worth nothing outside of it.
//!
//! Knows nothing of the Kubernetes API. Used by the keeper's task; TLS connections read what is shown.

use crate::{
    spiffe::TrustDomain,
    x509::{
        Certificate, KeyPair, KeyType,
        issue::{Authority, IssueError},
        key::KeyError,
        lint::{self, LintError},
        name::{AttributeKind, Name},
        template::{AuthorityTemplate, LeafTemplate, Validity},
    },
};
use arc_swap::ArcSwapOption;
use rustls::{
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Long enough that an authority is seldom replaced, short enough that those of processes that are gone
/// do not fill the bundle for long.
const AUTHORITY_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Upstream's life of a webhook certificate.
const LEAF_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// For an API server whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60);

/// Signs the webhook's certificates.
pub(super) struct WebhookAuthority {
    authority: Authority,
    certificate: Certificate,
    uri: String,
}

/// The certificate that connections are shown. Clones share it.
#[derive(Clone, Default)]
pub(in crate::controller) struct Shown(Arc<ArcSwapOption<CertifiedKey>>);

/// No certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    /// No key.
    #[error("cannot make a key")]
    Key(#[from] KeyError),
    /// The template breaks a rule, such as a service name that no certificate can carry.
    #[error(transparent)]
    Lint(#[from] LintError),
    /// Not signed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The TLS library refuses the key.
    #[error("the TLS library refuses the webhook's key")]
    Tls(#[from] rustls::Error),
}

impl WebhookAuthority {
    /// A new authority for the webhook of `trust_domain`'s controller.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(super) fn new(
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        // The ID that upstream's webhook has.
        let uri = format!("spiffe://{}/spire-controller-manager-webhook", trust_domain.name());
        let subject = Name::default()
            .with(AttributeKind::Organization, "finial")
            .with(AttributeKind::CommonName, "webhook of the controller");
        let template = AuthorityTemplate {
            subject,
            uri: uri.clone(),
            validity: Validity { not_before: now - BACKDATED, not_after: now + AUTHORITY_LIFE },
        };
        let key = KeyPair::generate(KeyType::EcP256)?;
        let authority = Authority::self_sign(lint::authority(template)?, key)?;
        let certificate = authority.certificate().clone();
        Ok(Self { authority, certificate, uri })
    }

    /// What API servers must trust.
    pub(super) const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether another one should take its place: half of its life is over.
    pub(super) fn is_old(&self, now: SystemTime) -> bool {
        now + AUTHORITY_LIFE / 2 >= self.certificate.not_after()
    }

    /// A certificate for these DNS names, and when it should be followed by another.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub(super) fn issue(
        &self,
        dns_names: &[String],
        now: SystemTime,
    ) -> Result<(CertifiedKey, SystemTime), CertificateError> {
        let key = KeyPair::generate(KeyType::EcP256)?;
        let not_after = (now + LEAF_LIFE).min(self.certificate.not_after());
        let template = LeafTemplate {
            subject: Name::default().with(AttributeKind::Organization, "finial"),
            uri: self.uri.clone(),
            dns_names: dns_names.to_vec(),
            public_key: key.public_key().clone(),
            validity: Validity { not_before: now - BACKDATED, not_after },
        };
        let leaf = self.authority.sign(lint::leaf(template, &self.certificate)?)?;
        let secret = key.secret_key()?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.pkcs8_der()));
        let chain = vec![CertificateDer::from(leaf.der().to_vec())];
        let certified = CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(&der)?);
        let life = not_after.duration_since(now).unwrap_or_default();
        Ok((certified, now + life / 2))
    }
}

impl Shown {
    /// Shows `key` to whoever connects from now on.
    pub(super) fn show(&self, key: CertifiedKey) {
        self.0.store(Some(Arc::new(key)));
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}
