//! Signing: from an entry, an agent or the server itself, and a public key whose possession was proved,
//! to a certificate chain.
//!
//! Owns what certificates of this trust domain say and which authority signs them. Reads entries, never
//! the store; the rotation task replaces the authorities. Calls take tens of microseconds (RSA:
//! milliseconds) of processor time and never wait, so callers run them off the event loop.

use super::{config::CaConfig, key_use::KeyUses, state::CaState};
use crate::{
    runtime::{Clock, Publisher, Reader},
    spiffe::{Entry, SpiffeId, svid::leaf_subject},
    transport::status::Kind,
    x509::{
        Certificate, PublicKey,
        issue::{Authority, IssueError},
        lint::{self, LintError},
        template::{LeafTemplate, Validity},
    },
};
use arc_swap::ArcSwap;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;

/// The certificate authority as those who need signatures see it. Clones share it.
#[derive(Clone)]
pub struct Ca(Arc<Shared>);

/// What the signing side and the rotation task have in common.
pub(super) struct Shared {
    pub(super) config: CaConfig,
    pub(super) clock: Clock,
    pub(super) authorities: ArcSwap<Authorities>,
    pub(super) state: Publisher<CaState>,
    /// Tells the rotation task that the authorities do not fit the time, as after a clock jump.
    pub(super) outdated: Notify,
    key_uses: KeyUses,
}

/// Who may sign now.
#[derive(Default)]
pub(super) struct Authorities {
    /// Signs everything.
    pub(super) active: Option<Arc<Authority>>,
    /// In the stored bundle but not known to be everywhere: while nothing is active it signs for the
    /// server and its agents, without which no bundle would ever reach anybody.
    pub(super) published: Option<Arc<Authority>>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A new authority was published, and signing before everybody has the bundle would cut them off.
    #[error("the new signing authority is still on its way to all agents, retry in a few seconds")]
    Propagating,
    /// No authority is valid at this time.
    #[error("no signing authority is valid at this time, retry in a few seconds")]
    NoAuthority,
    /// Two identities with one key would be one identity to whoever holds it.
    #[error("the CSR's key was already certified for another entry: expected a new key pair")]
    KeyInUse,
    /// The certificate breaks a rule or cannot be signed.
    #[error("cannot issue the certificate")]
    Issue(#[from] IssueError),
}

/// 10 s: SPIRE's allowance for verifiers whose clocks are behind.
pub(super) const BACKDATE: Duration = Duration::from_secs(10);

/// What a leaf says besides its dates.
struct Subject<'a> {
    id: &'a SpiffeId,
    dns_names: Vec<String>,
    ttl: Duration,
}

impl Ca {
    pub(super) fn new(config: CaConfig, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            config,
            clock,
            authorities: ArcSwap::default(),
            state: Publisher::new(CaState::default()),
            outdated: Notify::new(),
            key_uses: KeyUses::default(),
        }))
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    /// Certifies a workload's key with what its entry says. The caller has checked that the entry may be
    /// used and that the key is the requester's.
    ///
    /// # Errors
    /// When no authority may sign, or the certificate would break a rule.
    pub fn sign_workload(
        &self,
        entry: &Entry,
        public_key: PublicKey,
    ) -> Result<Vec<Certificate>, SignError> {
        let now = self.0.clock.now();
        let authority = self.authority_for_workloads(now)?;
        if !self.0.key_uses.claim(&public_key, &entry.id) {
            return Err(SignError::KeyInUse);
        }
        let ttl = match entry.spec.x509_svid_ttl_secs {
            0 => self.0.config.default_x509_svid_ttl,
            secs => Duration::from_secs(secs.into()),
        };
        let names = entry.spec.dns_names.iter().map(|name| name.as_str().to_owned()).collect();
        let subject = Subject { id: &entry.spec.spiffe_id, dns_names: names, ttl };
        issue(&authority, now, subject, public_key)
    }

    /// Certifies the key of an attested agent.
    ///
    /// # Errors
    /// When no authority may sign, or the certificate would break a rule.
    pub fn sign_agent(
        &self,
        id: &SpiffeId,
        public_key: PublicKey,
    ) -> Result<Vec<Certificate>, SignError> {
        self.sign_transport(id, self.0.config.agent_ttl, public_key)
    }

    /// Certifies the server's own key.
    ///
    /// # Errors
    /// When no authority may sign, or the certificate would break a rule.
    pub fn sign_server(&self, public_key: PublicKey) -> Result<Vec<Certificate>, SignError> {
        let id = self.0.config.trust_domain.server_id();
        // SPIRE 1.15: the server's own SVID lives as long as a workload's by default.
        self.sign_transport(&id, self.0.config.default_x509_svid_ttl, public_key)
    }

    /// Which authorities there are, published at each change.
    #[must_use]
    pub fn state(&self) -> Reader<CaState> {
        self.0.state.reader()
    }

    fn sign_transport(
        &self,
        id: &SpiffeId,
        ttl: Duration,
        public_key: PublicKey,
    ) -> Result<Vec<Certificate>, SignError> {
        let now = self.0.clock.now();
        let authority = self.authority_for_transport(now)?;
        issue(&authority, now, Subject { id, dns_names: Vec::new(), ttl }, public_key)
    }

    fn authority_for_workloads(&self, now: SystemTime) -> Result<Arc<Authority>, SignError> {
        let authorities = self.0.authorities.load();
        if let Some(active) = valid_at(authorities.active.as_ref(), now) {
            return Ok(active);
        }
        self.0.outdated.notify_one();
        match valid_at(authorities.published.as_ref(), now) {
            Some(_) => Err(SignError::Propagating),
            None => Err(SignError::NoAuthority),
        }
    }

    fn authority_for_transport(&self, now: SystemTime) -> Result<Arc<Authority>, SignError> {
        let authorities = self.0.authorities.load();
        if let Some(active) = valid_at(authorities.active.as_ref(), now) {
            return Ok(active);
        }
        self.0.outdated.notify_one();
        valid_at(authorities.published.as_ref(), now).ok_or(SignError::NoAuthority)
    }
}

impl SignError {
    /// What the error means to the requester.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Propagating | Self::NoAuthority => Kind::Unavailable,
            Self::KeyInUse
            | Self::Issue(IssueError::Lint(LintError::AuthorityKey | LintError::PublicKey)) => {
                Kind::Invalid
            }
            Self::Issue(_) => Kind::Internal,
        }
    }
}

fn valid_at(authority: Option<&Arc<Authority>>, now: SystemTime) -> Option<Arc<Authority>> {
    authority.filter(|authority| authority.certificate().is_valid_at(now)).map(Arc::clone)
}

/// The chain of a leaf below a self-signed authority is the leaf alone.
fn issue(
    authority: &Authority,
    now: SystemTime,
    subject: Subject<'_>,
    public_key: PublicKey,
) -> Result<Vec<Certificate>, SignError> {
    let issuer = authority.certificate();
    let template = LeafTemplate {
        subject: leaf_subject(subject.dns_names.first().map(String::as_str)),
        uri: subject.id.as_str().to_owned(),
        dns_names: subject.dns_names,
        public_key,
        validity: Validity {
            not_before: (now - BACKDATE).max(issuer.not_before()),
            not_after: (now + subject.ttl).min(issuer.not_after()),
        },
    };
    let linted = lint::leaf(template, issuer).map_err(IssueError::Lint)?;
    Ok(vec![authority.sign(linted)?])
}
