//! The client against the small server: what it sends is what the test decided.

use super::*;
use crate::{
    runtime::Clock,
    spiffe::SpiffeId,
    testing::{
        ca::TestCa,
        grpc::settings_latency,
        sds_server::{SdsServer, certificate_secret, validation_secret},
        secret::{Authorities, SecretError, verify_secret},
    },
};
use std::time::Duration;
use tempfile::TempDir;

fn id() -> SpiffeId {
    SpiffeId::parse("spiffe://example.org/web").unwrap()
}

fn server() -> (TempDir, std::path::PathBuf, SdsServer, TestCa) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sds.sock");
    let server = SdsServer::bind(&path);
    let ca = TestCa::new("example.org", Clock::system().now());
    (folder, path, server, ca)
}

#[tokio::test]
async fn a_stream_waits_for_its_name_and_acknowledges_when_told() {
    let (_folder, path, server, ca) = server();
    let client = SdsClient::connect(&path).await.unwrap();
    let mut stream = client.stream(&["default"]).await.unwrap();
    let mut log = server.log();
    log.wait_for(|log| log.len() == 1).await.unwrap();
    server.serve(certificate_secret("default", &ca.svid(&id(), Duration::from_secs(600))));

    let first = stream.next().await.unwrap();
    stream.nack(&first, "not today").unwrap();
    let requests = log.wait_for(|log| log.len() == 2).await.unwrap();
    assert_eq!(requests[0].node.as_ref().unwrap().cluster, "web.default");
    assert_eq!((requests[1].version_info.as_str(), requests[1].node.as_ref()), ("", None));
    assert_eq!(requests[1].error_detail.as_ref().unwrap().code, 13);

    server.serve(certificate_secret("default", &ca.svid(&id(), Duration::from_secs(600))));
    let second = stream.accept().await.unwrap();
    let requests = log.wait_for(|log| log.len() == 3).await.unwrap();
    assert_eq!(requests[2].version_info, second.version);
    assert_eq!(requests[2].response_nonce, second.nonce);
    assert_ne!(first.secret("default"), second.secret("default"));
}

#[tokio::test]
async fn a_first_message_of_envoys_size_arrives_whole() {
    let (_folder, path, server, _) = server();
    let client = SdsClient::connect(&path).await.unwrap();
    let client = client.with_first_message(FirstMessage::EnvoySized);
    let _stream = client.resume(&["default"], "7").await.unwrap();
    let requests = server.log().wait_for(|log| log.len() == 1).await.unwrap();
    assert_eq!((requests[0].version_info.as_str(), requests[0].response_nonce.as_str()), ("7", ""));
    assert_eq!(requests[0].node.as_ref(), Some(&node::istio_proxy("web")));
}

#[tokio::test]
async fn a_secret_is_verified_by_the_bundle_of_its_own_trust_domain_only() {
    let (_folder, path, server, ca) = server();
    let (now, other) = (Clock::system().now(), TestCa::new("example.org", Clock::system().now()));
    server.serve(certificate_secret("default", &ca.svid(&id(), Duration::from_secs(600))));
    server.serve(validation_secret("ROOTCA", &[&ca.bundle(1, &[])]));
    let client = SdsClient::connect(&path).await.unwrap();
    let answer = client.fetch(&["default", "ROOTCA"]).await.unwrap();
    assert_eq!(answer.names(), ["default", "ROOTCA"]);
    let (secret, roots) = (answer.secret("default").unwrap(), answer.secret("ROOTCA").unwrap());
    let authorities = Authorities::of(roots).unwrap();
    assert_eq!(verify_secret(secret, &authorities, now).unwrap().id(), &id());

    let refused = |authorities, now| verify_secret(secret, &authorities, now).unwrap_err();
    let impostor = Authorities::PerTrustDomain(vec![other.bundle(1, &[])]);
    assert!(matches!(refused(impostor, now), SecretError::Svid(_)));
    let foreign = TestCa::new("example.net", now).bundle(1, &[]);
    let foreign = Authorities::PerTrustDomain(vec![foreign]);
    assert!(matches!(refused(foreign, now), SecretError::NoAuthority(_)));
    let later = now + Duration::from_secs(601);
    assert!(matches!(refused(authorities, later), SecretError::Svid(_)));
    assert!(matches!(Authorities::of(secret), Err(SecretError::Kind { .. })));
}

#[tokio::test]
async fn the_end_of_a_call_shows_the_servers_status() {
    let (_folder, path, _server, _) = server();
    let client = SdsClient::connect(&path).await.unwrap();
    let mut delta = client.delta(&["default"], HashMap::new()).await.unwrap();
    assert_eq!(delta.next().await.unwrap_err().code(), Some(tonic::Code::Unimplemented));
    let missing = client.fetch(&["default"]).await.unwrap_err();
    assert_eq!(missing.code(), Some(tonic::Code::NotFound));
}

#[tokio::test]
async fn a_push_that_never_comes_is_an_error_that_says_what_was_awaited() {
    let (_folder, path, _server, _) = server();
    let client = SdsClient::connect(&path).await.unwrap();
    let mut stream = client.stream(&["absent"]).await.unwrap();
    // From here on time passes as soon as nothing else happens.
    tokio::time::pause();
    assert_eq!(
        stream.next().await.unwrap_err().to_string(),
        "no answer from /envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets within 60s, \
         asked for [\"absent\"]"
    );
}

#[tokio::test]
async fn settings_arrive_before_any_request() {
    let (_folder, path, _server, _) = server();
    assert!(settings_latency(&path).await.unwrap() < Duration::from_secs(5));
}
