//! An agent and its server, whole, over TLS on the loopback interface: what the one does reaches the
//! workloads of the other.

use crate::server::fixture::{Fixture, config as server_config, id, spec, trust_domain};
use finial::{
    agent::{
        config::{
            AgentConfig, Bootstrap, BundleFormat, Executable, JoinToken, KeyManager, NodeAttestor,
            Sds, ServerAddress, WorkloadAttestor,
        },
        identity::{Cause, Standing},
        start::{Agent, RunningAgent},
        storage::Handover,
        sync::{Link, SyncStatus},
        upstream::Upstream,
    },
    config::{log::Log, secret::Secret},
    runtime::{Clock, Shutdown},
    spiffe::{EntrySpec, Selector, SpiffeId, X509Svid},
    testing::{ca::TestCa, sds::SdsClient, secret},
    transport::{Limits, Takeover},
    x509::pem,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server and a directory for the agent beside it.
pub(crate) struct Node {
    pub(crate) fixture: Fixture,
    dir: tempfile::TempDir,
    token: String,
}

impl Node {
    pub(crate) async fn start() -> Self {
        let fixture = Fixture::start().await;
        let (dir, token) = (tempfile::tempdir().unwrap(), fixture.token().await);
        let authorities = fixture.bundle();
        let certificates: Vec<_> =
            authorities.x509_authorities().iter().map(|a| a.certificate.clone()).collect();
        fs::write(dir.path().join("bundle.pem"), pem::certificates(&certificates)).unwrap();
        Self { fixture, dir, token }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> AgentConfig {
        let address = self.fixture.server.local_addr;
        let bundle = self.path("bundle.pem");
        let token = JoinToken::Token(Secret::new(self.token.clone()));
        AgentConfig {
            trust_domain: trust_domain(),
            data_dir: self.path("data"),
            log: Log::default(),
            server: ServerAddress { host: address.ip().to_string(), port: address.port() },
            bootstrap: Bootstrap::Bundle { path: bundle, format: BundleFormat::Pem },
            socket_path: self.path("socket"),
            admin_socket_path: None,
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

    async fn agent(&self) -> RunningAgent {
        self.agent_with(self.config()).await
    }

    pub(crate) async fn agent_with(&self, config: AgentConfig) -> RunningAgent {
        let handover = Handover::new(self.path("svids"), "this boot".to_owned());
        let (clock, shutdown) = (Clock::system(), Shutdown::new());
        let upstream = Upstream::server(&config.server, clock.clone());
        Agent::start_with(config, upstream, Some(handover), clock, shutdown).await.unwrap()
    }

    fn agent_id(&self) -> SpiffeId {
        id(&format!("/spire/agent/join_token/{}", self.token))
    }

    /// Whoever runs this test, under this node's agent.
    pub(crate) fn own(&self, path: &str) -> EntrySpec {
        let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
        let selectors = [Selector::parse(&uid).unwrap()].into_iter().collect();
        EntrySpec { selectors, ..spec(&self.agent_id(), path) }
    }
}

pub(crate) async fn watching(agent: &RunningAgent) {
    let is_watching =
        |status: &SyncStatus| status.link == Link::Watching && status.last_heard.is_some();
    timeout(PATIENCE, agent.observer().sync().wait_for(is_watching)).await.unwrap().unwrap();
}

async fn first_svid(agent: &RunningAgent) -> X509Svid {
    svid_at(&agent.socket_path).await
}

async fn svid_at(socket: &Path) -> X509Svid {
    let sidecar = SdsClient::connect(socket).await.unwrap();
    let mut stream = sidecar.stream(&["default"]).await.unwrap();
    let answer = timeout(PATIENCE, stream.accept()).await.unwrap().unwrap();
    secret::svid(answer.secret("default").unwrap()).unwrap()
}

#[tokio::test]
async fn an_entry_created_while_a_sidecar_waits_reaches_it_on_the_same_stream() {
    let node = Node::start().await;
    let agent = node.agent().await;
    watching(&agent).await;
    let sidecar = SdsClient::connect(&agent.socket_path).await.unwrap();
    let mut stream = sidecar.stream(&["default"]).await.unwrap();
    node.fixture.create_entry(node.own("/late")).await;
    let created = Instant::now();
    let answer = timeout(PATIENCE, stream.accept()).await.unwrap().unwrap();
    let took = created.elapsed();
    let svid = secret::svid(answer.secret("default").unwrap()).unwrap();
    assert_eq!(svid.id(), &id("/late"));
    assert!(took < Duration::from_secs(2), "{took:?}: polling would take 5 s");
    agent.shutdown().await;
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again_and_nobody_attests_anew() {
    let mut node = Node::start().await;
    node.fixture.create_entry(node.own("/early")).await;
    let agent = node.agent().await;
    let before = first_svid(&agent).await;
    let mut same_port = server_config(node.fixture.dir.path());
    same_port.bind = node.fixture.server.local_addr;
    node.fixture = node.fixture.restart_with(same_port).await;
    assert_eq!(first_svid(&agent).await.chain(), before.chain(), "served while nobody answers");
    node.fixture.create_entry(node.own("/later")).await;
    let mut changes = agent.observer().changes();
    let both = async {
        while agent.observer().identities().len() < 2 {
            changes.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, both).await.unwrap();
    assert_eq!(node.fixture.server.store().nodes().len(), 1);
    agent.shutdown().await;
}

#[tokio::test]
async fn a_new_agent_takes_over_socket_and_svids_from_the_old_one() {
    let node = Node::start().await;
    node.fixture.create_entry(node.own("/w")).await;
    let old = node.agent().await;
    let before = first_svid(&old).await;
    old.shutdown().await;
    let new = node.agent_with(AgentConfig { takeover: Takeover::Replace, ..node.config() }).await;
    assert_eq!(first_svid(&new).await.chain(), before.chain());
    watching(&new).await;
    assert_eq!(first_svid(&new).await.chain(), before.chain(), "nothing is signed again");
    new.shutdown().await;
}

#[tokio::test]
async fn a_workload_is_served_under_every_name_of_the_socket_and_by_the_next_agent_too() {
    let node = Node::start().await;
    node.fixture.create_entry(node.own("/w")).await;
    let alternate_names = vec!["api.sock".to_owned(), "socket".to_owned()];
    let config = AgentConfig { alternate_names, ..node.config() };
    let old = node.agent_with(config.clone()).await;
    let before = first_svid(&old).await;
    old.shutdown().await;
    let new = node.agent_with(AgentConfig { takeover: Takeover::Replace, ..config }).await;
    for name in ["socket", "api.sock"] {
        assert_eq!(svid_at(&node.path(name)).await.chain(), before.chain(), "{name}");
    }
    new.shutdown().await;
}

#[tokio::test]
async fn an_evicted_agent_says_so_and_serves_on() {
    let node = Node::start().await;
    node.fixture.create_entry(node.own("/w")).await;
    let agent = node.agent().await;
    let before = first_svid(&agent).await;
    node.fixture.server.store().delete_node(&node.agent_id()).await.unwrap();
    let is_evicted =
        |standing: &Standing| matches!(standing, Standing::Unattested(Cause::Denied(_)));
    timeout(PATIENCE, agent.observer().standing().wait_for(is_evicted)).await.unwrap().unwrap();
    assert_eq!(first_svid(&agent).await.chain(), before.chain());
    agent.shutdown().await;
}

#[tokio::test]
async fn a_new_authority_reaches_the_agent_and_its_acknowledgement_the_server() {
    let node = Node::start().await;
    let agent = node.agent().await;
    watching(&agent).await;
    let other = TestCa::new("example.org", Clock::system().now());
    let certificate = other.authority().certificate().clone();
    let store = node.fixture.server.store();
    let bundle = store.append_x509_authority(&trust_domain(), certificate).await.unwrap();
    let sequence = bundle.sequence();
    let mut served = agent.observer().served_sequence();
    let is_served = |served: &u64| *served == sequence;
    timeout(PATIENCE, served.wait_for(is_served)).await.unwrap().unwrap();
    agent.shutdown().await;
}
