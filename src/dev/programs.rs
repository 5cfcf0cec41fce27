//! The server and the agent that `finial dev` runs: in this process, with real TLS between them, as
//! two machines would run them.

use super::{
    directory::Directory,
    options::Options,
    server_api::{ApiError, ServerApi},
};
use crate::{
    agent::{
        Upstream,
        config::{
            self, AgentConfig, Bootstrap, BundleFormat, Executable, JoinToken, Sds, ServerAddress,
            WorkloadAttestor,
        },
        start::{Agent, RunningAgent, StartError as AgentError},
    },
    config::{log::Log, secret::Secret},
    runtime::{Clock, Shutdown},
    server::{
        config::{self as server_config, CaConfig, CaSubject, DataStore, RateLimit, ServerConfig},
        start::{RunningServer, Server, StartError as ServerError},
    },
    spiffe::{Selector, SpiffeId, TrustDomain, id, selector},
    transport::{Limits, Takeover},
    x509::{KeyType, pem},
};
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use tokio::time::timeout;

/// The trust domain of every `finial dev`.
const TRUST_DOMAIN: &str = "example.org";
/// What entries hang on: the node, whichever agent it has.
const NODE: &str = "/dev/node";

/// Until the agent has attested and has an SVID; it takes a fraction of a second.
const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// Both programs, running.
pub(super) struct Programs {
    pub(super) server: RunningServer,
    pub(super) agent: RunningAgent,
    pub(super) node: SpiffeId,
    trust_domain: TrustDomain,
    api: ServerApi,
}

/// Why they do not run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The name of the trust domain or of a member is not valid.
    #[error(transparent)]
    Id(#[from] id::Error),
    /// A selector is not valid.
    #[error(transparent)]
    Selector(#[from] selector::Error),
    /// The server.
    #[error("the server does not start")]
    Server(#[from] ServerError),
    /// The agent.
    #[error("the agent does not start")]
    Agent(#[from] AgentError),
    /// The server's API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The agent does not get what was registered.
    #[error("the agent has no SVID for {0} after {SERVED_WITHIN:?}")]
    NotServed(SpiffeId),
    /// The server has no bundle.
    #[error("the server of {0} has started without a trust bundle")]
    NoBundle(TrustDomain),
    /// The agent cannot be told what to trust.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Programs {
    /// Starts both in `directory`. The agent attests with a fresh join token, or is the one that has
    /// attested there before.
    pub(super) async fn start(
        directory: &Directory,
        options: &Options,
        clock: &Clock,
    ) -> Result<Self, ProgramError> {
        let trust_domain = TrustDomain::parse(TRUST_DOMAIN)?;
        let node = trust_domain.member(NODE)?;
        let config = server(directory, &trust_domain, options);
        let server = Server::start(config, clock.clone()).await?;
        match join(directory, options, clock, &server, &node).await {
            Ok((agent, api)) => Ok(Self { server, agent, node, trust_domain, api }),
            Err(error) => {
                server.shutdown().await;
                Err(error)
            }
        }
    }

    /// Gives `path` of the trust domain to workloads with `selector`, unless that is so already.
    pub(super) async fn register(
        &self,
        path: &str,
        selector: &str,
    ) -> Result<SpiffeId, ProgramError> {
        let spiffe_id = self.trust_domain.member(path)?;
        self.api.register(&self.node, &spiffe_id, Selector::parse(selector)?).await?;
        Ok(spiffe_id)
    }

    /// Waits until the agent has an SVID for `id`. Dropping it is safe.
    pub(super) async fn served(&self, id: &SpiffeId) -> Result<(), ProgramError> {
        let observer = self.agent.observer();
        let mut changes = observer.changes();
        let has_it = async {
            while !observer.identities().iter().any(|identity| identity.spiffe_id == *id) {
                if changes.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        match timeout(SERVED_WITHIN, has_it).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(ProgramError::NotServed(id.clone())),
        }
    }

    /// Ends both, the agent first.
    pub(super) async fn stop(self) {
        self.agent.shutdown().await;
        self.server.shutdown().await;
    }
}

/// Starts the agent with what an operator would give it: a token and the bundle.
async fn join(
    directory: &Directory,
    options: &Options,
    clock: &Clock,
    server: &RunningServer,
    node: &SpiffeId,
) -> Result<(RunningAgent, ServerApi), ProgramError> {
    let trust_domain = node.trust_domain();
    let bundle = server.store().bundle(&trust_domain);
    let bundle = bundle.ok_or_else(|| ProgramError::NoBundle(trust_domain.clone()))?;
    let path = directory.bundle();
    fs::write(&path, pem::certificates(&bundle.servable(clock.now())))
        .map_err(|source| ProgramError::Write { path, source })?;
    let api = ServerApi::connect(&directory.server_socket()).await?;
    let token = api.join_token(node).await?;
    let config = agent(directory, trust_domain, server.local_addr, token, options);
    let shutdown = Shutdown::new();
    let agent = if directory.is_temporary() {
        // No other process will come after this one: nothing is left for it.
        let upstream = Upstream::server(&config.server, clock.clone());
        Agent::start_with(config, upstream, None, clock.clone(), shutdown).await?
    } else {
        Agent::start(config, clock.clone(), shutdown).await?
    };
    Ok((agent, api))
}

fn server(directory: &Directory, trust_domain: &TrustDomain, options: &Options) -> ServerConfig {
    let data_dir = directory.server();
    ServerConfig {
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        socket_path: directory.server_socket(),
        trust_domain: trust_domain.clone(),
        log: Log::default(),
        ca: CaConfig {
            ttl: options.ca_ttl(),
            key_type: KeyType::EcP256,
            subject: CaSubject::default(),
        },
        x509_svid_ttl: options.svid_ttl(),
        agent_ttl: server_config::default::X509_SVID_TTL,
        rate_limit: RateLimit::default(),
        health_checks: None,
        prometheus: None,
        data_store: DataStore::Sqlite {
            connection_string: data_dir.join("datastore.sqlite3").display().to_string(),
        },
        key_manager: server_config::KeyManager::Disk { keys_path: data_dir.join("keys.json") },
        node_attestors: vec![server_config::NodeAttestor::JoinToken],
        bundle_endpoint: None,
        bundle_maps: Vec::new(),
        data_dir,
    }
}

fn agent(
    directory: &Directory,
    trust_domain: TrustDomain,
    server: SocketAddr,
    token: String,
    options: &Options,
) -> AgentConfig {
    let data_dir = directory.agent();
    let token = JoinToken::Token(Secret::new(token));
    AgentConfig {
        trust_domain,
        log: Log::default(),
        server: ServerAddress { host: server.ip().to_string(), port: server.port() },
        bootstrap: Bootstrap::Bundle { path: directory.bundle(), format: BundleFormat::Pem },
        socket_path: directory.agent_socket(),
        alternate_names: Vec::new(),
        takeover: Takeover::Refuse,
        admin_socket_path: None,
        node_attestor: config::NodeAttestor::JoinToken(Some(token)),
        key_manager: config::KeyManager::Disk { directory: data_dir.clone() },
        workload_attestors: vec![WorkloadAttestor::Unix { executable: Executable::Path }],
        x509_svid_cache_max_size: config::default::X509_SVID_CACHE_MAX_SIZE,
        sds: Sds::default(),
        sync_interval: config::default::SYNC_INTERVAL,
        limits: Limits::default(),
        health_checks: None,
        prometheus: None,
        renew_every: options.rotate_every(),
        data_dir,
    }
}
