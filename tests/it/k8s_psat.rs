//! Nodes that attest by the service account token of their agent's pod: agents and servers as they are,
//! and an API server whose answers the tests decide.

use crate::{
    cli::programs::Programs,
    server::fixture::{
        Fixture, attest, config as server_config, csr, id, key, send_attestation, spec,
        trust_domain,
    },
};
use finial::{
    agent::{
        config::{
            AgentConfig, Bootstrap, Executable, KeyManager, NodeAttestor, Sds, ServerAddress,
            WorkloadAttestor,
        },
        identity::Standing,
        start::{Agent, RunningAgent},
        storage::Handover,
        upstream::Upstream,
    },
    config::log::Log,
    runtime::{Clock, Shutdown},
    server::{
        config::{AgentIdFrom, NodeAttestor as ServerAttestor, PsatCluster, ServerConfig},
        start::Server,
        store::Node,
    },
    spiffe::{Selector, SpiffeId, X509Svid},
    testing::{
        apiserver::{ApiServer, Mood, path_of_node, path_of_pod, uid_of_node, uid_of_pod},
        sds::SdsClient,
        secret,
    },
    transport::{Limits, Takeover},
    wire,
    wire::proto::spire::api::server::agent::v1::{PostStatusRequest, agent_client::AgentClient},
};
use serde_json::json;
use std::{fs, sync::Arc, time::Duration};
use tokio::time::timeout;
use tonic::{Code, Status};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const NODE: &str = "node-1";

/// A cluster with an agent's pod on one node, and a server that knows it as `demo`.
struct Cluster {
    api: ApiServer,
    fixture: Fixture,
    token: String,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut ServerConfig, &mut PsatCluster)) -> Self {
        let api = ApiServer::start().await;
        let token = api.add_agent(NODE, "spire-server");
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = PsatCluster {
            service_account_allow_list: vec!["spire:spire-agent".to_owned()],
            audience: vec!["spire-server".to_owned()],
            kube_config_file: Some(api.kubeconfig(dir.path())),
            allowed_node_label_keys: vec!["zone".to_owned()],
            allowed_pod_label_keys: vec!["app".to_owned()],
            agent_id_from: AgentIdFrom::NodeUid,
        };
        let mut config = server_config(dir.path());
        change(&mut config, &mut cluster);
        let clusters = [("demo".to_owned(), cluster)].into();
        config.node_attestors.push(ServerAttestor::K8sPsat { clusters });
        let clock = Clock::system();
        let server = Server::start(config, clock.clone()).await.unwrap();
        Self { api, fixture: Fixture { dir, server, clock }, token }
    }

    fn agent_id(&self) -> SpiffeId {
        id(&format!("/spire/agent/k8s_psat/demo/{}", uid_of_node(NODE)))
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.fixture.server.store().node(&self.agent_id())
    }

    /// The only node's agent, with keys in memory as the charts have it.
    async fn agent(&self) -> RunningAgent {
        let dir = self.fixture.dir.path();
        let token_path = dir.join("spire-agent");
        fs::write(&token_path, &self.token).unwrap();
        let address = self.fixture.address();
        let config = AgentConfig {
            trust_domain: trust_domain(),
            data_dir: dir.join("agent"),
            log: Log::default(),
            server: ServerAddress { host: address.host, port: address.port },
            bootstrap: Bootstrap::Insecure,
            socket_path: dir.join("agent.sock"),
            admin_socket_path: None,
            node_attestor: NodeAttestor::K8sPsat { cluster: "demo".to_owned(), token_path },
            key_manager: KeyManager::Memory,
            workload_attestors: vec![WorkloadAttestor::Unix { executable: Executable::Ignored }],
            x509_svid_cache_max_size: 100,
            sds: Sds::default(),
            sync_interval: Duration::from_secs(5),
            limits: Limits::default(),
            alternate_names: Vec::new(),
            takeover: Takeover::Refuse,
            health_checks: None,
            prometheus: None,
            renew_every: None,
        };
        let clock = self.fixture.clock.clone();
        let upstream = Upstream::server(&config.server, clock.clone());
        let handover = Handover::new(dir.join("svids"), "this boot".to_owned());
        let agent = Agent::start_with(config, upstream, Some(handover), clock, Shutdown::new());
        agent.await.unwrap()
    }

    async fn register(&self, path: &str) {
        let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
        let mut mine = spec(&self.agent_id(), path);
        mine.selectors = [Selector::parse(&uid).unwrap()].into_iter().collect();
        self.fixture.create_entry(mine).await;
    }

    fn payload(&self) -> String {
        json!({"cluster": "demo", "token": self.token}).to_string()
    }

    /// Attests with a new key, without an agent.
    async fn attest(&self) -> Result<Arc<X509Svid>, Status> {
        let (channel, key) = (self.fixture.anonymous().await, key());
        let result = send_attestation(channel, "k8s_psat", &self.payload(), csr(&key)).await?;
        assert!(result.reattestable);
        let svid = result.svid.unwrap();
        let id = wire::id::spiffe_id(svid.id.as_ref().unwrap()).unwrap();
        let chain = wire::svid::chain(&svid).unwrap();
        Ok(Arc::new(X509Svid::from_key_pair(&id, chain, &key).unwrap()))
    }

    async fn refused(&self) -> (Code, String) {
        let status = self.attest().await.unwrap_err();
        (status.code(), status.message().to_owned())
    }

    async fn post_status(&self, svid: &Arc<X509Svid>) -> Result<(), Status> {
        let channel = self.fixture.connect_as(svid).await;
        let request = PostStatusRequest { agent_version: "1".to_owned(), ..Default::default() };
        AgentClient::new(channel).post_status(request).await.map(drop)
    }
}

async fn attested(agent: &RunningAgent) -> Arc<X509Svid> {
    let mut standing = agent.observer().standing();
    let is_attested = |standing: &Standing| standing.svid().is_some();
    let standing = timeout(PATIENCE, standing.wait_for(is_attested)).await.unwrap().unwrap();
    Arc::clone(standing.svid().unwrap())
}

async fn first_svid(agent: &RunningAgent) -> X509Svid {
    let sidecar = SdsClient::connect(&agent.socket_path).await.unwrap();
    let mut stream = sidecar.stream(&["default"]).await.unwrap();
    let answer = timeout(PATIENCE, stream.accept()).await.unwrap().unwrap();
    secret::svid(answer.secret("default").unwrap()).unwrap()
}

fn serial(svid: &X509Svid) -> String {
    svid.chain()[0].serial().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_attests_by_its_pods_token_and_its_workload_is_served() {
    let cluster = Cluster::start().await;
    let agent = cluster.agent().await;
    assert_eq!(*attested(&agent).await.id(), cluster.agent_id());
    cluster.register("/w").await;
    let svid = first_svid(&agent).await;
    svid.verify(&cluster.fixture.bundle(), cluster.fixture.clock.now()).unwrap();
    assert_eq!(*svid.id(), id("/w"));
    let expected = [
        "POST /apis/authentication.k8s.io/v1/tokenreviews".to_owned(),
        format!("GET {}", path_of_pod(NODE)),
        format!("GET {}", path_of_node(NODE)),
    ];
    assert_eq!(cluster.api.asked().current(), expected);
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_how_an_agent_attested_and_what_is_known_of_its_node() {
    let cluster = Cluster::start().await;
    cluster.attest().await.unwrap();
    let programs = Programs::new();
    let socket = cluster.fixture.server.socket_path.to_str().unwrap().to_owned();
    let run = async |arguments: &[&str]| {
        let arguments = [&["agent"], arguments, &["-socketPath", &socket]].concat();
        let outcome = programs.run("spire-server", &arguments, b"").await;
        assert_eq!(outcome.exit, 0, "{}", outcome.stderr);
        outcome.stdout
    };
    let listed = run(&["list"]).await;
    for line in
        ["Found 1 attested agent", "Attestation type  : k8s_psat", "Can re-attest     : true"]
    {
        assert!(listed.contains(line), "{line:?} is not in\n{listed}");
    }
    let by_type = run(&["list", "-attestationType", "join_token"]).await;
    assert!(by_type.starts_with("No attested agents found"), "{by_type}");
    let shown = run(&["show", "-spiffeID", cluster.agent_id().as_str()]).await;
    let prefix = "Selectors         : k8s_psat:";
    let mut found: Vec<_> =
        shown.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect();
    found.sort();
    let expected = [
        "agent_node_ip:172.16.10.1".to_owned(),
        "agent_node_label:zone:a".to_owned(),
        format!("agent_node_name:{NODE}"),
        format!("agent_node_uid:{}", uid_of_node(NODE)),
        "agent_ns:spire".to_owned(),
        "agent_pod_label:app:spire-agent".to_owned(),
        format!("agent_pod_name:spire-agent-{NODE}"),
        format!("agent_pod_uid:{}", uid_of_pod(NODE)),
        "agent_sa:spire-agent".to_owned(),
        "cluster:demo".to_owned(),
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_away_an_agent_waits_and_then_attests() {
    let mut cluster = Cluster::start().await;
    cluster.api.go_away().await;
    let (code, text) = cluster.refused().await;
    assert_eq!(code, Code::Unavailable, "{text}");
    let expected = "nodeattestor(k8s_psat): unable to validate token with TokenReview API for cluster \
                    \"demo\": unable to query token review API: ";
    assert!(text.starts_with(expected), "{text}");
    cluster.register("/w").await;
    let agent = cluster.agent().await;
    let sidecar = SdsClient::connect(&agent.socket_path).await.unwrap();
    let mut stream = sidecar.stream(&["default"]).await.unwrap();
    cluster.api.set_mood(Mood::Fails(503));
    cluster.api.come_back().await;
    let has_failed_twice = |asked: &Vec<String>| asked.len() >= 2;
    timeout(PATIENCE, cluster.api.asked().wait_for(has_failed_twice)).await.unwrap().unwrap();
    cluster.api.set_mood(Mood::Answers);
    let answer = timeout(PATIENCE, stream.accept()).await.unwrap().unwrap();
    let svid = secret::svid(answer.secret("default").unwrap()).unwrap();
    assert_eq!(*svid.id(), id("/w"));
    agent.shutdown().await;
}

#[tokio::test]
async fn an_api_server_that_fails_is_unavailable_and_one_that_forbids_an_error_of_the_server() {
    let cluster = Cluster::start().await;
    for (status, code) in [
        (500, Code::Unavailable),
        (503, Code::Unavailable),
        (429, Code::Unavailable),
        (403, Code::Internal),
        (401, Code::Internal),
    ] {
        cluster.api.set_mood(Mood::Fails(status));
        let (found, text) = cluster.refused().await;
        assert_eq!(found, code, "{status}: {text}");
        assert!(text.ends_with(&format!("told to fail ({status})")), "{text}");
    }
    cluster.api.set_mood(Mood::Answers);
    cluster.attest().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_broke_costs_one_attestation_at_most() {
    let mut cluster = Cluster::start().await;
    cluster.attest().await.unwrap();
    cluster.api.go_away().await;
    cluster.api.come_back().await;
    if let Err(status) = cluster.attest().await {
        assert_eq!(status.code(), Code::Unavailable);
        cluster.attest().await.unwrap();
    }
}

#[tokio::test]
async fn what_the_api_server_does_not_bear_out_is_refused_in_spires_words() {
    let cluster = Cluster::start().await;
    let refused = async |text: &str| {
        let (code, found) = cluster.refused().await;
        assert_eq!(code, Code::PermissionDenied, "{found}");
        let found = found.strip_prefix("nodeattestor(k8s_psat): ").unwrap();
        assert!(found.starts_with(text), "{found:?} for {text:?}");
    };
    let (api, token) = (&cluster.api, cluster.token.as_str());
    let review = |change: fn(&mut serde_json::Value)| api.change_review(token, change);

    review(|status| status["audiences"] = json!(["vault"]));
    refused(
        "unable to validate token with TokenReview API for cluster \"demo\": token review API \
             response contains an error: [invalid bearer token, token audiences ",
    )
    .await;
    review(|status| status["audiences"] = json!(["spire-server"]));

    review(|status| status["user"]["username"] = json!("system:serviceaccount:default:web"));
    refused("\"default:web\" is not an allowed service account for cluster \"demo\"").await;
    review(|status| status["user"]["username"] = json!("system:serviceaccount:spire:spire-agent"));

    let set_node = |name: &'static str| {
        move |pod: &mut serde_json::Value| {
            pod["spec"]["nodeName"] = json!(name);
        }
    };
    api.change(&path_of_pod(NODE), set_node("node-2"));
    refused("node name mismatch in cluster \"demo\": token bound to node name \"node-1\"").await;
    api.change(&path_of_pod(NODE), set_node(NODE));

    api.change(&path_of_pod(NODE), |pod| pod["metadata"]["uid"] = json!("another"));
    refused("pod UID mismatch for pod \"spire-agent-node-1\" in cluster \"demo\"").await;
    api.delete(&path_of_pod(NODE));
    refused(
        "failed to get pod from k8s API server for cluster \"demo\": unable to query pods API: ",
    )
    .await;
    assert!(cluster.node().is_none());
}

#[tokio::test]
async fn payloads_and_clusters_that_are_not_known_are_refused_without_asking_anybody() {
    let cluster = Cluster::start().await;
    for (kind, payload, code, text) in [
        (
            "k8s_psat",
            r#"{"cluster":"prod","token":"x"}"#,
            Code::InvalidArgument,
            "nodeattestor(k8s_psat): not configured for cluster \"prod\"",
        ),
        (
            "k8s_psat",
            "token",
            Code::InvalidArgument,
            "nodeattestor(k8s_psat): failed to unmarshal data payload: ",
        ),
        (
            "x509pop",
            "{}",
            Code::FailedPrecondition,
            "error getting node attestor: could not find node attestor type \"x509pop\"",
        ),
    ] {
        let channel = cluster.fixture.anonymous().await;
        let status = send_attestation(channel, kind, payload, csr(&key())).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.message().starts_with(text), "{}", status.message());
    }
    assert_eq!(cluster.api.asked().current(), [""; 0]);
    let token = cluster.fixture.token().await;
    attest(cluster.fixture.anonymous().await, &token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_keys_are_in_memory_attests_anew_after_a_restart() {
    let cluster = Cluster::start().await;
    cluster.register("/w").await;
    let agent = cluster.agent().await;
    let before = attested(&agent).await;
    first_svid(&agent).await;
    agent.shutdown().await;
    let agent = cluster.agent().await;
    let after = attested(&agent).await;
    assert_eq!(after.id(), before.id());
    assert_ne!(serial(&after), serial(&before));
    assert_eq!(*first_svid(&agent).await.id(), id("/w"));
    assert_eq!(cluster.fixture.server.store().nodes().len(), 1);
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_may_attests_again_instead_of_renewing() {
    let short = Duration::from_secs(6);
    let cluster = Cluster::start_with(|config, _| config.agent_ttl = short).await;
    let agent = cluster.agent().await;
    let first = attested(&agent).await;
    let mut standing = agent.observer().standing();
    let is_renewed = |now: &Standing| now.svid().is_some_and(|svid| serial(svid) != serial(&first));
    timeout(PATIENCE, standing.wait_for(is_renewed)).await.unwrap().unwrap();
    assert_eq!(cluster.api.asked().current().len(), 6, "three questions for each attestation");
    agent.shutdown().await;
}

#[tokio::test]
async fn attesting_again_ends_no_session_before_its_result_is_used() {
    let cluster = Cluster::start().await;
    let first = cluster.attest().await.unwrap();
    cluster.post_status(&first).await.unwrap();
    let lost = cluster.attest().await.unwrap();
    assert_eq!(cluster.node().unwrap().serial, serial(&first), "the answer may have been lost");
    cluster.post_status(&first).await.unwrap();
    let second = cluster.attest().await.unwrap();
    cluster.post_status(&second).await.unwrap();
    let node = cluster.node().unwrap();
    assert_eq!((node.serial.clone(), node.agent_version.as_str()), (serial(&second), "1"));
    cluster.post_status(&first).await.unwrap();
    assert_eq!(cluster.post_status(&lost).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(cluster.fixture.server.store().nodes().len(), 1);
}

#[tokio::test]
async fn a_banned_node_does_not_come_back_and_an_evicted_one_does() {
    let cluster = Cluster::start().await;
    cluster.attest().await.unwrap();
    let store = cluster.fixture.server.store();
    assert!(store.delete_node(&cluster.agent_id()).await.unwrap());
    cluster.attest().await.unwrap();
    assert!(store.ban_node(&cluster.agent_id()).await.unwrap());
    let banned = (Code::PermissionDenied, "failed to attest: agent is banned".to_owned());
    assert_eq!(cluster.refused().await, banned);
    assert!(cluster.node().unwrap().banned);
}
