//! An authority that signs whatever a test wants, without a server.

use crate::{
    runtime::Clock,
    spiffe::{Bundle, SpiffeId, TrustDomain, X509Svid, svid},
    x509::{
        Certificate, KeyPair, KeyType,
        issue::{Authority, AuthorityTemplate, LeafTemplate, Validity},
        lint,
    },
};
use std::{sync::Arc, time::Duration};

/// One self-signed authority of one trust domain.
pub struct TestCa {
    trust_domain: TrustDomain,
    authority: Authority,
    clock: Clock,
}

impl TestCa {
    /// A new authority that lives for a day.
    pub fn new(trust_domain: &str, clock: Clock) -> Self {
        let trust_domain = TrustDomain::parse(trust_domain).unwrap();
        let template = AuthorityTemplate {
            subject: svid::leaf_subject(None),
            uri: trust_domain.id().to_string(),
            validity: validity(&clock, Duration::from_secs(86_400)),
        };
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let authority = Authority::self_sign(lint::authority(template).unwrap(), key).unwrap();
        Self { trust_domain, authority, clock }
    }

    /// The ID of a member.
    pub fn id(&self, path: &str) -> SpiffeId {
        self.trust_domain.member(path).unwrap()
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    pub fn certificate(&self) -> &Certificate {
        self.authority.certificate()
    }

    /// The bundle of this authority alone.
    pub fn bundle(&self) -> Arc<Bundle> {
        let certificates = vec![self.certificate().clone()];
        Arc::new(Bundle::from_certificates(self.trust_domain.clone(), certificates))
    }

    /// A new SVID with its key, valid for `life` from now.
    pub fn svid(&self, path: &str, life: Duration) -> Arc<X509Svid> {
        self.svid_of(&self.id(path), life)
    }

    /// As [`TestCa::svid`], for any ID, foreign ones too.
    pub fn svid_of(&self, id: &SpiffeId, life: Duration) -> Arc<X509Svid> {
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let template = LeafTemplate {
            subject: svid::leaf_subject(None),
            uri: id.to_string(),
            dns_names: Vec::new(),
            public_key: key.public_key().clone(),
            validity: validity(&self.clock, life),
        };
        let leaf = self.authority.sign(lint::leaf(template, &self.authority).unwrap()).unwrap();
        Arc::new(X509Svid::from_key_pair(id, vec![leaf], &key).unwrap())
    }
}

/// From ten seconds ago, as SPIRE back-dates, until `life` from now.
fn validity(clock: &Clock, life: Duration) -> Validity {
    let now = clock.now();
    Validity { not_before: now - Duration::from_secs(10), not_after: now + life }
}
