//! The agent behind its socket, against a server in the same process, on a paused clock.

mod attestation;
mod outage;
mod polling;
mod reattestation;
mod renewal;
mod watching;

use super::*;
use crate::{
    agent::{
        cache::{Subscription, View},
        config::{
            Bootstrap, BundleFormat, CertificateValidation, JoinToken, KeyManager,
            NodeAttestor as NodeAttestorConfig, Sds, ServerAddress,
        },
        identity::Standing,
    },
    config::{log::Log, secret::Secret},
    runtime::clock::from_unix_secs,
    spiffe::{Selector, SelectorSet, TrustDomain},
    testing::spire_server::{Asked, SpireServer, entry},
    transport::{Limits, Takeover},
    x509::pem,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// A node: a directory that survives the agents on it, and a server.
struct Node {
    dir: tempfile::TempDir,
    clock: Clock,
    server: SpireServer,
    config: AgentConfig,
    boot_id: &'static str,
}

/// An agent's process.
struct Running {
    insight: Insight,
    readiness: Readiness,
    tasks: TaskSet,
    shutdown: Shutdown,
}

impl Node {
    fn new() -> Self {
        let clock = Clock::anchored_at(from_unix_secs(1_800_000_000));
        let (dir, server) = (tempfile::tempdir().unwrap(), SpireServer::start(&clock));
        let bundle = dir.path().join("bundle.pem");
        let authority = server.ca().authority().certificate().clone();
        std::fs::write(&bundle, pem::certificates(&[authority])).unwrap();
        let config = config(dir.path(), bundle);
        Self { dir, clock, server, config, boot_id: "this boot" }
    }

    fn with_entries(count: usize) -> Self {
        let node = Self::new();
        node.server.set(|server| {
            let entries = (0..count).map(|number| entry(&format!("w{number:04}"), 0));
            server.entries = entries.map(|entry| (entry.id.to_string(), entry)).collect();
        });
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn start(&self) -> Running {
        let readiness = Readiness::new();
        let handover = Handover::new(self.path("svids"), self.boot_id.to_owned());
        let upkeep = Upkeep::open(
            &self.config,
            self.server.upstream(),
            Some(handover),
            &readiness,
            &UpkeepMetrics::default(),
            &self.clock,
        );
        let (upkeep, tasks, shutdown) = (upkeep.unwrap(), TaskSet::new(), Shutdown::new());
        let insight = upkeep.insight();
        upkeep.start(&tasks, &shutdown).await.unwrap();
        Running { insight, readiness, tasks, shutdown }
    }
}

impl Node {
    /// Ends an agent without a last word, as a killed process: what it wrote in its last moment is
    /// taken back.
    async fn kill(&self, agent: Running) {
        let files = ["svids", "data/agent-data.json", "data/keys.json"];
        let before = files.map(|name| std::fs::read(self.path(name)));
        agent.stop().await;
        for (name, content) in files.iter().zip(before) {
            if let Ok(content) = content {
                std::fs::write(self.path(name), content).unwrap();
            }
        }
    }
}

impl Running {
    async fn stop(self) {
        self.shutdown.request();
        assert_eq!(self.tasks.finish(Duration::from_secs(10)).await, 0, "a task did not end");
    }

    async fn standing(&self, is_meant: impl FnMut(&Standing) -> bool + Send) -> Standing {
        self.insight.identity.standing().wait_for(is_meant).await.unwrap()
    }

    async fn attested(&self) -> Arc<crate::spiffe::X509Svid> {
        let standing = self.standing(|standing| standing.svid().is_some()).await;
        Arc::clone(standing.svid().unwrap())
    }

    fn subscribe(&self) -> Subscription {
        self.insight.cache.subscribe(&uid_7())
    }

    /// Waits until somebody with user id 7 is served what is meant.
    async fn served(&self, mut is_meant: impl FnMut(&View) -> bool) -> Arc<View> {
        let mut subscription = self.subscribe();
        loop {
            let view = subscription.current();
            if is_meant(&view) {
                return view;
            }
            subscription.changed().await.unwrap();
        }
    }
}

fn uid_7() -> SelectorSet {
    [Selector::parse("unix:uid:7").unwrap()].into_iter().collect()
}

fn names(view: &View) -> Vec<String> {
    let paths = view.identities.iter().map(|found| found.svid.id().path().to_owned());
    let mut names: Vec<_> = paths.collect();
    names.sort_unstable();
    names
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn config(dir: &Path, bundle: PathBuf) -> AgentConfig {
    AgentConfig {
        trust_domain: TrustDomain::parse("example.org").unwrap(),
        data_dir: dir.join("data"),
        log: Log::default(),
        server: ServerAddress { host: "server".to_owned(), port: 8081 },
        bootstrap: Bootstrap::Bundle { path: bundle, format: BundleFormat::Pem },
        socket_path: dir.join("socket"),
        admin_socket_path: None,
        node_attestor: NodeAttestorConfig::JoinToken(Some(JoinToken::Token(Secret::new(
            "one".to_owned(),
        )))),
        key_manager: KeyManager::Disk { directory: dir.join("data") },
        workload_attestors: Vec::new(),
        limits: Limits::default(),
        alternate_names: Vec::new(),
        takeover: Takeover::Refuse,
        x509_svid_cache_max_size: 10_000,
        sds: Sds { validation: CertificateValidation::Spiffe, ..Sds::default() },
        sync_interval: Duration::from_secs(5),
        health_checks: None,
        prometheus: None,
        renew_every: None,
    }
}
