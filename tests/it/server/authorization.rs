//! Who may call what: every method of the table, called by every kind of caller over a real
//! connection (reliability-security.md §2.6).

use super::fixture::{Fixture, id, spec};
use finial::{
    server::authorize::{Allowed, METHODS},
    spiffe::{SpiffeId, X509Svid},
    transport::status::Reason,
    wire::{
        self,
        proto::{
            DESCRIPTORS,
            spire::api::server::svid::v1::{
                BatchNewX509svidRequest, NewX509svidParams, svid_client::SvidClient,
            },
        },
    },
};
use prost::Message as _;
use std::{sync::Arc, time::Duration};
use tonic::{Code, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

/// Sends one empty message to `method` and reads one answer.
async fn call(channel: &Channel, method: &'static str) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static(method);
    let codec = ProstCodec::<(), Anything>::default();
    let request = tonic::Request::new(tokio_stream::once(()));
    let calling = async {
        let answer = client.streaming(request, path, codec).await?;
        answer.into_inner().message().await
    };
    match tokio::time::timeout(Duration::from_secs(10), calling).await {
        Ok(answer) => answer.map(drop),
        Err(_) => panic!("{method} does not answer"),
    }
}

/// Decodes any message and keeps nothing of it.
#[derive(Clone, PartialEq, prost::Message)]
struct Anything {}

/// A caller and what it may call.
struct Kind {
    name: &'static str,
    channel: Channel,
    may: fn(Allowed) -> bool,
    /// The reason that it is given where agents may call.
    reason: Option<Reason>,
}

async fn workload(fixture: &Fixture, channel: Channel, path: &str, entry: &str) -> Arc<X509Svid> {
    let key = super::fixture::key();
    let params =
        NewX509svidParams { entry_id: entry.to_owned(), csr: super::fixture::csr(&key).into() };
    let request = BatchNewX509svidRequest { params: vec![params] };
    let answer = SvidClient::new(channel).batch_new_x509svid(request).await.unwrap().into_inner();
    let result = answer.results.into_iter().next().unwrap();
    let chain = wire::svid::chain(&result.svid.unwrap()).unwrap();
    let svid = X509Svid::from_key_pair(&id(path), chain, &key).unwrap();
    svid.verify(&fixture.bundle(), fixture.clock.now()).unwrap();
    Arc::new(svid)
}

async fn kinds(fixture: &Fixture) -> Vec<Kind> {
    let (agent, evicted, banned) =
        (fixture.agent().await, fixture.agent().await, fixture.agent().await);
    let agent_channel = fixture.connect_as(&agent.svid).await;
    let node: &SpiffeId = agent.svid.id();
    let plain = fixture.create_entry(spec(node, "/w")).await;
    let admin = fixture.create_entry(finial::spiffe::EntrySpec { admin: true, ..spec(node, "/a") });
    let admin = admin.await;
    let signed =
        async |path, entry: &str| workload(fixture, agent_channel.clone(), path, entry).await;
    let workload = signed("/w", plain.id.as_str()).await;
    let admin = signed("/a", admin.id.as_str()).await;
    fixture.server.store().delete_node(evicted.svid.id()).await.unwrap();
    fixture.server.store().ban_node(banned.svid.id()).await.unwrap();
    let kind = |name, channel, may, reason| Kind { name, channel, may, reason };
    vec![
        kind("local", fixture.local().await, |rule| rule != Allowed::Agents, None),
        kind("anonymous", fixture.anonymous().await, |rule| rule == Allowed::Anyone, None),
        kind(
            "agent",
            agent_channel,
            |rule| matches!(rule, Allowed::Anyone | Allowed::Agents | Allowed::AgentsAndAdmins),
            None,
        ),
        kind(
            "workload",
            fixture.connect_as(&workload).await,
            |rule| rule == Allowed::Anyone,
            Some(Reason::AgentNotAttested),
        ),
        kind(
            "administrator",
            fixture.connect_as(&admin).await,
            |rule| matches!(rule, Allowed::Anyone | Allowed::Admins | Allowed::AgentsAndAdmins),
            Some(Reason::AgentNotAttested),
        ),
        kind(
            "evicted agent",
            fixture.connect_as(&evicted.svid).await,
            |rule| rule == Allowed::Anyone,
            Some(Reason::AgentNotAttested),
        ),
        kind(
            "banned agent",
            fixture.connect_as(&banned.svid).await,
            |rule| rule == Allowed::Anyone,
            Some(Reason::AgentBanned),
        ),
    ]
}

#[tokio::test]
async fn every_method_answers_exactly_those_whom_the_table_allows() {
    let fixture = Fixture::start().await;
    for Kind { name, channel, may, reason } in kinds(&fixture).await {
        for (method, rule) in METHODS {
            let answer = call(&channel, method).await;
            let denied = format!("authorization denied for method {method}");
            let was_denied = answer.as_ref().is_err_and(|status| status.message() == denied);
            assert_eq!(was_denied, !may(*rule), "{name} calls {method}: {answer:?}");
            if !was_denied {
                continue;
            }
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied);
            let is_for_agents = matches!(rule, Allowed::Agents | Allowed::AgentsAndAdmins);
            let expected = reason.filter(|_| is_for_agents);
            assert_eq!(Reason::of(&status), expected, "{name} calls {method}");
        }
    }
}

#[tokio::test]
async fn a_method_that_is_not_in_the_table_is_unknown_to_everybody() {
    let fixture = Fixture::start().await;
    for channel in [fixture.local().await, fixture.anonymous().await] {
        for (method, message) in [
            ("/no.such.Service/Method", "unknown method Method for service no.such.Service"),
            (
                "/spire.api.server.svid.v1.SVID/MintX509SVID",
                "unknown method MintX509SVID for service spire.api.server.svid.v1.SVID",
            ),
        ] {
            let status = call(&channel, method).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unimplemented, message));
        }
    }
}

#[tokio::test]
async fn a_certificate_that_ended_on_an_open_connection_is_worth_nothing() {
    let mut fixture = Fixture::start().await;
    let mut config = super::fixture::config(fixture.dir.path());
    config.agent_ttl = Duration::from_secs(2);
    fixture = fixture.restart_with(config).await;
    let agent = fixture.agent().await;
    let channel = fixture.connect_as(&agent.svid).await;
    let renew = "/spire.api.server.agent.v1.Agent/RenewAgent";
    assert_eq!(call(&channel, renew).await.unwrap_err().code(), Code::InvalidArgument);
    let end = fixture.clock.instant_of(agent.svid.not_after() + Duration::from_millis(1));
    tokio::time::sleep_until(end).await;
    let status = call(&channel, renew).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::AgentExpired));
}

/// The table is sorted, as it is searched, and names every method that exists.
#[test]
fn the_table_is_sorted_and_names_every_method_of_every_server_service() {
    assert!(METHODS.is_sorted_by_key(|(method, _)| *method));
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let mut methods: Vec<String> = Vec::new();
    for file in &files {
        let package = file.package();
        if !package.starts_with("spire.api.server") && package != "finial.agent.v1" {
            continue;
        }
        for service in &file.service {
            let names = service.method.iter().map(prost_types::MethodDescriptorProto::name);
            methods.extend(names.map(|name| format!("/{package}.{}/{name}", service.name())));
        }
    }
    assert!(methods.len() > 20);
    for method in methods {
        assert!(METHODS.iter().any(|(known, _)| *known == method), "{method} has no rule");
    }
}
