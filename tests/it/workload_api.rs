//! The SPIFFE Workload API on the agent's socket (reliability-security.md §1.4–1.5, B-WAPI).

use finial::{
    agent::{
        cache::UpdateKind,
        config::{Executable, WorkloadAttestor},
    },
    runtime::Clock,
    spiffe::{SpiffeId, X509Svid, entry::Hint},
    testing::{
        ca::TestCa,
        grpc::{Call, CallError, Connection, PATIENCE},
        sds::SdsClient,
        serving::{Manner, ServedAgent},
    },
    transport::channel,
    wire::proto::workload::{
        X509BundlesRequest, X509svid, X509svidRequest, X509svidResponse,
        spiffe_workload_api_client::SpiffeWorkloadApiClient,
    },
    x509::{Certificate, SecretKey},
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use std::path::Path;
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue, transport::Channel};

async fn client(agent: &ServedAgent) -> SpiffeWorkloadApiClient<Channel> {
    SpiffeWorkloadApiClient::new(channel::connect_uds(&agent.path).await.unwrap())
}

fn with_header<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

/// The SVID of an answer, its parts checked against each other.
fn checked(answer: &X509svid) -> X509Svid {
    let id = SpiffeId::parse(&answer.spiffe_id).unwrap();
    let chain = Certificate::parse_concatenated(&answer.x509_svid).unwrap();
    X509Svid::new(&id, chain, SecretKey::from_pkcs8(answer.x509_svid_key.to_vec())).unwrap()
}

#[tokio::test]
async fn the_security_header_must_be_there_once_and_say_true() {
    let agent = ServedAgent::start_with_identity().await;
    let mut client = client(&agent).await;
    for values in [&[][..], &["True"], &["1"], &["true", "true"]] {
        let mut request = Request::new(X509svidRequest {});
        for value in values {
            request.metadata_mut().append("workload.spiffe.io", value.parse().unwrap());
        }
        let status = client.fetch_x509svid(request).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, "security header missing from request"),
            "{values:?}"
        );
    }
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert_bin("workload.spiffe.io-bin", MetadataValue::from_bytes(b"true"));
    let status = client.fetch_x509svid(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "the same in binary is another header");
}

/// An agent that cannot tell who its callers are: their executable is larger than it may read.
async fn agent_that_cannot_attest(directory: &Path) -> ServedAgent {
    let ca = TestCa::new("example.org", Clock::system().now());
    let executable = Executable::PathAndHash { max_bytes: Some(1) };
    let attestors = vec![WorkloadAttestor::Unix { executable }];
    let manner = Manner { attestors, ..Manner::default() };
    let agent = ServedAgent::start_at(&directory.join("socket"), ca, manner).await;
    agent.apply(UpdateKind::Snapshot, vec![agent.entry("w")], vec![agent.ca.bundle(1, &[])]);
    agent.sign_due();
    agent
}

#[tokio::test]
async fn whoever_cannot_be_attested_is_told_to_come_again_and_given_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent_that_cannot_attest(directory.path()).await;
    let mut client = client(&agent).await;
    let status = client.fetch_x509svid(with_header(X509svidRequest {})).await.unwrap_err();
    let refusal = (Code::Unavailable, "workload attestation failed");
    assert_eq!((status.code(), status.message()), refusal);
    let status = client.fetch_x509_bundles(with_header(X509BundlesRequest {})).await.unwrap_err();
    assert_eq!((status.code(), status.message()), refusal);
    let secrets = SdsClient::connect(&agent.path).await.unwrap().fetch(&["default"]).await;
    assert_eq!(secrets.unwrap_err().code(), Some(Code::Unavailable));
}

/// Asks for SVIDs and says that this was all.
async fn fetch(connection: &Connection) -> Result<Call<X509svidResponse>, CallError> {
    let mut call = connection.call("/SpiffeWorkloadAPI/FetchX509SVID").await?;
    call.send(&X509svidRequest {})?;
    call.finish()?;
    Ok(call)
}

#[tokio::test]
async fn a_client_that_takes_no_answer_or_too_many_streams_disturbs_no_other() {
    let agent = ServedAgent::start_with_identity().await;
    let other = Connection::open(&agent.path).await.unwrap();
    let mut bystander = fetch(&other).await.unwrap();
    bystander.next().await.unwrap();

    let mut registry = Registry::default();
    agent.metrics.register(&mut registry);
    let open_calls = || {
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let calls = text.lines().find_map(|line| line.strip_prefix("workload_api_connections "));
        calls.unwrap().parse::<usize>().unwrap()
    };
    let greedy = Connection::open(&agent.path).await.unwrap();
    let mut unread = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while open_calls() <= 1_000 {
        assert!(Instant::now() < deadline, "{} calls are open", open_calls());
        for _call in 0..1_000 {
            unread.push(fetch(&greedy).await.unwrap());
        }
        agent.rotate(&agent.ca);
        bystander.next().await.unwrap();
    }
    for _rotation in 0..10 {
        agent.rotate(&agent.ca);
        bystander.next().await.unwrap();
        assert!(open_calls() <= 1_001, "the limit of the one connection, and the bystander");
    }

    let hasty = Connection::open(&agent.path).await.unwrap();
    for _call in 0..10_000 {
        // It is hung up on at some point.
        let Ok(mut call) = fetch(&hasty).await else { break };
        call.cancel();
    }
    for _rotation in 0..10 {
        agent.rotate(&agent.ca);
        bystander.next().await.unwrap();
    }
}

/// The next answer of a stream, or how it ended.
async fn next<M>(answers: &mut Streaming<M>) -> Result<M, Status> {
    let next = timeout(PATIENCE, answers.message()).await.expect("an answer in time");
    next.map(|answer| answer.expect("a stream of this API ends with a status"))
}

#[tokio::test]
async fn an_identity_comes_whole_and_again_when_it_is_renewed() {
    let agent = ServedAgent::start_with_identity().await;
    let mut client = client(&agent).await;
    let request = with_header(X509svidRequest {});
    let mut answers = client.fetch_x509svid(request).await.unwrap().into_inner();
    let first = next(&mut answers).await.unwrap();
    let svid = checked(&first.svids[0]);
    assert_eq!(*svid.id(), agent.id("w"));
    let authorities = Certificate::parse_concatenated(&first.svids[0].bundle).unwrap();
    assert_eq!(authorities, [agent.ca.authority().certificate().clone()]);
    agent.rotate(&agent.ca);
    let second = next(&mut answers).await.unwrap();
    assert_ne!(checked(&second.svids[0]).chain(), svid.chain());
}

#[tokio::test]
async fn a_change_that_alters_no_answer_sends_none() {
    let agent = ServedAgent::start_with_identity().await;
    let mut client = client(&agent).await;
    let request = with_header(X509BundlesRequest {});
    let mut answers = client.fetch_x509_bundles(request).await.unwrap().into_inner();
    let first = next(&mut answers).await.unwrap();
    assert_eq!(first.bundles.keys().collect::<Vec<_>>(), ["spiffe://example.org"]);
    agent.rotate(&agent.ca);
    let successor = TestCa::new("example.org", agent.clock.now());
    agent.apply(UpdateKind::Delta, Vec::new(), vec![agent.ca.bundle(2, &[&successor])]);
    let second = next(&mut answers).await.unwrap();
    let authorities =
        Certificate::parse_concatenated(&second.bundles["spiffe://example.org"]).unwrap();
    assert_eq!(authorities.len(), 2, "the rotation in between sent nothing");
}

#[tokio::test]
async fn a_workload_without_an_entry_is_refused_and_one_that_loses_it_too() {
    let agent = ServedAgent::start().await;
    let mut client = client(&agent).await;
    let unsynced = client.fetch_x509svid(with_header(X509svidRequest {})).await.unwrap();
    let status = next(&mut unsynced.into_inner()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "nothing is known yet, so nothing is denied");
    agent.apply(UpdateKind::Snapshot, Vec::new(), vec![agent.ca.bundle(1, &[])]);
    let refused = client.fetch_x509svid(with_header(X509svidRequest {})).await.unwrap();
    let status = next(&mut refused.into_inner()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no identity issued"));
    agent.apply(UpdateKind::Delta, vec![agent.entry("w")], Vec::new());
    agent.sign_due();
    let request = with_header(X509svidRequest {});
    let mut answers = client.fetch_x509svid(request).await.unwrap().into_inner();
    next(&mut answers).await.unwrap();
    agent.remove("w");
    let status = next(&mut answers).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn of_identities_that_share_a_hint_only_the_oldest_is_sent() {
    let agent = ServedAgent::start().await;
    let (mut old, mut young, other) = (agent.entry("old"), agent.entry("young"), agent.entry("x"));
    (old.created_at, young.created_at) = (10, 20);
    old.spec.hint = Hint::parse("internal").unwrap();
    young.spec.hint = Hint::parse("internal").unwrap();
    let entries = vec![young, old, other];
    agent.apply(UpdateKind::Snapshot, entries, vec![agent.ca.bundle(1, &[])]);
    agent.sign_due();
    let mut client = client(&agent).await;
    let request = with_header(X509svidRequest {});
    let mut answers = client.fetch_x509svid(request).await.unwrap().into_inner();
    let answer = next(&mut answers).await.unwrap();
    let sent: Vec<_> = answer.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(sent, ["spiffe://example.org/x", "spiffe://example.org/old"]);
}

#[tokio::test]
async fn methods_that_are_not_built_answer_unimplemented() {
    let agent = ServedAgent::start_with_identity().await;
    let channel = channel::connect_uds(&agent.path).await.unwrap();
    for path in ["/SpiffeWorkloadAPI/FetchJWTSVID", "/some.Service/Method"] {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<X509svidRequest, X509svidRequest>::default();
        let request = with_header(X509svidRequest {});
        let status = grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}
