//! What issued certificates say, to the byte where SPIRE's bytes are known (server.md §2.1–2.2).

use super::*;
use crate::x509::{KeyType, chain::TrustAnchors, der, key::PublicAlgorithm};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

const NOW: u64 = 1_795_366_672;

fn authority(key_type: KeyType) -> Authority {
    let template = AuthorityTemplate {
        subject: Name::new(vec![
            (AttributeKind::Country, "US".to_owned()),
            (AttributeKind::Organization, "SPIFFE".to_owned()),
        ]),
        uri: "spiffe://example.org".to_owned(),
        validity: Validity { not_before: at(NOW - 10), not_after: at(NOW + 86_400) },
    };
    let key = KeyPair::generate(key_type).unwrap();
    Authority::self_sign(lint::authority(template).unwrap(), key).unwrap()
}

fn leaf_template(public_key: PublicKey) -> LeafTemplate {
    LeafTemplate {
        subject: Name::new(vec![
            (AttributeKind::Country, "US".to_owned()),
            (AttributeKind::Organization, "SPIRE".to_owned()),
        ]),
        uri: "spiffe://example.org/w".to_owned(),
        dns_names: vec!["a.example".to_owned()],
        public_key,
        validity: Validity { not_before: at(NOW), not_after: at(NOW + 3_600) },
    }
}

fn issue(authority: &Authority) -> Certificate {
    let key = KeyPair::generate(KeyType::EcP256).unwrap();
    let template = leaf_template(key.public_key().clone());
    authority.sign(lint::leaf(template, authority.certificate()).unwrap()).unwrap()
}

/// The position of each extension's OID (and what follows it) in the DER.
fn assert_in_order(der: &[u8], parts: &[&[u8]]) {
    let mut from = 0;
    for part in parts {
        let found = der[from..].windows(part.len()).position(|window| window == *part);
        from += found.unwrap_or_else(|| panic!("{part:02x?} missing after byte {from}"));
    }
}

#[test]
fn a_leaf_has_the_extensions_of_spire_in_their_order_and_criticality() {
    let authority = authority(KeyType::EcP256);
    let leaf = issue(&authority);
    let (critical, octets): (&[u8], u8) = (&[0x01, 0x01, 0xFF], 0x04);
    let with = |oid: u8, critical: &[u8], content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        [&[0x06, 0x03, 0x55, 0x1D, oid], critical, &[octets, length], content].concat()
    };
    let key_usage = with(15, critical, &[0x03, 0x02, 0x03, 0xA8]);
    let basic_constraints = with(19, critical, &[0x30, 0x00]);
    let auth: [u8; 2] = [0x30, 0x14];
    let extended = [&[0x06, 0x03, 0x55, 0x1D, 37, octets, 0x16][..], &auth].concat();
    let skid = [0x06, 0x03, 0x55, 0x1D, 14, octets, 0x16, 0x04, 0x14];
    let akid = [0x06, 0x03, 0x55, 0x1D, 35, octets, 0x18, 0x30, 0x16, 0x80, 0x14];
    let san = [&[0x82, 9][..], b"a.example", &[0x86, 22], b"spiffe://example.org/w"].concat();
    assert_in_order(
        leaf.der(),
        &[&key_usage, &extended, &basic_constraints, &skid, &akid, authority.key_id(), &san],
    );
    assert!(der::is_framed(leaf.der()));
    assert_eq!(leaf.subject().to_string(), "O=SPIRE,C=US");
    assert_eq!(leaf.extensions().subject_key_id, Some(leaf.public_key().key_id()));
}

#[test]
fn an_authority_has_the_extensions_of_spire_and_its_serial_in_its_name() {
    let certificate = authority(KeyType::EcP256).certificate().clone();
    let serial = certificate.serial().to_string();
    assert_eq!(certificate.subject().to_string(), format!("SERIALNUMBER={serial},O=SPIFFE,C=US"));
    let key_usage = [0x55, 0x1D, 15, 0x01, 0x01, 0xFF, 0x04, 0x04, 0x03, 0x02, 0x01, 0x06];
    let constraints = [0x55, 0x1D, 19, 0x01, 0x01, 0xFF, 0x04, 0x05, 0x30, 0x03, 0x01, 0x01, 0xFF];
    let skid = [0x55, 0x1D, 14, 0x04, 0x16, 0x04, 0x14];
    let san = [&[0x86, 20][..], b"spiffe://example.org"].concat();
    assert_in_order(certificate.der(), &[&key_usage, &constraints, &skid, &san]);
    assert_eq!(certificate.extensions().authority_key_id, None);
    assert_eq!(certificate.issuer_der(), certificate.subject_der());
}

#[test]
fn leaves_of_every_authority_key_type_verify_and_a_stored_authority_signs_on() {
    for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
        let original = authority(key_type);
        let key = KeyPair::load(&original.key.secret_key().unwrap()).unwrap();
        let loaded = Authority::load(original.certificate().clone(), key).unwrap();
        let anchors = TrustAnchors::new([original.certificate()]);
        for authority in [&original, &loaded] {
            anchors.verify(&[issue(authority)], at(NOW + 1)).unwrap();
        }
        assert!(anchors.verify(&[issue(&loaded)], at(NOW + 3_601)).is_err(), "expired");
        let other = TrustAnchors::new([authority(key_type).certificate()]);
        assert!(other.verify(&[issue(&loaded)], at(NOW + 1)).is_err(), "another authority");
    }
}

#[test]
fn a_template_that_breaks_a_rule_is_never_signed() {
    let authority = authority(KeyType::EcP256);
    let key = KeyPair::generate(KeyType::EcP256).unwrap();
    let good = leaf_template(key.public_key().clone());
    let refused = |template| lint::leaf(template, authority.certificate()).unwrap_err();
    let mut template = good.clone();
    template.validity.not_after = at(NOW + 90_000);
    assert_eq!(refused(template), LintError::BeyondAuthority);
    let mut template = good.clone();
    template.validity.not_after = template.validity.not_before;
    assert_eq!(refused(template), LintError::EmptyValidity);
    let mut template = good.clone();
    template.uri = "spiffe://example.org/\n".to_owned();
    assert!(matches!(refused(template), LintError::Uri(_)));
    let mut template = good.clone();
    template.public_key = authority.certificate().public_key().clone();
    assert_eq!(refused(template), LintError::AuthorityKey);
    let mut template = good;
    template.public_key = PublicKey::from_bits(PublicAlgorithm::EcP256, &[4; 12]);
    assert_eq!(refused(template), LintError::PublicKey);
}

#[test]
fn a_leaf_cannot_become_an_authority_and_a_foreign_key_is_refused() {
    let authority = authority(KeyType::EcP256);
    let leaf = issue(&authority);
    let key = KeyPair::generate(KeyType::EcP256).unwrap();
    assert!(matches!(Authority::load(leaf, key), Err(IssueError::Lint(LintError::NotAnAuthority))));
    let key = KeyPair::generate(KeyType::EcP256).unwrap();
    let certificate = authority.certificate().clone();
    assert!(matches!(Authority::load(certificate, key), Err(IssueError::KeyMismatch)));
}

#[test]
fn serials_are_positive_at_most_sixteen_bytes_and_distinct() {
    let serials: std::collections::HashSet<_> =
        (0..1_000).map(|_| random_serial().unwrap()).collect();
    assert_eq!(serials.len(), 1_000);
    assert!(serials.iter().all(|serial| (1..=16).contains(&serial.bytes().len())));
}
