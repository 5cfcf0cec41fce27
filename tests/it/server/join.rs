//! Attestation and renewal: what an agent must send, what it gets, and what it can lose.

use super::fixture::{
    Agent, Fixture, attest, attest_with, csr, fetch_bundle, id, key, send_attestation, spec,
};
use finial::{
    spiffe::X509Svid,
    transport::status::Reason,
    wire::{
        self,
        proto::spire::api::{
            server::{
                agent::v1::{
                    AgentX509svidParams, BanAgentRequest, CreateJoinTokenRequest,
                    DeleteAgentRequest, GetAgentRequest, PostStatusRequest, RenewAgentRequest,
                    agent_client::AgentClient,
                },
                svid::v1::{BatchNewX509svidRequest, NewX509svidParams, svid_client::SvidClient},
            },
            types::Spiffeid,
        },
    },
};
use futures_util::future::join_all;
use std::sync::Arc;
use tonic::{Code, Status, transport::Channel};

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

async fn create_token(local: &Channel, request: CreateJoinTokenRequest) -> Result<String, Status> {
    let answer = AgentClient::new(local.clone()).create_join_token(request).await?;
    Ok(answer.into_inner().value)
}

async fn renew(fixture: &Fixture, channel: Channel, agent: &Agent) -> Agent {
    let key = key();
    let params = Some(AgentX509svidParams { csr: csr(&key).into() });
    let answer = AgentClient::new(channel).renew_agent(RenewAgentRequest { params }).await;
    let chain = wire::svid::chain(&answer.unwrap().into_inner().svid.unwrap()).unwrap();
    let svid = X509Svid::from_key_pair(agent.svid.id(), chain, &key).unwrap();
    svid.verify(&fixture.bundle(), fixture.clock.now()).unwrap();
    Agent { svid: Arc::new(svid) }
}

async fn post_status(channel: &Channel) -> Result<(), Status> {
    let request = PostStatusRequest { agent_version: "1.2.3".to_owned(), ..Default::default() };
    AgentClient::new(channel.clone()).post_status(request).await.map(drop)
}

#[tokio::test]
async fn an_agent_joins_and_gets_svids_that_the_bundle_verifies() {
    let fixture = Fixture::start().await;
    let agent = fixture.agent().await;
    assert!(agent.svid.id().path().starts_with("/spire/agent/join_token/"));
    let bundle = fetch_bundle(fixture.anonymous().await).await;
    agent.svid.verify(&bundle, fixture.clock.now()).unwrap();

    let entry = fixture.create_entry(spec(agent.svid.id(), "/w")).await;
    let channel = fixture.connect_as(&agent.svid).await;
    let workload = key();
    let params = vec![
        NewX509svidParams { entry_id: entry.id.to_string(), csr: csr(&workload).into() },
        NewX509svidParams { entry_id: "foreign".to_owned(), csr: csr(&workload).into() },
    ];
    let request = BatchNewX509svidRequest { params };
    let results = SvidClient::new(channel.clone()).batch_new_x509svid(request).await.unwrap();
    let [ours, foreign] = results.into_inner().results.try_into().unwrap();
    let chain = wire::svid::chain(&ours.svid.unwrap()).unwrap();
    let svid = X509Svid::from_key_pair(&id("/w"), chain, &workload).unwrap();
    svid.verify(&bundle, fixture.clock.now()).unwrap();
    let status = foreign.status.unwrap();
    assert_eq!((status.code, foreign.svid), (Code::NotFound as i32, None));

    post_status(&channel).await.unwrap();
    let mut local = AgentClient::new(fixture.local().await);
    let request = GetAgentRequest { id: Some(agent.svid.id().into()), output_mask: None };
    let shown = local.get_agent(request).await.unwrap().into_inner();
    assert_eq!((shown.agent_version.as_str(), shown.can_reattest), ("1.2.3", false));
    assert_eq!(shown.x509svid_serial_number, agent.svid.chain()[0].serial().to_string());
    fixture.server.shutdown().await;
}

#[tokio::test]
async fn of_64_racing_users_of_one_token_one_wins() {
    let fixture = Fixture::start().await;
    let token = fixture.token().await;
    let racers = (0..64).map(|_| async { attest(fixture.anonymous().await, &token).await });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(racers).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 63));
    for answer in lost {
        let (code, text) = refused(answer.map(drop));
        let expected = "failed to attest: join token does not exist or has already been used";
        assert_eq!((code, text.as_str()), (Code::InvalidArgument, expected));
    }
    assert_eq!(fixture.server.store().nodes().len(), 1);
}

#[tokio::test]
async fn an_agent_that_lost_the_answer_gets_it_again_and_nobody_else_does() {
    let fixture = Fixture::start().await;
    let (token, lost_key) = (fixture.token().await, Arc::new(key()));
    let again = async |key| attest_with(fixture.anonymous().await, &token, key).await;
    let first = again(Arc::clone(&lost_key)).await.unwrap();
    let second = again(Arc::clone(&lost_key)).await.unwrap();
    assert_eq!(first.svid.chain(), second.svid.chain());
    assert!(again(Arc::new(key())).await.is_err(), "another key is another agent");
    fixture.server.store().delete_node(first.svid.id()).await.unwrap();
    assert!(again(lost_key).await.is_err(), "an evicted agent does not come back by it");
}

#[tokio::test]
async fn malformed_attestations_are_refused_in_spires_words_and_cost_no_token() {
    let fixture = Fixture::start().await;
    let token = fixture.token().await;
    let send = async |kind: &str, payload: &str, csr: Vec<u8>| {
        refused(send_attestation(fixture.anonymous().await, kind, payload, csr).await)
    };
    let good = csr(&key());
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let cases = [
        (("", token.as_str(), good.clone()), "malformed param: missing attestation data type"),
        (("join_token", "", good.clone()), "malformed param: missing attestation data payload"),
        (("join_token", &token, Vec::new()), "malformed param: missing CSR"),
        (("join_token", &token, b"junk".to_vec()), "failed to parse CSR: malformed CSR"),
        (("join_token", &token, forged), "failed to parse CSR: failed to verify CSR signature"),
        (
            ("join_token", "no/such/../token", good.clone()),
            "failed to attest: join token does not exist or has already been used",
        ),
    ];
    for ((kind, payload, csr), text) in cases {
        let (code, found) = send(kind, payload, csr).await;
        assert_eq!(code, Code::InvalidArgument, "{found}");
        assert!(found.starts_with(text), "{found:?} for {text:?}");
    }
    let (code, text) = send("k8s_sat", "x", good).await;
    assert_eq!(code, Code::FailedPrecondition);
    let expected = "error getting node attestor: could not find node attestor type \"k8s_sat\"";
    assert_eq!(text, expected);
    attest(fixture.anonymous().await, &token).await.unwrap();
}

#[tokio::test]
async fn tokens_are_created_as_asked_or_refused_with_the_reason() {
    let fixture = Fixture::start().await;
    let local = fixture.local().await;
    let request =
        |ttl, token: &str| CreateJoinTokenRequest { ttl, token: token.to_owned(), agent_id: None };
    assert_eq!(create_token(&local, request(60, "own-token_1")).await.unwrap(), "own-token_1");
    for (ttl, token, code, text) in [
        (0, "", Code::InvalidArgument, "ttl is required, you must provide one"),
        (-1, "", Code::InvalidArgument, "ttl is required, you must provide one"),
        (60, "own-token_1", Code::AlreadyExists, "failed to create token: "),
        (60, "a/../b", Code::InvalidArgument, "token is not valid: "),
        (60, " padded ", Code::InvalidArgument, "token is not valid: "),
    ] {
        let (found, message) = refused(create_token(&local, request(ttl, token)).await);
        assert_eq!(found, code, "{message}");
        assert!(message.starts_with(text), "{message}");
    }
    let reserved = CreateJoinTokenRequest {
        agent_id: Some(Spiffeid {
            trust_domain: "example.org".to_owned(),
            path: "/spire/agent/x".to_owned(),
        }),
        ..request(60, "")
    };
    let (code, _) = refused(create_token(&local, reserved).await);
    assert_eq!(code, Code::InvalidArgument);
}

#[tokio::test]
async fn a_token_with_an_alias_lets_its_agent_use_the_alias_entries_until_it_is_evicted() {
    let fixture = Fixture::start().await;
    let local = fixture.local().await;
    let request = CreateJoinTokenRequest {
        ttl: 60,
        token: "t1".to_owned(),
        agent_id: Some((&id("/node")).into()),
    };
    create_token(&local, request).await.unwrap();
    let entry = fixture.create_entry(spec(&id("/node"), "/w")).await;
    let agent = attest(fixture.anonymous().await, "t1").await.unwrap();
    let params =
        vec![NewX509svidParams { entry_id: entry.id.to_string(), csr: csr(&key()).into() }];
    let channel = fixture.connect_as(&agent.svid).await;
    let request = BatchNewX509svidRequest { params };
    let answer = SvidClient::new(channel).batch_new_x509svid(request).await.unwrap();
    assert_eq!(answer.into_inner().results[0].status.as_ref().unwrap().code, 0);

    assert_eq!(fixture.server.store().entry_count(), 2);
    let request = DeleteAgentRequest { id: Some(agent.svid.id().into()) };
    AgentClient::new(local).delete_agent(request).await.unwrap();
    assert_eq!(fixture.server.store().entry_count(), 1, "the alias went with the agent");
}

#[tokio::test]
async fn a_renewed_svid_replaces_the_old_one_at_its_first_use_and_calls_under_way_go_on() {
    let fixture = Fixture::start().await;
    let agent = fixture.agent().await;
    let old = fixture.connect_as(&agent.svid).await;
    let renewed = renew(&fixture, old.clone(), &agent).await;
    let node = || fixture.server.store().node(agent.svid.id()).unwrap();
    assert_eq!(node().serial, agent.svid.chain()[0].serial().to_string());
    post_status(&old).await.unwrap();

    let new = fixture.connect_as(&renewed.svid).await;
    post_status(&new).await.unwrap();
    assert_eq!(node().serial, renewed.svid.chain()[0].serial().to_string());
    assert_eq!(node().new_serial, "");
    post_status(&old).await.unwrap();

    let again = renew(&fixture, new, &renewed).await;
    post_status(&fixture.connect_as(&again.svid).await).await.unwrap();
    let status = post_status(&old).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::AgentNotActive), "two renewals ago");
}

#[tokio::test]
async fn evicted_and_banned_agents_learn_the_reason_with_their_next_call() {
    let fixture = Fixture::start().await;
    let (evicted, banned) = (fixture.agent().await, fixture.agent().await);
    let mut local = AgentClient::new(fixture.local().await);
    let channels =
        [fixture.connect_as(&evicted.svid).await, fixture.connect_as(&banned.svid).await];
    for channel in &channels {
        post_status(channel).await.unwrap();
    }
    local.delete_agent(DeleteAgentRequest { id: Some(evicted.svid.id().into()) }).await.unwrap();
    local.ban_agent(BanAgentRequest { id: Some(banned.svid.id().into()) }).await.unwrap();
    for (channel, reason) in channels.iter().zip([Reason::AgentNotAttested, Reason::AgentBanned]) {
        let status = post_status(channel).await.unwrap_err();
        assert_eq!(Reason::of(&status), Some(reason));
        let text = "authorization denied for method /spire.api.server.agent.v1.Agent/PostStatus";
        assert_eq!(status.message(), text);
    }
    let again = local.delete_agent(DeleteAgentRequest { id: Some(evicted.svid.id().into()) }).await;
    assert_eq!(refused(again), (Code::NotFound, "agent not found".to_owned()));
}
