//! What a peer's certificate proves and what it does not.

use super::*;
use crate::{runtime::Clock, testing::ca::TestCa};
use rcgen::{CertificateParams, KeyUsagePurpose, SanType};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

fn trust_in(authorities: &[&TestCa]) -> Trust {
    let bundles: Vec<_> = authorities.iter().map(|ca| Arc::new(ca.bundle(1, &[]))).collect();
    Trust::new(move |trust_domain| {
        bundles.iter().find(|bundle| bundle.trust_domain() == trust_domain).cloned()
    })
}

fn verify(trust: &Trust, leaf: &Certificate, now: SystemTime) -> Result<Proof, PeerError> {
    trust.verify(Role::Client, &CertificateDer::from(leaf.der().to_vec()), &[], now)
}

/// A self-signed leaf with any names: our own issuing refuses to make these.
fn leaf_with_uris(uris: &[&str]) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
}

#[tokio::test(start_paused = true)]
async fn a_member_is_proved_by_the_bundle_of_its_own_trust_domain_only() {
    let clock = Clock::anchored_at(Clock::system().now());
    let (ours, theirs) =
        (TestCa::new("example.org", clock.now()), TestCa::new("other.org", clock.now()));
    let both = trust_in(&[&ours, &theirs]);
    let svid = ours.svid(&id("spiffe://example.org/spire/agent/a"), HOUR);
    let proof = verify(&both, &svid.chain()[0], clock.now()).unwrap();
    assert_eq!((&proof.id, &proof.serial), (svid.id(), svid.chain()[0].serial()));
    assert_eq!(proof.not_after, svid.not_after());

    let forged = theirs.svid(svid.id(), HOUR);
    let error = verify(&both, &forged.chain()[0], clock.now()).unwrap_err();
    assert!(matches!(error, PeerError::Unverified { .. }), "{error}");
    let foreign = theirs.svid(&id("spiffe://other.org/w"), HOUR);
    let error = verify(&trust_in(&[&ours]), &foreign.chain()[0], clock.now());
    assert!(matches!(error, Err(PeerError::UnknownTrustDomain { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_svid_proves_nothing_after_its_end() {
    let clock = Clock::anchored_at(Clock::system().now());
    let ca = TestCa::new("example.org", clock.now());
    let (trust, svid) = (trust_in(&[&ca]), ca.svid(&id("spiffe://example.org/w"), HOUR));
    assert!(verify(&trust, &svid.chain()[0], clock.now()).is_ok());
    tokio::time::advance(HOUR + Duration::from_secs(2)).await;
    assert!(verify(&trust, &svid.chain()[0], clock.now()).is_err());
}

#[test]
fn a_leaf_must_have_exactly_one_uri_that_is_a_spiffe_id() {
    let refusal =
        |uris: &[&str]| claim(Role::Client, &leaf_with_uris(uris)).unwrap_err().to_string();
    assert_eq!(refusal(&[]), "client certificate has no URI SAN");
    assert_eq!(
        refusal(&["spiffe://example.org/a", "spiffe://example.org/b"]),
        "client certificate has more than one URI SAN"
    );
    assert_eq!(
        refusal(&["https://example.org/a"]),
        "client certificate has a malformed URI SAN: scheme is missing or invalid"
    );
    assert!(claim(Role::Server, &leaf_with_uris(&["spiffe://example.org/a"])).is_ok());
}

#[test]
fn an_authority_does_not_authenticate_as_a_workload() {
    let now = Clock::system().now();
    let ca = TestCa::new("example.org", now);
    let error = verify(&trust_in(&[&ca]), ca.authority().certificate(), now).unwrap_err();
    assert!(matches!(error, PeerError::NotALeaf { .. }), "{error}");
}
