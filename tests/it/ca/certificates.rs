//! What is signed, judged by others: webpki, and the openssl command where it is installed.

use super::world::{BEGIN, World, entry, sign};
use finial::{
    server::ca::Ca,
    spiffe::{dns::DnsName, svid::leaf_id},
    x509::{Certificate, KeyPair, KeyType, PublicKey, pem},
};
use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

/// Runs openssl; `None` when it is not installed.
fn openssl(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {text}{:?}", output.stderr);
    Some(text)
}

/// openssl's text with everything replaced that differs between two certificates of one kind.
fn shape(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let is_hex = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let trimmed = line.trim().trim_end_matches(':');
        let line = if trimmed.split(':').all(is_hex) {
            format!("{indent}<hex>")
        } else if let Some((head, _)) = line.split_once("Not Before:") {
            format!("{head}Not Before: <date>")
        } else if let Some((head, _)) = line.split_once("Not After :") {
            format!("{head}Not After : <date>")
        } else if let Some((head, _)) = line.split_once("serialNumber = ") {
            format!("{head}serialNumber = <number>")
        } else {
            line.to_owned()
        };
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

async fn ca(key_type: KeyType) -> (World, Ca) {
    let mut world = World::new(24 * 3_600);
    world.config.ca_key_type = key_type;
    let (ca, _rotation) = world.start().await.unwrap();
    (world, ca)
}

fn authority(world: &World) -> Certificate {
    world.bundle().x509_authorities()[0].certificate.clone()
}

#[tokio::test(start_paused = true)]
async fn openssl_describes_our_certificates_as_it_describes_spires() {
    let (world, ca) = ca(KeyType::EcP256).await;
    let directory = tempfile::tempdir().unwrap();
    let leaf = sign(&ca).unwrap().remove(0);
    for (certificate, expected) in [
        (leaf, include_str!("../../fixtures/spire/openssl-leaf.txt")),
        (authority(&world), include_str!("../../fixtures/spire/openssl-authority.txt")),
    ] {
        fs::write(directory.path().join("c.der"), certificate.der()).unwrap();
        let arguments = ["x509", "-inform", "DER", "-in", "c.der", "-noout", "-text"];
        let Some(text) = openssl(directory.path(), &arguments) else { return };
        assert_eq!(shape(&text), shape(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn openssl_and_webpki_verify_leaves_of_every_kind_of_authority() {
    for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
        let (world, ca) = ca(key_type).await;
        let directory = tempfile::tempdir().unwrap();
        let mut with_names = entry("names");
        with_names.spec.dns_names = vec![DnsName::parse("a.example").unwrap()];
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        let leaves = [
            sign(&ca).unwrap(),
            ca.sign_workload(&with_names, key.public_key().clone()).unwrap(),
            ca.sign_server(new_key()).unwrap(),
        ];
        fs::write(directory.path().join("ca.pem"), pem::certificates(&[authority(&world)]))
            .unwrap();
        for leaf in leaves {
            assert!(world.accepts(&leaf), "webpki");
            fs::write(directory.path().join("leaf.pem"), pem::certificates(&leaf)).unwrap();
            let at = BEGIN.to_string();
            let arguments =
                ["verify", "-x509_strict", "-attime", &at, "-CAfile", "ca.pem", "leaf.pem"];
            let Some(verdict) = openssl(directory.path(), &arguments) else { return };
            assert_eq!(verdict, "leaf.pem: OK\n", "{key_type:?}");
        }
    }
}

fn new_key() -> PublicKey {
    KeyPair::generate(KeyType::EcP256).unwrap().public_key().clone()
}

/// Seconds from the beginning to a time.
fn since_begin(time: SystemTime) -> i64 {
    finial::runtime::clock::unix_secs(time) - BEGIN
}

#[tokio::test(start_paused = true)]
async fn a_leaf_says_what_its_entry_says_and_ends_with_its_authority() {
    let (world, ca) = ca(KeyType::EcP256).await;
    let mut entry = entry("w");
    entry.spec.x509_svid_ttl_secs = 600;
    entry.spec.dns_names = ["b.example", "a.example"].map(|n| DnsName::parse(n).unwrap()).into();
    let sign =
        |entry: &finial::spiffe::Entry| ca.sign_workload(entry, new_key()).unwrap().remove(0);
    tokio::time::sleep(Duration::from_secs(60)).await;

    let leaf = sign(&entry);
    assert_eq!(leaf.subject().to_string(), "CN=b.example,O=SPIRE,C=US");
    assert_eq!(leaf.extensions().dns_names, ["b.example", "a.example"]);
    assert_eq!((since_begin(leaf.not_before()), since_begin(leaf.not_after())), (50, 660));

    entry.spec.x509_svid_ttl_secs = 0;
    assert_eq!(since_begin(sign(&entry).not_after()), 60 + 3_600, "the server's default");
    entry.spec.x509_svid_ttl_secs = 1_000_000;
    assert_eq!(sign(&entry).not_after(), authority(&world).not_after());
    let server = ca.sign_server(new_key()).unwrap();
    assert_eq!(leaf_id(&server[0]).unwrap().as_str(), "spiffe://example.org/spire/server");
}

#[tokio::test(start_paused = true)]
async fn a_leaf_is_never_valid_before_its_authority() {
    let (world, ca) = ca(KeyType::EcP256).await;
    let leaf = sign(&ca).unwrap().remove(0);
    assert_eq!(since_begin(leaf.not_before()), -10);
    assert_eq!(leaf.not_before(), authority(&world).not_before());
}

/// X5-11: every one of many leaves lies within its authority's life, has a serial of its own, names its
/// authority and verifies.
#[tokio::test(start_paused = true)]
async fn ten_thousand_leaves_keep_every_rule() {
    let count = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
    let (world, ca) = ca(KeyType::EcP256).await;
    let (issuer, key) = (authority(&world), new_key());
    let bundle = world.bundle();
    let mut serials = HashSet::new();
    let mut entry = entry("w");
    for number in 0..count {
        // Lives from a second to longer than the authority's, at times across its life.
        entry.spec.x509_svid_ttl_secs = 1 + number * 1_009 % 100_000;
        tokio::time::advance(Duration::from_millis(u64::from(86_000_000 / count))).await;
        let chain = ca.sign_workload(&entry, key.clone()).unwrap();
        let [leaf] = chain.as_slice() else { panic!("chain of {}", chain.len()) };
        bundle.anchors().verify(&chain, world.clock.now()).unwrap();
        assert!(issuer.not_before() <= leaf.not_before() && leaf.not_after() <= issuer.not_after());
        assert!(leaf.is_valid_at(world.clock.now()));
        assert_eq!(leaf_id(leaf).unwrap(), entry.spec.spiffe_id);
        assert_eq!(leaf.extensions().authority_key_id, issuer.extensions().subject_key_id);
        assert_eq!(leaf.extensions().subject_key_id, Some(key.key_id()));
        assert!((8..=16).contains(&leaf.serial().bytes().len()), "{:?}", leaf.serial());
        assert!(serials.insert(leaf.serial().clone()));
    }
}
