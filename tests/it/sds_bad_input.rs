//! What no Envoy should send to the workload socket: answered as it deserves, others undisturbed
//! (reliability-security.md §4 B-SDS; the rows about names and streams are in `sds_stream`).

use super::events::Events;
use finial::{
    agent::cache::UpdateKind,
    runtime::TaskSet,
    testing::{
        grpc::{Call, CallError, Connection},
        sds::{SECRET_TYPE, SdsClient, SdsStream},
        serving::ServedAgent,
    },
    wire::proto::envoy::config::core::v3::{BuildVersion, Node, SemanticVersion},
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};
use prometheus_client::{encoding::text::encode, registry::Registry};
use std::{collections::BTreeSet, collections::HashMap, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};
use tonic::Code;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_request::MessageRequest::ListServices,
    server_reflection_response::MessageResponse::ListServicesResponse,
};

/// An agent with an identity for this process, and somebody who is served by it all the while.
struct Scene {
    agent: ServedAgent,
    bystander: SdsStream,
}

impl Scene {
    async fn new() -> Self {
        let agent = ServedAgent::start_with_identity().await;
        let client = SdsClient::connect(&agent.path).await.unwrap();
        let mut bystander = client.stream(&["default"]).await.unwrap();
        bystander.accept().await.unwrap();
        Self { agent, bystander }
    }

    async fn client(&self) -> SdsClient {
        SdsClient::connect(&self.agent.path).await.unwrap()
    }

    /// The bystander is still served.
    async fn is_undisturbed(&mut self) {
        self.agent.rotate(&self.agent.ca);
        self.bystander.accept().await.unwrap();
    }
}

/// The status that ended a call.
fn ended(error: &CallError) -> (Code, String) {
    match error {
        CallError::Ended(status) => (status.code(), status.message().to_owned()),
        other => panic!("no gRPC status: {other}"),
    }
}

#[tokio::test]
async fn another_type_is_refused_by_name_and_none_is_ours() {
    let mut scene = Scene::new().await;
    let client = scene.client().await;
    let answer_to = async |type_url: &str| {
        let mut stream = client.silent_stream().await.unwrap();
        let request = request_of(&stream, type_url);
        stream.send(&request).unwrap();
        ended(&stream.next().await.unwrap_err())
    };
    let (code, message) = answer_to(&"\u{e9}".repeat(100_000)).await;
    assert_eq!((code, message.len()), (Code::InvalidArgument, 2_048), "fits into headers");
    for other in ["type.googleapis.com/envoy.config.cluster.v3.Cluster", "\u{1b}[2J", "Secret"] {
        let (code, message) = answer_to(other).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains(SECRET_TYPE) && !message.contains('\u{1b}'), "{message}");
    }
    let mut stream = client.silent_stream().await.unwrap();
    let request = request_of(&stream, "");
    stream.send(&request).unwrap();
    let response = stream.call().next().await.unwrap();
    assert_eq!((response.type_url.as_str(), response.resources.len()), (SECRET_TYPE, 2));
    scene.is_undisturbed().await;
}

fn request_of(
    stream: &SdsStream,
    type_url: &str,
) -> finial::wire::proto::envoy::service::discovery::v3::DiscoveryRequest {
    let mut request = stream.request();
    type_url.clone_into(&mut request.type_url);
    request
}

#[tokio::test]
async fn an_envoy_that_says_nothing_or_nonsense_of_itself_is_served() {
    let scene = Scene::new().await;
    let absurd =
        SemanticVersion { major_number: u32::MAX, minor_number: u32::MAX, patch: u32::MAX };
    let nonsense = Node {
        id: "\u{0}\u{1b}".repeat(10_000),
        user_agent_build_version: Some(BuildVersion { version: Some(absurd) }),
        ..Node::default()
    };
    for node in [Node::default(), nonsense] {
        let client = scene.client().await.with_node(node);
        let answer = client.stream(&["default"]).await.unwrap().accept().await.unwrap();
        assert_eq!(answer.names(), ["default"]);
    }
}

#[tokio::test]
async fn a_refusal_in_a_loop_is_answered_with_nothing_and_told_once() {
    let mut scene = Scene::new().await;
    let events = Events::collect();
    let mut stream = scene.client().await.stream(&["default"]).await.unwrap();
    let refused = stream.next().await.unwrap();
    for version in ["1", "0", "17", "\u{1b}[2J"] {
        for _again in 0..250 {
            let mut nack = request_of(&stream, SECRET_TYPE);
            nack.version_info = version.to_owned();
            nack.response_nonce.clone_from(&refused.nonce);
            nack.error_detail = Some(finial::wire::proto::google::rpc::Status {
                code: 13,
                message: "no".to_owned(),
                ..Default::default()
            });
            stream.send(&nack).unwrap();
        }
    }
    stream.ask(&["default", "ROOTCA"]).unwrap();
    let next = stream.next().await.unwrap();
    assert_eq!((next.version.as_str(), next.names()), ("2", vec!["ROOTCA"]), "nothing before it");
    scene.is_undisturbed().await;
    assert_eq!(events.count("envoy refused a secret"), 1);
}

#[tokio::test]
async fn what_is_refused_is_counted_and_told_once_with_its_caller() {
    let scene = Scene::new().await;
    let mut registry = Registry::default();
    scene.agent.metrics.register(&mut registry);
    let events = Events::collect();
    let client = scene.client().await;
    for _again in 0..100 {
        let mut stream = client.silent_stream().await.unwrap();
        let request = request_of(&stream, "another");
        stream.send(&request).unwrap();
        stream.next().await.unwrap_err();
        client.fetch(&["not-mine"]).await.unwrap_err();
    }
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(text.contains("\nrequests_refused_total 200\n"), "{text}");
    assert_eq!(events.count("SDS request refused"), 2);
    assert_eq!(events.count(&format!("SDS request refused pid={} ", std::process::id())), 2);
}

#[tokio::test]
async fn names_beyond_all_measure_end_their_own_stream_only() {
    let mut scene = Scene::new().await;
    let client = scene.client().await;
    let crowd = |count: usize, length: usize| vec!["n".repeat(length); count];
    for names in [crowd(100_000, 1), crowd(100_000, 20), crowd(1, 1 << 20), crowd(1, 3_000)] {
        let mut stream = client.silent_stream().await.unwrap();
        let mut request = request_of(&stream, SECRET_TYPE);
        request.resource_names = names;
        stream.send(&request).unwrap();
        assert_eq!(ended(&stream.next().await.unwrap_err()).0, Code::ResourceExhausted);
    }
    let mut delta = client.delta(&["default"], HashMap::new()).await.unwrap();
    delta.accept().await.unwrap();
    let many: Vec<String> = (0..1_024).map(|number| format!("n{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    delta.change(&many, &[]).unwrap();
    assert_eq!(ended(&delta.next().await.unwrap_err()).0, Code::ResourceExhausted);
    scene.is_undisturbed().await;
}

#[tokio::test]
async fn names_that_change_without_end_are_answered_at_the_last() {
    let mut scene = Scene::new().await;
    let mut stream = scene.client().await.stream(&["default"]).await.unwrap();
    for _round in 0..100 {
        // New subscriptions, faster than they are read.
        for name in ["default", "ROOTCA", "default", "spiffe://example.org"] {
            let mut request = request_of(&stream, SECRET_TYPE);
            request.resource_names = vec![name.to_owned()];
            stream.send(&request).unwrap();
        }
        while stream.next().await.unwrap().names() != ["spiffe://example.org"] {}
    }
    scene.is_undisturbed().await;
}

#[tokio::test]
async fn a_flood_of_requests_ends_the_connection_that_it_comes_on_and_no_other() {
    let mut scene = Scene::new().await;
    let mut stream = scene.client().await.stream(&["default"]).await.unwrap();
    for names in [["default"], ["ROOTCA"]].iter().cycle().take(5_000) {
        let mut request = request_of(&stream, SECRET_TYPE);
        request.resource_names = names.map(str::to_owned).to_vec();
        stream.send(&request).unwrap();
    }
    let end = loop {
        if let Err(end) = stream.next().await {
            break end;
        }
    };
    assert!(matches!(end, CallError::Http2(_)), "{end}");
    scene.is_undisturbed().await;
}

#[tokio::test]
async fn a_client_that_has_said_all_gets_what_it_waits_for_and_then_the_end() {
    let agent = ServedAgent::start().await;
    let client = SdsClient::connect(&agent.path).await.unwrap();
    let mut streams = [
        client.stream(&["default"]).await.unwrap(),
        client.stream(&["file-root:x"]).await.unwrap(),
    ];
    for stream in &mut streams {
        stream.call().finish().unwrap();
    }
    let [waiting, foreign] = &mut streams;
    let nothing = (Code::Ok, String::new());
    assert_eq!(ended(&foreign.next().await.unwrap_err()), nothing, "there is nothing to say");
    agent.apply(UpdateKind::Snapshot, vec![agent.entry("w")], vec![agent.ca.bundle(1, &[])]);
    agent.sign_due();
    assert_eq!(waiting.next().await.unwrap().names(), ["default"]);
    assert_eq!(ended(&waiting.next().await.unwrap_err()), nothing);
}

#[tokio::test]
async fn streams_that_wait_are_counted() {
    let agent = ServedAgent::start().await;
    let mut registry = Registry::default();
    agent.metrics.register(&mut registry);
    let held = || {
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("streams_held "));
        line.unwrap().to_owned()
    };
    agent.apply(UpdateKind::Snapshot, Vec::new(), vec![agent.ca.bundle(1, &[])]);
    let client = SdsClient::connect(&agent.path).await.unwrap();
    let mut waiting = client.stream(&["default"]).await.unwrap();
    let mut answered = client.stream(&["ROOTCA"]).await.unwrap();
    answered.accept().await.unwrap();
    assert_eq!(held(), "1");
    agent.apply(UpdateKind::Delta, vec![agent.entry("w")], Vec::new());
    agent.sign_due();
    waiting.accept().await.unwrap();
    assert_eq!(held(), "0");
}

/// What an h2 client is answered when it sends a request as it is, without a body.
async fn answer_to(path: &std::path::Path, request: Request<()>) -> (StatusCode, HeaderMap) {
    let socket = UnixStream::connect(path).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    TaskSet::new().spawn("client", async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    let response = client.send_request(request, true).unwrap().0.await.unwrap();
    let (parts, mut body) = response.into_parts();
    while let Some(data) = body.data().await {
        data.unwrap();
    }
    let mut headers = parts.headers;
    headers.extend(body.trailers().await.unwrap().unwrap_or_default());
    (parts.status, headers)
}

#[tokio::test]
async fn requests_that_are_no_grpc_get_an_answer_in_http() {
    let mut scene = Scene::new().await;
    let uri = "http://sds/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";
    let request = |method: Method, kind: &[&'static str]| {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        for kind in kind {
            request.headers_mut().append(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        request
    };
    for request in [
        request(Method::GET, &["application/grpc"]),
        request(Method::PUT, &["application/grpc"]),
        request(Method::POST, &[]),
        request(Method::POST, &["text/plain"]),
        request(Method::POST, &["text/plain", "application/grpc"]),
    ] {
        let what = format!("{request:?}");
        let (status, _) = answer_to(&scene.agent.path, request).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{what}");
    }
    scene.is_undisturbed().await;
}

#[tokio::test]
async fn headers_that_make_no_sense_do_not_keep_a_request_from_its_answer() {
    let mut scene = Scene::new().await;
    let uri = "http://sds/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";
    for (name, values) in [
        ("grpc-timeout", &["-1S"][..]),
        ("grpc-timeout", &["99999999999999999999H"]),
        ("grpc-timeout", &["soon"]),
        ("grpc-timeout", &["1S", "2S"]),
        ("content-type", &["application/grpc", "application/grpc"]),
        ("te", &[]),
        ("grpc-encoding", &["no-such-codec"]),
    ] {
        let mut request = Request::post(uri).body(()).unwrap();
        if name != "content-type" {
            let grpc = HeaderValue::from_static("application/grpc");
            request.headers_mut().insert(CONTENT_TYPE, grpc);
        }
        for value in values {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let (status, headers) = answer_to(&scene.agent.path, request).await;
        assert_eq!(status, StatusCode::OK, "{name} {values:?}");
        // The method takes one request and was sent none.
        assert_eq!(headers["grpc-status"], "13", "{name} {values:?}");
    }
    scene.is_undisturbed().await;
}

#[tokio::test]
async fn what_does_not_open_http2_is_hung_up_on() {
    let mut scene = Scene::new().await;
    let garbage = [0xA5; 4_096];
    for opening in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &garbage, b"\x16\x03\x01"] {
        let mut socket = UnixStream::connect(&scene.agent.path).await.unwrap();
        socket.write_all(opening).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut said = Vec::new();
        let end = timeout(Duration::from_secs(60), socket.read_to_end(&mut said)).await;
        // A reset counts as an end.
        drop(end.expect("the connection ends"));
        assert!(!String::from_utf8_lossy(&said).contains("HTTP/1"), "{said:?}");
    }
    scene.is_undisturbed().await;
}

#[tokio::test]
async fn reflection_lists_what_there_is_and_nothing_else() {
    let agent = ServedAgent::start_with_identity().await;
    let connection = Connection::open(&agent.path).await.unwrap();
    let method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let mut call: Call<ServerReflectionResponse> = connection.call(method).await.unwrap();
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(ListServices(String::new())),
    };
    call.send(&list).unwrap();
    let Some(ListServicesResponse(services)) = call.next().await.unwrap().message_response else {
        panic!("no list")
    };
    let names: BTreeSet<_> = services.service.into_iter().map(|service| service.name).collect();
    let expected = [
        "SpiffeWorkloadAPI",
        "envoy.service.secret.v3.SecretDiscoveryService",
        "grpc.health.v1.Health",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
}
