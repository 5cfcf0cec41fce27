//! An agent on a thread of its own, from its socket to a server in this process, in real time.

use super::*;
use crate::{
    agent::{
        config::{
            Bootstrap, Executable, JoinToken, KeyManager, NodeAttestor, ServerAddress,
            WorkloadAttestor,
        },
        sync::SyncStatus,
    },
    config::{log::Log, secret::Secret},
    runtime::clock::unix_secs,
    spiffe::{Selector, TrustDomain},
    testing::{
        sds::SdsClient,
        secret,
        spire_server::{SpireServer, entry},
    },
    transport::{Limits, Takeover, channel},
    wire::proto::spire::agent::debug::v1::{GetInfoRequest, debug_client::DebugClient},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

struct Node {
    dir: tempfile::TempDir,
    clock: Clock,
    server: SpireServer,
}

impl Node {
    /// With one entry, for this process.
    fn new() -> Self {
        let clock = Clock::system();
        let server = SpireServer::start(&clock);
        let mut mine = entry("mine", 0);
        let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
        mine.spec.selectors = [Selector::parse(&uid).unwrap()].into_iter().collect();
        server.set(|server| server.entries.insert("mine".to_owned(), mine));
        Self { dir: tempfile::tempdir().unwrap(), clock, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> AgentConfig {
        let token = JoinToken::Token(Secret::new("one".to_owned()));
        AgentConfig {
            trust_domain: TrustDomain::parse("example.org").unwrap(),
            data_dir: self.path("data"),
            log: Log::default(),
            server: ServerAddress { host: "server".to_owned(), port: 8081 },
            bootstrap: Bootstrap::Insecure,
            socket_path: self.path("socket"),
            admin_socket_path: Some(self.path("admin.sock")),
            node_attestor: NodeAttestor::JoinToken(Some(token)),
            key_manager: KeyManager::Disk { directory: self.path("data") },
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
        }
    }

    async fn start(&self, config: AgentConfig) -> Result<RunningAgent, StartError> {
        let handover = Some(Handover::new(self.path("svids"), "boot".to_owned()));
        let (upstream, clock) = (self.server.upstream(), self.clock.clone());
        Agent::start_with(config, upstream, handover, clock, Shutdown::new()).await
    }
}

async fn is_serving(agent: &RunningAgent) -> ServingStatus {
    let channel = channel::connect_uds(&agent.socket_path).await.unwrap();
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    answer.into_inner().status()
}

#[tokio::test]
async fn a_workload_gets_its_identity_from_the_server_through_the_socket() {
    let node = Node::new();
    let agent = node.start(node.config()).await.unwrap();
    let sidecar = SdsClient::connect(&agent.socket_path).await.unwrap();
    let answer = sidecar.stream(&["default"]).await.unwrap().accept().await.unwrap();
    let svid = secret::svid(answer.secret("default").unwrap()).unwrap();
    let [served] = agent.observer().identities().try_into().unwrap();
    assert_eq!(served.spiffe_id.as_str(), "spiffe://example.org/mine");
    assert_eq!(served.serial, *svid.chain()[0].serial());
    assert!(agent.readiness().is_ready(), "{:?}", agent.readiness().missing());
    assert_eq!(is_serving(&agent).await, ServingStatus::Serving);
    assert!(agent.observer().pushes() >= 1);
    let socket = agent.socket_path.clone();
    agent.shutdown().await;
    assert!(socket.exists(), "the name stays for the next agent");
}

#[tokio::test]
async fn the_socket_is_served_while_there_is_no_server() {
    let node = Node::new();
    node.server.go_away();
    let agent = node.start(node.config()).await.unwrap();
    assert_eq!(is_serving(&agent).await, ServingStatus::NotServing);
    let missing: Vec<_> = agent.readiness().missing().into_keys().collect();
    assert_eq!(missing, ["bundle", "sync"]);
    agent.shutdown().await;
}

#[tokio::test]
async fn the_admin_socket_tells_the_chain_the_sync_and_the_count() {
    let node = Node::new();
    let agent = node.start(node.config()).await.unwrap();
    let mut changes = agent.observer().changes();
    while agent.observer().identities().is_empty() {
        changes.changed().await.unwrap();
    }
    let channel = channel::connect_uds(&node.path("admin.sock")).await.unwrap();
    let info = DebugClient::new(channel).get_info(GetInfoRequest {}).await.unwrap().into_inner();
    let subjects: Vec<_> = info.svid_chain.iter().map(|cert| cert.subject.as_str()).collect();
    assert_eq!(subjects[0], "O=SPIRE,C=US");
    assert!(subjects[1].ends_with("O=SPIFFE"), "{subjects:?}");
    let id = info.svid_chain[0].id.clone().unwrap();
    assert_eq!(id.path, "/spire/agent/join_token/one");
    assert_eq!(info.cached_x509_svids_count, 1);
    assert!((info.last_sync_success - unix_secs(node.clock.now())).abs() <= 2);
    agent.shutdown().await;
}

#[tokio::test]
async fn a_live_agents_socket_is_refused_unless_it_is_to_be_replaced() {
    let node = Node::new();
    let first = node.start(node.config()).await.unwrap();
    let refused = node.start(node.config()).await;
    assert!(matches!(refused, Err(StartError::Socket(_))));
    let replacing = AgentConfig { takeover: Takeover::Replace, ..node.config() };
    let second = node.start(replacing).await.unwrap();
    first.shutdown().await;
    let heard = |status: &SyncStatus| status.last_heard.is_some();
    second.observer().sync().wait_for(heard).await.unwrap();
    assert_eq!(channel::connect_uds(&second.socket_path).await.err().map(|e| e.to_string()), None);
    second.shutdown().await;
}

#[tokio::test]
async fn a_data_directory_that_is_none_fails_the_start_with_its_name() {
    let node = Node::new();
    std::fs::write(node.path("data"), "").unwrap();
    let error = node.start(node.config()).await.err().unwrap();
    assert!(matches!(error, StartError::State(_)), "{error}");
    assert!(error.to_string().contains("/data"), "{error}");
}

#[tokio::test]
async fn metrics_have_spires_names() {
    let node = Node::new();
    let agent = node.start(node.config()).await.unwrap();
    let mut changes = agent.observer().changes();
    while agent.observer().identities().is_empty() {
        changes.changed().await.unwrap();
    }
    // Counted once everything that was heard is stored, which may be after the first identity.
    let heard = |status: &SyncStatus| status.last_heard.is_some();
    agent.observer().sync().wait_for(heard).await.unwrap();
    let observer = agent.observer();
    let (serve, upkeep) = (&observer.serve, &observer.upkeep);
    let text =
        pages::metrics(&node.config(), serve, upkeep, &observer.insight, &node.clock).render();
    for name in [
        "spire_agent_started{",
        "spire_agent_uptime_in_ms{",
        "spire_agent_node_attestor_new_svid{",
        "spire_agent_manager_sync_fetch_entries_updates{",
        "spire_agent_lru_cache_svid_map_size{",
        "spire_agent_sds_api_connections{",
        "spire_agent_agent_svid_not_after_timestamp_seconds{",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
    }
    agent.shutdown().await;
}
