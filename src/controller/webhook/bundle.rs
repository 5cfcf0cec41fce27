//! The `caBundle` of a webhook configuration: several controllers serve one configuration, and each adds
//! its own authority and leaves the others'. Pure.

use crate::x509::{Certificate, pem};
use std::{cmp::Reverse, time::SystemTime};

/// Replicas and their predecessors; beyond that the ones that end first go.
const MAX_AUTHORITIES: usize = 16;

/// The bundle that should stand in the place of `current`: with `own`, without what has expired or is no
/// certificate. `None` when it is good as it is.
pub(super) fn amended(current: &[u8], own: &[&Certificate], now: SystemTime) -> Option<Vec<u8>> {
    let before = pem::read_certificates(current).unwrap_or_default();
    let is_complete = own.iter().all(|own| before.iter().any(|there| there.der() == own.der()));
    if is_complete && before.len() <= MAX_AUTHORITIES {
        return None;
    }
    let is_own = |there: &Certificate| own.iter().any(|own| own.der() == there.der());
    let mut others: Vec<Certificate> =
        before.into_iter().filter(|c| c.not_after() > now && !is_own(c)).collect();
    others.sort_by_key(|certificate| Reverse(certificate.not_after()));
    others.truncate(MAX_AUTHORITIES.saturating_sub(own.len()));
    let all: Vec<Certificate> = own.iter().map(|own| (*own).clone()).chain(others).collect();
    Some(pem::certificates(&all))
}

#[cfg(test)]
mod tests {
    use super::{super::certificate::WebhookAuthority, *};
    use crate::{runtime::Clock, spiffe::TrustDomain};
    use std::time::Duration;

    fn authority(now: SystemTime) -> Certificate {
        let trust_domain = TrustDomain::parse("example.org").unwrap();
        WebhookAuthority::new(&trust_domain, now).unwrap().certificate().clone()
    }

    #[test]
    fn each_controller_adds_its_own_authority_and_leaves_the_others() {
        let now = Clock::system().now();
        let (first, second) = (authority(now), authority(now));
        let bundle = amended(b"", &[&first], now).unwrap();
        assert_eq!(amended(&bundle, &[&first], now), None);
        let both = amended(&bundle, &[&second], now).unwrap();
        assert_eq!(pem::read_certificates(&both).unwrap().len(), 2);
        assert_eq!((amended(&both, &[&first], now), amended(&both, &[&second], now)), (None, None));
    }

    #[test]
    fn what_has_expired_or_is_no_certificate_goes_and_the_number_is_bounded() {
        let now = Clock::system().now();
        let old = authority(now - Duration::from_secs(30 * 24 * 3_600));
        let own = authority(now);
        let bundle = amended(&pem::certificates(&[old]), &[&own], now).unwrap();
        assert_eq!(bundle, pem::certificates(std::slice::from_ref(&own)));
        assert_eq!(amended(b"Cg==", &[&own], now), Some(bundle));
        let many: Vec<_> = (0..40).map(|_| authority(now)).collect();
        let bundle = amended(&pem::certificates(&many), &[&own], now).unwrap();
        assert_eq!(pem::read_certificates(&bundle).unwrap().len(), MAX_AUTHORITIES);
    }
}
