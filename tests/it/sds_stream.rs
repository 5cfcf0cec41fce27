//! What Envoy meets on the workload socket (istio-envoy.md §20 P1–P7, C4–C6; reliability B-SDS).

use finial::{
    agent::cache::UpdateKind,
    spiffe::{Bundle, SpiffeId, TrustDomain},
    testing::{
        ca::TestCa,
        grpc::CallError,
        node,
        sds::{Answer, SdsClient},
        secret::{Authorities, svid, verify_secret},
        serving::ServedAgent,
    },
};
use prost_types::value::Kind;
use std::{collections::HashMap, time::Duration};
use tonic::Code;

async fn connect(agent: &ServedAgent) -> SdsClient {
    SdsClient::connect(&agent.path).await.unwrap()
}

fn code(error: &CallError) -> Code {
    error.code().unwrap_or_else(|| panic!("no gRPC status: {error}"))
}

/// The ID and serial of the SVID that an answer carries.
fn identity(answer: &Answer) -> (SpiffeId, String) {
    let svid = svid(&answer.secrets[0]).unwrap();
    (svid.id().clone(), svid.chain()[0].serial().to_string())
}

fn trust_domains(answer: &Answer) -> Vec<String> {
    match Authorities::of(&answer.secrets[0]).unwrap() {
        Authorities::PerTrustDomain(bundles) => {
            bundles.iter().map(|bundle| bundle.trust_domain().to_string()).collect()
        }
        Authorities::Pooled(_) => vec!["(plain)".to_owned()],
    }
}

/// Completes when the agent has taken in everything that was sent on this stream before: the answer
/// to a name that nobody asked for yet can only come after the answers to what came first.
async fn rotate_and_see(
    agent: &ServedAgent,
    stream: &mut finial::testing::sds::SdsStream,
) -> Answer {
    agent.rotate(&agent.ca);
    stream.accept().await.unwrap()
}

#[tokio::test]
async fn a_waiting_stream_is_answered_when_its_entry_arrives() {
    let agent = ServedAgent::start().await;
    let client = connect(&agent).await;
    let mut identity_stream = client.stream(&["default"]).await.unwrap();
    let mut bundle_stream = client.stream(&["ROOTCA"]).await.unwrap();
    agent.apply(UpdateKind::Snapshot, vec![agent.entry("w")], vec![agent.ca.bundle(1, &[])]);
    let bundle = bundle_stream.accept().await.unwrap();
    agent.sign_due();
    let secret = identity_stream.accept().await.unwrap();
    let authorities = Authorities::of(bundle.secret("ROOTCA").unwrap()).unwrap();
    let verified =
        verify_secret(secret.secret("default").unwrap(), &authorities, agent.clock.now());
    assert_eq!(*verified.unwrap().id(), agent.id("w"));
}

#[tokio::test]
async fn each_stream_gets_exactly_the_names_it_asks_for() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    for names in [
        &["default"][..],
        &["ROOTCA"],
        &["spiffe://example.org"],
        &["spiffe://example.org/w", "default"],
        &["ROOTCA", "ALL", "spiffe://example.org"],
    ] {
        let answer = client.stream(names).await.unwrap().accept().await.unwrap();
        let (mut got, mut expected) = (answer.names(), names.to_vec());
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn an_ack_a_nack_and_an_unrelated_change_push_nothing() {
    let agent = ServedAgent::start_with_identity().await;
    let mut stream = connect(&agent).await.stream(&["default"]).await.unwrap();
    let first = stream.accept().await.unwrap();
    agent.apply(
        UpdateKind::Delta,
        vec![agent.entry_for("other", &["unix:uid:4242"])],
        vec![agent.ca.bundle(2, &[&TestCa::new("example.org", agent.clock.now())])],
    );
    let second = rotate_and_see(&agent, &mut stream).await;
    assert_eq!((first.version.as_str(), second.version.as_str()), ("1", "2"));
    agent.rotate(&agent.ca);
    let refused = stream.next().await.unwrap();
    stream.nack(&refused, "no").unwrap();
    let after = rotate_and_see(&agent, &mut stream).await;
    assert_eq!(after.version, "4", "nothing was sent between the refused secret and its successor");
    assert_ne!(identity(&after).1, identity(&refused).1);
}

#[tokio::test]
async fn after_a_nack_the_correction_comes_with_a_bundle_of_other_bytes() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    let mut bundle = client.stream(&["ROOTCA"]).await.unwrap();
    let before = bundle.accept().await.unwrap();
    let mut stream = client.stream(&["default"]).await.unwrap();
    let refused = stream.next().await.unwrap();
    stream.nack(&refused, "key does not match").unwrap();
    rotate_and_see(&agent, &mut stream).await;
    let nudged = bundle.accept().await.unwrap();
    assert_ne!(nudged.secrets, before.secrets, "the bytes differ");
    assert_eq!(trust_domains(&nudged), trust_domains(&before), "the meaning does not");
}

#[tokio::test]
async fn a_client_that_returns_with_an_old_version_is_answered() {
    let agent = ServedAgent::start_with_identity().await;
    let mut stream = connect(&agent).await.resume(&["default"], "1").await.unwrap();
    assert_eq!(stream.accept().await.unwrap().version, "1");
}

#[tokio::test]
async fn a_stale_nonce_is_ignored_but_its_names_count() {
    let agent = ServedAgent::start_with_identity().await;
    let mut stream = connect(&agent).await.stream(&["default"]).await.unwrap();
    stream.accept().await.unwrap();
    let mut request = stream.request();
    request.response_nonce = "deadbeef".to_owned();
    request.resource_names = vec!["default".to_owned(), "ROOTCA".to_owned()];
    stream.send(&request).unwrap();
    assert_eq!(stream.next().await.unwrap().names(), ["ROOTCA"], "only the added name is answered");
}

#[tokio::test]
async fn foreign_names_disturb_no_other_name_and_no_other_stream() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    let mut foreign = client.stream(&["file-root:system"]).await.unwrap();
    let names = ["default", "file-cert:/a~/b", "", "spiffe://other.org/x", "default"];
    let mut mixed = client.stream(&names).await.unwrap();
    assert_eq!(mixed.accept().await.unwrap().names(), ["default"]);
    let mut good = client.stream(&["ROOTCA"]).await.unwrap();
    good.accept().await.unwrap();
    assert_eq!(rotate_and_see(&agent, &mut mixed).await.names(), ["default"]);
    foreign.ask(&["ROOTCA"]).unwrap();
    assert_eq!(foreign.accept().await.unwrap().names(), ["ROOTCA"], "the stream is still open");
}

#[tokio::test]
async fn a_request_without_names_gets_everything_of_the_caller_by_id() {
    let agent = ServedAgent::start_with_identity().await;
    let answer = connect(&agent).await.stream(&[]).await.unwrap().accept().await.unwrap();
    assert_eq!(answer.names(), ["spiffe://example.org", "spiffe://example.org/w"]);
}

#[tokio::test]
async fn only_the_rotated_identity_and_only_the_changed_bundle_are_pushed() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    let mut identity_stream = client.stream(&["default"]).await.unwrap();
    let mut bundle_stream = client.stream(&["ROOTCA"]).await.unwrap();
    identity_stream.accept().await.unwrap();
    bundle_stream.accept().await.unwrap();
    for round in 0..3 {
        rotate_and_see(&agent, &mut identity_stream).await;
        let successor = TestCa::new("example.org", agent.clock.now());
        agent.apply(UpdateKind::Delta, Vec::new(), vec![agent.ca.bundle(2 + round, &[&successor])]);
        assert_eq!(bundle_stream.accept().await.unwrap().version, (2 + round).to_string());
    }
    assert_eq!(rotate_and_see(&agent, &mut identity_stream).await.version, "5");
    assert_eq!(agent.metrics.pushes(), 5 + 4);
}

#[tokio::test]
async fn federated_bundles_come_with_rootca_sorted_and_an_empty_one_is_left_out() {
    let agent = ServedAgent::start().await;
    let (alpha, empty) = (TestCa::new("alpha.org", agent.clock.now()), "empty.org");
    let mut entry = agent.entry("w");
    let name = |name: &str| TrustDomain::parse(name).unwrap();
    entry.spec.federates_with = vec![name("zeta.org"), name("alpha.org"), name(empty)];
    let zeta = TestCa::new("zeta.org", agent.clock.now());
    let nothing = Bundle::from_certificates(name(empty), Vec::new());
    let bundles = vec![agent.ca.bundle(1, &[]), alpha.bundle(1, &[]), zeta.bundle(1, &[]), nothing];
    agent.apply(UpdateKind::Snapshot, vec![entry], bundles);
    let client = connect(&agent).await;
    let all = client.stream(&["ROOTCA"]).await.unwrap().accept().await.unwrap();
    assert_eq!(trust_domains(&all), ["alpha.org", "example.org", "zeta.org"]);
    let one = client.stream(&["spiffe://zeta.org"]).await.unwrap().accept().await.unwrap();
    assert_eq!(trust_domains(&one), ["zeta.org"]);
}

#[tokio::test]
async fn an_envoy_that_wants_plain_validation_keeps_it_for_the_life_of_the_stream() {
    let agent = ServedAgent::start_with_identity().await;
    let node = node::with_metadata(
        node::istio_proxy("a"),
        "disable_spiffe_cert_validation",
        Kind::BoolValue(true),
    );
    let client = connect(&agent).await.with_node(node);
    let mut stream = client.stream(&["ROOTCA"]).await.unwrap();
    assert_eq!(trust_domains(&stream.accept().await.unwrap()), ["(plain)"]);
    let successor = TestCa::new("example.org", agent.clock.now());
    agent.apply(UpdateKind::Delta, Vec::new(), vec![agent.ca.bundle(2, &[&successor])]);
    assert_eq!(trust_domains(&stream.accept().await.unwrap()), ["(plain)"]);
    let error = client.stream(&["ALL"]).await.unwrap().next().await.unwrap_err();
    assert_eq!(code(&error), Code::FailedPrecondition);
    let words = r#"unable to use \"SPIFFE validator\" on Envoy below 1.17"#;
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn requests_beyond_the_limits_or_of_another_type_end_their_own_stream_only() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    let mut bystander = client.stream(&["default"]).await.unwrap();
    bystander.accept().await.unwrap();
    let refuse = async |change: &dyn Fn(
        &mut finial::wire::proto::envoy::service::discovery::v3::DiscoveryRequest,
    )| {
        let mut stream = client.stream(&["default"]).await.unwrap();
        stream.accept().await.unwrap();
        let mut request = stream.request();
        change(&mut request);
        stream.send(&request).unwrap();
        code(&stream.next().await.unwrap_err())
    };
    let names = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    assert_eq!(refuse(&|r| r.resource_names = names(1025)).await, Code::ResourceExhausted);
    assert_eq!(
        refuse(&|r| r.resource_names = vec!["x".repeat(2049)]).await,
        Code::ResourceExhausted
    );
    let v2 = "type.googleapis.com/envoy.api.v2.auth.Secret";
    assert_eq!(refuse(&|r| r.type_url = v2.to_owned()).await, Code::InvalidArgument);
    rotate_and_see(&agent, &mut bystander).await;
}

#[tokio::test]
async fn malformed_frames_end_their_own_stream_only() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    let mut bystander = client.stream(&["default"]).await.unwrap();
    bystander.accept().await.unwrap();
    let garbage = [0, 0, 0, 0, 3, 0xFF, 0xFF, 0xFF];
    for (bytes, expected) in [
        (&garbage[..], Code::Internal),
        (&[0, 0xFF, 0xFF, 0xFF, 0xFF], Code::ResourceExhausted),
        (&[1, 0, 0, 0, 1, 0], Code::Unimplemented),
    ] {
        let mut stream = client.silent_stream().await.unwrap();
        stream.call().send_raw(bytes.to_vec().into()).unwrap();
        assert_eq!(code(&stream.next().await.unwrap_err()), expected, "{bytes:?}");
    }
    let mut truncated = client.silent_stream().await.unwrap();
    truncated.call().send_raw(vec![0, 0, 0, 0, 9, 1].into()).unwrap();
    truncated.call().finish().unwrap();
    assert_eq!(code(&truncated.next().await.unwrap_err()), Code::Internal);
    rotate_and_see(&agent, &mut bystander).await;
}

#[tokio::test]
async fn deleting_an_entry_leaves_the_stream_open_and_a_new_one_is_served_on_it() {
    let agent = ServedAgent::start_with_identity().await;
    let mut stream = connect(&agent).await.stream(&["default"]).await.unwrap();
    assert_eq!(identity(&stream.accept().await.unwrap()).0, agent.id("w"));
    agent.remove("w");
    agent.apply(UpdateKind::Delta, vec![agent.entry("again")], Vec::new());
    agent.sign_due();
    assert_eq!(identity(&stream.accept().await.unwrap()).0, agent.id("again"));
}

#[tokio::test]
async fn delta_answers_what_is_subscribed_and_tells_what_is_gone() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    let mut stream = client.delta(&["default", "file-root:system"], HashMap::new()).await.unwrap();
    assert_eq!(stream.accept().await.unwrap().names(), ["default"]);
    stream.change(&["ROOTCA"], &[]).unwrap();
    assert_eq!(stream.accept().await.unwrap().names(), ["ROOTCA"]);
    agent.rotate(&agent.ca);
    assert_eq!(stream.accept().await.unwrap().names(), ["default"]);
    agent.remove("w");
    let gone = stream.accept().await.unwrap();
    assert_eq!((gone.secrets.len(), gone.removed), (0, vec!["default".to_owned()]));
}

#[tokio::test]
async fn a_delta_client_that_claims_to_hold_a_version_is_answered_all_the_same() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    let first = client.delta(&["default"], HashMap::new()).await.unwrap().accept().await.unwrap();
    let held = HashMap::from([("default".to_owned(), first.versions[0].clone())]);
    let again = client.delta(&["default"], held).await.unwrap().accept().await.unwrap();
    assert_eq!(again.versions, first.versions);
}

#[tokio::test]
async fn fetch_answers_at_once_with_what_there_is() {
    let agent = ServedAgent::start_with_identity().await;
    let client = connect(&agent).await;
    let answer = client.fetch(&["default", "nonsense", "ROOTCA"]).await.unwrap();
    assert_eq!(answer.names(), ["default", "ROOTCA"]);
    let error = client.fetch(&["b", "a"]).await.unwrap_err();
    assert_eq!(code(&error), Code::InvalidArgument);
    let text = r#"workload is not authorized for the requested identities [\"a\" \"b\"]"#;
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn the_served_bundle_sequence_follows_the_acknowledgements_of_bundle_streams() {
    let agent = ServedAgent::start_with_identity().await;
    let mut served = agent.cache.served_sequence().reader();
    let client = connect(&agent).await;
    let mut stream = client.stream(&["ROOTCA"]).await.unwrap();
    stream.accept().await.unwrap();
    let _identity = client.stream(&["default"]).await.unwrap().accept().await.unwrap();
    let successor = TestCa::new("example.org", agent.clock.now());
    agent.apply(UpdateKind::Delta, Vec::new(), vec![agent.ca.bundle(7, &[&successor])]);
    let pushed = stream.next().await.unwrap();
    assert_eq!(served.current(), 1, "sent is not yet acknowledged");
    stream.ack(&pushed).unwrap();
    assert_eq!(served.wait_for(|sequence| *sequence == 7).await, Ok(7));
    agent.apply(UpdateKind::Delta, Vec::new(), vec![agent.ca.bundle(8, &[&successor])]);
    assert_eq!(
        served.wait_for(|sequence| *sequence == 8).await,
        Ok(8),
        "a sequence that changes no byte needs no answer"
    );
}

#[tokio::test]
async fn shutdown_ends_streams_with_unavailable_and_leaves_the_socket_in_place() {
    let agent = ServedAgent::start_with_identity().await;
    let mut stream = connect(&agent).await.stream(&["default"]).await.unwrap();
    stream.accept().await.unwrap();
    agent.shutdown.request();
    assert_eq!(code(&stream.next().await.unwrap_err()), Code::Unavailable);
    assert_eq!(agent.tasks.finish(Duration::from_secs(10)).await, 0);
    assert!(agent.path.exists());
}
