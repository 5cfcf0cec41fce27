//! A trust domain with an authority that signs whatever a test needs.

use crate::{
    spiffe::{Bundle, SpiffeId, TrustDomain, X509Svid, svid::leaf_subject},
    x509::{
        KeyPair, KeyType,
        issue::Authority,
        lint,
        name::{AttributeKind, Name},
        template::{AuthorityTemplate, LeafTemplate, Validity},
    },
};
use std::time::{Duration, SystemTime};

/// An authority of `example.org` (or another trust domain) that is valid for a day around `now`.
pub struct TestCa {
    trust_domain: TrustDomain,
    authority: Authority,
    now: SystemTime,
}

impl TestCa {
    /// A fresh P-256 authority.
    #[must_use]
    pub fn new(trust_domain: &str, now: SystemTime) -> Self {
        let trust_domain = TrustDomain::parse(trust_domain).unwrap();
        let template = AuthorityTemplate {
            subject: Name::new(vec![(AttributeKind::Organization, "SPIFFE".to_owned())]),
            uri: trust_domain.id().to_string(),
            validity: Validity {
                not_before: now - Duration::from_secs(3_600),
                not_after: now + Duration::from_secs(86_400),
            },
        };
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let authority = Authority::self_sign(lint::authority(template).unwrap(), key).unwrap();
        Self { trust_domain, authority, now }
    }

    /// The authority that signs.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// A bundle of this authority and `others`, in this order.
    #[must_use]
    pub fn bundle(&self, sequence: u64, others: &[&Self]) -> Bundle {
        let certificates = std::iter::once(self)
            .chain(others.iter().copied())
            .map(|ca| ca.authority.certificate().clone())
            .collect();
        let bundle = Bundle::from_certificates(self.trust_domain.clone(), certificates);
        let (x509, jwt) = (bundle.x509_authorities(), bundle.jwt_authorities());
        Bundle::new(self.trust_domain.clone(), x509.to_vec(), jwt.to_vec(), sequence, 0)
    }

    /// An SVID for `id` that is valid from a minute ago for `life`.
    #[must_use]
    pub fn svid(&self, id: &SpiffeId, life: Duration) -> X509Svid {
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let template = LeafTemplate {
            subject: leaf_subject(None),
            uri: id.to_string(),
            dns_names: Vec::new(),
            public_key: key.public_key().clone(),
            validity: Validity {
                not_before: self.now - Duration::from_secs(60),
                not_after: self.now + life,
            },
        };
        let linted = lint::leaf(template, self.authority.certificate()).unwrap();
        let leaf = self.authority.sign(linted).unwrap();
        X509Svid::from_key_pair(id, vec![leaf], &key).unwrap()
    }
}
