//! The SVID and bundle services through their handlers: whom they answer what.

use super::{
    forged_csr::{
        ECDSA_SHA1, ECDSA_SHA256, Forgery, P256, P384, RSA_MD5, RSA_SHA1, RSA_SHA256, Signature,
        bare_key, ec_key, extension, pkcs1, plain, rsa_key, uri_names,
    },
    world::{BEGIN, HOUR, World, entry},
};
use aws_lc_rs::digest::{SHA256, digest};
use finial::{
    runtime::clock::from_unix_secs,
    server::{
        api::{bundle::BundleService, svid::SvidService},
        authorized::Authorized,
        ca::Ca,
        caller::{Caller, Member},
        store::{Created, NewEntry},
    },
    spiffe::{Bundle, SpiffeId, TrustDomain, entry::Hint},
    wire::proto::spire::api::{
        server::{
            bundle::v1::{
                CountBundlesRequest, GetBundleRequest, GetFederatedBundleRequest,
                bundle_server::Bundle as _,
            },
            svid::v1::{
                BatchNewX509svidRequest, NewX509svidParams,
                batch_new_x509svid_response::Result as Item, svid_server::Svid as _,
            },
        },
        types::{BundleMask, Status},
    },
    x509::{Certificate, KeyPair, KeyType, cert::Serial},
};
use std::net::{IpAddr, Ipv4Addr};
use tonic::{Code, Request};

/// A server with entries of one agent and an entry of another.
struct Server {
    world: World,
    ca: Ca,
    service: SvidService,
    agent: SpiffeId,
    mine: String,
    also_mine: String,
    foreign: String,
}

impl Server {
    async fn start() -> Self {
        let world = World::new(24 * HOUR);
        let (ca, _rotation) = world.start().await.unwrap();
        let (agent, other) = (agent("1"), agent("2"));
        let mine = register(&world, &agent, "/w", "web").await;
        let also_mine = register(&world, &agent, "/v", "").await;
        let foreign = register(&world, &other, "/x", "").await;
        let service = service(&world, &ca);
        Self { world, ca, service, agent, mine, also_mine, foreign }
    }

    async fn ask(&self, params: Vec<NewX509svidParams>) -> Result<Vec<Item>, tonic::Status> {
        let mut request = Request::new(BatchNewX509svidRequest { params });
        request.extensions_mut().insert(Caller::Member(Member {
            id: self.agent.clone(),
            serial: Serial::from_bytes(&[1]),
            not_after: from_unix_secs(BEGIN + HOUR),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }));
        let answer = self.service.batch_new_x509svid(request).await?;
        Ok(answer.into_inner().results)
    }

    /// Asks for one SVID of the first entry.
    async fn ask_with(&self, csr: Vec<u8>) -> Item {
        self.ask(vec![item(&self.mine, csr)]).await.unwrap().remove(0)
    }
}

fn agent(name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org/spire/agent/join_token/{name}")).unwrap()
}

/// Creates an entry and gives its id.
async fn register(world: &World, agent: &SpiffeId, path: &str, hint: &str) -> String {
    let mut spec = entry("unused").spec;
    spec.parent_id = agent.clone();
    spec.spiffe_id = world.config.trust_domain.member(path).unwrap();
    spec.hint = Hint::parse(hint).unwrap();
    let created = world.store.create_entries(vec![NewEntry { id: None, spec }]).await.unwrap();
    match created.into_iter().next() {
        Some(Ok(Created::New(entry))) => entry.id.to_string(),
        other => panic!("{other:?}"),
    }
}

fn service(world: &World, ca: &Ca) -> SvidService {
    let (store, clock) = (world.store.clone(), world.clock.clone());
    SvidService::new(ca.clone(), Authorized::new(store, &world.config.trust_domain, clock))
}

fn item(entry_id: &str, csr: Vec<u8>) -> NewX509svidParams {
    NewX509svidParams { entry_id: entry_id.to_owned(), csr: csr.into() }
}

fn new_csr() -> Vec<u8> {
    plain(&KeyPair::generate(KeyType::EcP256).unwrap())
}

fn status(item: &Item) -> (Code, &str) {
    let Status { code, message } = item.status.as_ref().expect("every item has a status");
    assert_eq!(*code == 0, item.svid.is_some(), "an SVID or an error");
    (Code::from(*code), message)
}

fn leaf(item: &Item) -> Certificate {
    let chain = &item.svid.as_ref().unwrap().cert_chain;
    assert_eq!(chain.len(), 1);
    Certificate::parse(chain[0].clone()).unwrap()
}

#[tokio::test]
async fn each_item_is_answered_on_its_own_and_in_order() {
    let server = Server::start().await;
    let results = server
        .ask(vec![
            item("", new_csr()),
            item(&server.mine, Vec::new()),
            item("no-such-entry", new_csr()),
            item("no such entry", new_csr()),
            item(&server.foreign, new_csr()),
            item(&server.mine, b"junk".to_vec()),
            item(&server.mine, new_csr()),
            item(&server.also_mine, new_csr()),
        ])
        .await
        .unwrap();
    let unknown = (Code::NotFound, "entry not found or not authorized");
    let answers: Vec<_> = results.iter().map(status).collect();
    assert_eq!(
        answers,
        [
            (Code::InvalidArgument, "missing entry ID"),
            (Code::InvalidArgument, "missing CSR"),
            unknown,
            unknown,
            unknown,
            (Code::InvalidArgument, "malformed CSR: expected a DER-encoded PKCS#10 request"),
            (Code::Ok, "OK"),
            (Code::Ok, "OK"),
        ]
    );
    let svid = results[6].svid.as_ref().unwrap();
    let id = svid.id.as_ref().unwrap();
    assert_eq!((id.trust_domain.as_str(), id.path.as_str()), ("example.org", "/w"));
    assert_eq!((svid.hint.as_str(), svid.expires_at), ("web", leaf(&results[6]).expires_at()));
    assert_eq!(leaf(&results[7]).extensions().uris, ["spiffe://example.org/v"]);
    assert!(server.world.accepts(&[leaf(&results[6])]));
}

#[tokio::test]
async fn a_batch_of_500_is_signed_in_order_and_a_larger_or_empty_one_is_refused() {
    let server = Server::start().await;
    let keys: Vec<_> = (0..500).map(|_| KeyPair::generate(KeyType::EcP256).unwrap()).collect();
    let batch = || keys.iter().map(|key| item(&server.mine, plain(key))).collect::<Vec<_>>();
    let results = server.ask(batch()).await.unwrap();
    assert_eq!(results.len(), 500);
    for (result, key) in results.iter().zip(&keys) {
        assert_eq!(leaf(result).public_key(), key.public_key());
    }
    let mut larger = batch();
    larger.push(item(&server.mine, new_csr()));
    let refusal = server.ask(larger).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert!(refusal.message().ends_with("rate (501) exceeds burst size (500)"), "{refusal}");
    let refusal = server.ask(Vec::new()).await.unwrap_err();
    assert_eq!((refusal.code(), refusal.message()), (Code::InvalidArgument, "missing parameters"));
}

#[tokio::test(start_paused = true)]
async fn a_workload_is_told_to_retry_while_a_new_authority_propagates() {
    let mut server = Server::start().await;
    tokio::time::advance(std::time::Duration::from_secs(25 * 3_600)).await;
    let (ca, _rotation) = server.world.start().await.unwrap();
    server.service = service(&server.world, &ca);
    let answer = server.ask_with(new_csr()).await;
    let (code, message) = status(&answer);
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("on its way to all agents"), "{message}");
}

const MALFORMED: &str = "malformed CSR: expected a DER-encoded PKCS#10 request";
const KEY: &str = "malformed CSR: CSR key is not supported";
const ALGORITHM: &str = "malformed CSR: CSR signature algorithm";
const SIGNATURE: &str = "invalid CSR signature: ";

/// An RSA signature that is right for any modulus when the exponent is 1: the padded digest itself.
fn signature_for_exponent_one(info_digest: &[u8]) -> Vec<u8> {
    // DigestInfo of SHA-256 (RFC 8017 §9.2).
    let head = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let tail = [&head[..], info_digest].concat();
    let mut padded = vec![0xff; 256 - tail.len()];
    padded[..2].copy_from_slice(&[0x00, 0x01]);
    *padded.last_mut().unwrap() = 0x00;
    [padded, tail].concat()
}

fn with_exponent(exponent: &[u8]) -> Vec<u8> {
    let mut modulus = vec![0xab; 256];
    modulus[255] = 0xad;
    let mut forgery = Forgery::unsigned(rsa_key(&pkcs1(&modulus, exponent)), RSA_SHA256);
    let digest = digest(&SHA256, &forgery.info());
    forgery.signature = Signature::Bytes(signature_for_exponent_one(digest.as_ref()));
    forgery.der()
}

/// B-CSR: what is refused, each with its answer.
fn refused(server: &Server) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let key = || KeyPair::generate(KeyType::EcP256).unwrap();
    let honest = plain(&key());
    let altered = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut der = honest.clone();
        change(&mut der);
        der
    };
    let signed_as =
        |algorithm| Forgery { signature_algorithm: algorithm, ..Forgery::honest() }.der();
    let for_key = |info: Vec<u8>, algorithm| Forgery::unsigned(info, algorithm).der();
    let rsa = |bits: usize| rsa_key(&pkcs1(&vec![0xab; bits / 8], &[1, 0, 1]));
    let point = |length: usize, first: u8| {
        let mut point = vec![7; length];
        point[0] = first;
        point
    };
    let authority = server.world.keys.load("x509-CA-A").unwrap().unwrap();
    let many: Vec<String> = (0..10_000).map(|n| format!("spiffe://example.org/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let indefinite = altered(&|der| {
        der.splice(1..2, [0x80]);
        der.extend([0, 0]);
    });
    let not_minimal = altered(&|der| {
        let length = der[1];
        assert!(length & 0x80 != 0, "a long form, which gets one more zero");
        der.splice(1..2, [length + 1, 0]);
    });
    vec![
        ("PEM", b"-----BEGIN CERTIFICATE REQUEST-----\n".to_vec(), MALFORMED),
        ("trailing byte", altered(&|der| der.push(0)), MALFORMED),
        ("cut short", altered(&|der| der.truncate(der.len() - 1)), MALFORMED),
        ("indefinite length", indefinite, MALFORMED),
        ("length not minimal", not_minimal, MALFORMED),
        ("version 1", Forgery { version: 1, ..Forgery::honest() }.der(), MALFORMED),
        (
            "signed by another key",
            Forgery { signature: Signature::By(key()), ..Forgery::honest() }.der(),
            SIGNATURE,
        ),
        (
            "signature of garbage",
            Forgery { signature: Signature::Bytes(vec![1; 70]), ..Forgery::honest() }.der(),
            SIGNATURE,
        ),
        (
            "no signature",
            Forgery { signature: Signature::Bytes(Vec::new()), ..Forgery::honest() }.der(),
            SIGNATURE,
        ),
        ("ECDSA with SHA-1", signed_as(ECDSA_SHA1), ALGORITHM),
        ("RSA algorithm on an EC key", signed_as(RSA_SHA256), ALGORITHM),
        ("RSA with SHA-1", for_key(rsa(2_048), RSA_SHA1), ALGORITHM),
        ("RSA with MD5", for_key(rsa(2_048), RSA_MD5), ALGORITHM),
        ("RSA-512", for_key(rsa(512), RSA_SHA256), KEY),
        ("RSA-1024", for_key(rsa(1_024), RSA_SHA256), KEY),
        ("RSA-16384", for_key(rsa(16_384), RSA_SHA256), KEY),
        ("RSA exponent 1", with_exponent(&[1]), SIGNATURE),
        ("RSA exponent even", with_exponent(&[2]), SIGNATURE),
        ("RSA exponent huge", with_exponent(&[0x7f; 240]), SIGNATURE),
        ("P-192", for_key(ec_key(&[1, 2, 840, 10045, 3, 1, 1], &point(49, 4)), ECDSA_SHA256), KEY),
        ("P-224", for_key(ec_key(&[1, 3, 132, 0, 33], &point(57, 4)), ECDSA_SHA256), KEY),
        ("P-521", for_key(ec_key(&[1, 3, 132, 0, 35], &point(133, 4)), ECDSA_SHA256), KEY),
        ("secp256k1", for_key(ec_key(&[1, 3, 132, 0, 10], &point(65, 4)), ECDSA_SHA256), KEY),
        ("Ed25519", for_key(bare_key(&[1, 3, 101, 112], &[7; 32]), &[1, 3, 101, 112]), KEY),
        ("DSA", for_key(bare_key(&[1, 2, 840, 10040, 4, 1], &[7; 32]), RSA_SHA1), KEY),
        ("point at infinity", for_key(ec_key(P256, &[0]), ECDSA_SHA256), KEY),
        ("point off the curve", for_key(ec_key(P256, &point(65, 4)), ECDSA_SHA256), SIGNATURE),
        ("compressed point", for_key(ec_key(P256, &point(33, 2)), ECDSA_SHA256), KEY),
        ("P-256 point called P-384", for_key(ec_key(P384, &point(65, 4)), ECDSA_SHA256), KEY),
        ("the authority's key", plain(&authority), "failed to sign X509-SVID: cannot issue"),
        (
            "10,000 names",
            Forgery { extensions: vec![uri_names(&many)], ..Forgery::honest() }.der(),
            "malformed CSR: CSR of ",
        ),
        (
            "attributes of 1 MB",
            Forgery {
                extensions: vec![extension(&[1, 2, 3], &vec![0; 1_000_000])],
                ..Forgery::honest()
            }
            .der(),
            "malformed CSR: CSR of ",
        ),
        ("100 kB of nothing", vec![0x30; 100_000], "malformed CSR: CSR of 100000 bytes"),
    ]
}

#[tokio::test]
async fn a_request_that_proves_nothing_is_refused_and_disturbs_no_other() {
    let server = Server::start().await;
    for (fault, csr, expected) in refused(&server) {
        let batch = vec![item(&server.mine, csr), item(&server.mine, new_csr())];
        let results = server.ask(batch).await.unwrap();
        let (code, message) = status(&results[0]);
        assert_eq!(code, Code::InvalidArgument, "{fault}: {message}");
        assert!(message.starts_with(expected), "{fault}: {message}");
        assert_eq!(status(&results[1]), (Code::Ok, "OK"), "the good one beside: {fault}");
    }
    assert!(server.ca.state().current().active.is_some());
}

#[tokio::test]
async fn nothing_of_a_request_but_its_key_is_believed() {
    let server = Server::start().await;
    let with = |extensions| Forgery { extensions, ..Forgery::honest() }.der();
    let own = "spiffe://example.org/w";
    let common_name: &[u64] = &[2, 5, 4, 3];
    let rows = [
        ("no name", with(Vec::new())),
        ("its own name", with(vec![uri_names(&[own])])),
        ("two names", with(vec![uri_names(&[own, "spiffe://example.org/admin"])])),
        ("another's name", with(vec![uri_names(&["spiffe://example.org/admin"])])),
        ("the server's name", with(vec![uri_names(&["spiffe://example.org/spire/server"])])),
        ("CA:TRUE", with(vec![extension(&[2, 5, 29, 19], &[0x30, 3, 1, 1, 0xff])])),
        ("keyCertSign", with(vec![extension(&[2, 5, 29, 15], &[3, 2, 1, 6])])),
        ("unknown critical extension", with(vec![extension(&[1, 2, 3, 4], &[5, 0])])),
        (
            "NUL in the subject",
            Forgery { subject: vec![(common_name, b"web\0admin".to_vec())], ..Forgery::honest() }
                .der(),
        ),
        ("RSA-2048", Forgery::by(KeyPair::generate(KeyType::Rsa2048).unwrap()).der()),
    ];
    for (what, csr) in rows {
        let answer = server.ask_with(csr).await;
        assert_eq!(status(&answer), (Code::Ok, "OK"), "{what}");
        let leaf = leaf(&answer);
        let extensions = leaf.extensions();
        assert_eq!(extensions.uris, [own], "{what}");
        assert!(extensions.dns_names.is_empty() && !extensions.is_ca, "{what}");
        assert!(!extensions.key_usage.unwrap().key_cert_sign, "{what}");
        assert_eq!(leaf.subject().to_string(), "O=SPIRE,C=US", "{what}");
    }
}

#[tokio::test]
async fn a_key_is_certified_for_one_entry_only() {
    let server = Server::start().await;
    let csr = new_csr();
    let results = server
        .ask(vec![
            item(&server.mine, csr.clone()),
            item(&server.mine, csr.clone()),
            item(&server.also_mine, csr),
        ])
        .await
        .unwrap();
    assert_eq!(status(&results[0]), (Code::Ok, "OK"));
    assert_eq!(status(&results[1]), (Code::Ok, "OK"), "the same entry may ask again");
    let (code, message) = status(&results[2]);
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("already certified for another entry"), "{message}");
}

#[tokio::test]
async fn everybody_gets_the_own_bundle_with_the_fields_asked_for() {
    let server = Server::start().await;
    let (trust_domain, store) =
        (server.world.config.trust_domain.clone(), server.world.store.clone());
    let service = BundleService::new(trust_domain, store);
    let get = async |output_mask| {
        let request = Request::new(GetBundleRequest { output_mask });
        service.get_bundle(request).await.unwrap().into_inner()
    };
    let whole = get(None).await;
    assert_eq!((whole.trust_domain.as_str(), whole.sequence_number), ("example.org", 1));
    let authority = server.world.bundle().x509_authorities()[0].certificate.clone();
    assert_eq!(whole.x509_authorities[0].asn1, authority.der());
    let masked = get(Some(BundleMask { sequence_number: true, ..BundleMask::default() })).await;
    assert_eq!((masked.trust_domain.as_str(), masked.sequence_number), ("example.org", 1));
    assert!(masked.x509_authorities.is_empty());
    let count = service.count_bundles(Request::new(CountBundlesRequest {})).await.unwrap();
    assert_eq!(count.into_inner().count, 1);
}

#[tokio::test]
async fn federated_bundles_are_found_by_name_and_refused_in_spires_words() {
    let server = Server::start().await;
    let store = server.world.store.clone();
    let other = TrustDomain::parse("other.test").unwrap();
    let certificate = server.world.bundle().x509_authorities()[0].certificate.clone();
    let stored = store.append_x509_authority(&other, certificate).await.unwrap();
    let service = BundleService::new(server.world.config.trust_domain.clone(), store);
    let get = async |trust_domain: &str| {
        let trust_domain = trust_domain.to_owned();
        let request = GetFederatedBundleRequest { trust_domain, output_mask: None };
        let answer = service.get_federated_bundle(Request::new(request)).await;
        answer.map(tonic::Response::into_inner)
    };
    for name in ["other.test", "spiffe://other.test"] {
        let found: Bundle = finial::wire::bundle::bundle(&get(name).await.unwrap()).unwrap();
        assert_eq!(found, *stored);
    }
    for (name, code, message) in [
        ("absent.test", Code::NotFound, "bundle not found"),
        (
            "example.org",
            Code::InvalidArgument,
            "getting a federated bundle for the server's own trust domain is not allowed",
        ),
        ("", Code::InvalidArgument, "trust domain argument is not valid: trust domain is missing"),
    ] {
        let refusal = get(name).await.unwrap_err();
        assert_eq!((refusal.code(), refusal.message()), (code, message), "{name:?}");
    }
}
