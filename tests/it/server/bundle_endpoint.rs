//! The bundle endpoint as other trust domains, and hands that mean no good, find it.

use super::fixture::{Fixture, config, trust_domain};
use finial::{
    runtime::{Clock, Publisher},
    server::{
        config::{BundleEndpoint, ServerConfig},
        start::Server,
    },
    spiffe::{Bundle, bundle_doc},
    testing::ca::TestCa,
    transport::{
        mtls::{self, ServerTrust},
        verify::Trust,
    },
    x509::Certificate,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(change: impl FnOnce(&mut ServerConfig)) -> Fixture {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let mut config = config(dir.path());
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    config.bundle_endpoint = Some(BundleEndpoint { bind, refresh_hint: Duration::from_secs(300) });
    change(&mut config);
    let server = Server::start(config, clock.clone()).await.unwrap();
    Fixture { dir, server, clock }
}

fn address(fixture: &Fixture) -> SocketAddr {
    fixture.server.bundle_addr.unwrap()
}

/// Asks like a server of another trust domain that has `bundle`; what is answered, and the certificate
/// that was shown.
async fn ask(
    address: SocketAddr,
    bundle: Arc<Bundle>,
    request: &str,
) -> io::Result<(String, Certificate)> {
    let trust = Trust::in_bundle(Publisher::new(bundle).reader());
    let server = ServerTrust::Verified { expected: trust_domain().server_id(), trust };
    let mut tls = (*mtls::client_config(server, None, Clock::system()).unwrap()).clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = "example.org".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let request = format!("{request} HTTP/1.1\r\nHost: example.org\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer, Certificate::parse(leaf.into()).unwrap()))
}

async fn get(fixture: &Fixture, request: &str) -> String {
    ask(address(fixture), fixture.bundle(), request).await.unwrap().0
}

fn document(answer: &str) -> Bundle {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    bundle_doc::read(trust_domain(), body.as_bytes()).unwrap()
}

#[tokio::test]
async fn anybody_who_knows_the_trust_domain_reads_its_current_bundle() {
    let fixture = start(|_| {}).await;
    let answer = get(&fixture, "GET /").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"),
        "{answer}"
    );
    let (read, bundle) = (document(&answer), fixture.bundle());
    assert!(read.has_same_content(&bundle));
    assert_eq!((read.sequence(), read.refresh_hint_secs()), (bundle.sequence(), 300));
    let ca = TestCa::new("example.org", fixture.clock.now());
    let (store, certificate) = (fixture.server.store(), ca.authority().certificate().clone());
    store.append_x509_authority(&trust_domain(), certificate).await.unwrap();
    let read = document(&get(&fixture, "GET /").await);
    assert!(read.has_same_content(&fixture.bundle()) && !read.has_same_content(&bundle));
    fixture.server.shutdown().await;
}

#[tokio::test]
async fn whatever_is_no_get_of_the_bundle_is_answered_in_spires_words() {
    let fixture = start(|_| {}).await;
    for (request, status, text) in [
        ("POST /", "405 Method Not Allowed", "405 method not allowed\n"),
        ("DELETE /other", "405 Method Not Allowed", "405 method not allowed\n"),
        ("GET /other", "404 Not Found", "404 page not found\n"),
        ("GET /../etc/passwd", "404 Not Found", "404 page not found\n"),
    ] {
        let answer = get(&fixture, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{text}")), "{request}: {answer}");
    }
    let head = get(&fixture, "HEAD /").await;
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
}

#[tokio::test]
async fn the_certificate_is_the_servers_own_and_is_renewed_while_the_endpoint_serves() {
    let fixture = start(|config| config.x509_svid_ttl = Duration::from_secs(4)).await;
    let (address, bundle) = (address(&fixture), fixture.bundle());
    let (_, first) = ask(address, Arc::clone(&bundle), "GET /").await.unwrap();
    let renewed = async {
        while ask(address, Arc::clone(&bundle), "GET /").await.unwrap().1.serial() == first.serial()
        {
        }
    };
    timeout(PATIENCE, renewed).await.expect("half of its life is two seconds");
}

#[tokio::test]
async fn one_address_holds_only_so_many_connections_open() {
    let fixture = start(|_| {}).await;
    let (address, bundle) = (address(&fixture), fixture.bundle());
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let turned_away = ask(address, Arc::clone(&bundle), "GET /").await.is_err();
    assert!(turned_away, "this address has all of its places");
    drop(silent);
    let served = async { while ask(address, Arc::clone(&bundle), "GET /").await.is_err() {} };
    timeout(PATIENCE, served).await.expect("its places are free again");
}
