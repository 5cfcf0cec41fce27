//! The server and the agent that `finial dev` runs, over real TLS on loopback, and their state.

use super::options::Options;
use crate::{
    agent::{
        config::{
            self, AgentConfig, Bootstrap, Executable, JoinToken, Sds, ServerAddress,
            WorkloadAttestor,
        },
        start::{Agent, RunningAgent},
    },
    config::{log::Log, secret::Secret},
    runtime::{Clock, Shutdown},
    server::{
        config::{self as server_config, CaConfig, CaSubject, DataStore, RateLimit, ServerConfig},
        start::{RunningServer, Server},
    },
    spiffe::{EntrySpec, Selector, SpiffeId, TrustDomain, entry::Hint, selector},
    transport::{Limits, Takeover},
    x509::KeyType,
};
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// The trust domain of every `finial dev`.
const TRUST_DOMAIN: &str = "example.org";

/// Both programs, running.
pub(super) struct Programs {
    pub(super) server: RunningServer,
    pub(super) agent: RunningAgent,
    pub(super) trust_domain: TrustDomain,
    agent_id: SpiffeId,
}

/// Why they do not run. The texts name what failed; the sources say why.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The state directory cannot be made or read.
    #[error("cannot use the state directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The name of the trust domain, the token or an entry is not valid.
    #[error(transparent)]
    Id(#[from] crate::spiffe::id::Error),
    /// A selector is not valid.
    #[error(transparent)]
    Selector(#[from] selector::Error),
    /// The server.
    #[error("the server does not start")]
    Server(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server's store.
    #[error("the server does not store what it is told")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The agent.
    #[error("the agent does not start")]
    Agent(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Programs {
    /// Starts both in `directory`; the agent attests with a fresh join token, or with what it kept there.
    pub(super) async fn start(
        directory: &Path,
        options: &Options,
        shutdown: Shutdown,
    ) -> Result<Self, ProgramError> {
        let trust_domain = TrustDomain::parse(TRUST_DOMAIN)?;
        let server = Server::start(server(directory, &trust_domain, options), Clock::system())
            .await
            .map_err(|error| ProgramError::Server(error.into()))?;
        let token = token(directory, &server).await?;
        let agent_id = trust_domain.member(&format!("/spire/agent/join_token/{token}"))?;
        let config = agent(directory, &trust_domain, server.local_addr, token, options);
        let agent = Agent::start(config, Clock::system(), shutdown)
            .await
            .map_err(|error| ProgramError::Agent(error.into()))?;
        Ok(Self { server, agent, trust_domain, agent_id })
    }

    /// Gives `path` of the trust domain to workloads with all of `selectors`, unless that is so already.
    pub(super) async fn register(
        &self,
        path: &str,
        selectors: &[String],
        ttl: Duration,
    ) -> Result<SpiffeId, ProgramError> {
        let spiffe_id = self.trust_domain.member(path)?;
        let selectors = selectors.iter().map(|text| Selector::parse(text));
        let spec = EntrySpec {
            spiffe_id: spiffe_id.clone(),
            parent_id: self.agent_id.clone(),
            selectors: selectors.collect::<Result<_, _>>()?,
            x509_svid_ttl_secs: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
            jwt_svid_ttl_secs: 0,
            federates_with: Vec::new(),
            admin: false,
            downstream: false,
            expires_at: 0,
            dns_names: Vec::new(),
            store_svid: false,
            hint: Hint::default(),
            disable_x509_svid_prefetch: false,
            jwt_svid_include_jti: false,
        };
        self.server.register(spec).await.map_err(|error| ProgramError::Store(error.into()))?;
        Ok(spiffe_id)
    }

    /// Ends both, the agent first, and leaves no SVID of theirs in memory.
    pub(super) async fn stop(self) {
        self.agent.retire().await;
        self.server.shutdown().await;
    }
}

fn server(directory: &Path, trust_domain: &TrustDomain, options: &Options) -> ServerConfig {
    let data_dir = directory.join("server");
    ServerConfig {
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        socket_path: directory.join("server-private/api.sock"),
        trust_domain: trust_domain.clone(),
        log: Log::default(),
        ca: CaConfig {
            ttl: options.ca_ttl(),
            key_type: KeyType::EcP256,
            subject: CaSubject::default(),
        },
        x509_svid_ttl: options.svid_ttl(),
        agent_ttl: options.svid_ttl(),
        rate_limit: RateLimit { attestation: true, signing: false },
        health_checks: None,
        prometheus: None,
        data_store: DataStore::Sqlite {
            connection_string: data_dir.join("datastore.sqlite3").display().to_string(),
        },
        key_manager: server_config::KeyManager::Disk { keys_path: data_dir.join("keys.json") },
        node_attestors: vec![server_config::NodeAttestor::JoinToken],
        data_dir,
    }
}

fn agent(
    directory: &Path,
    trust_domain: &TrustDomain,
    server: SocketAddr,
    token: String,
    options: &Options,
) -> AgentConfig {
    let data_dir = directory.join("agent");
    AgentConfig {
        trust_domain: trust_domain.clone(),
        log: Log::default(),
        server: ServerAddress { host: server.ip().to_string(), port: server.port() },
        // The server is this same process, reached over loopback.
        bootstrap: Bootstrap::Insecure,
        socket_path: socket(directory),
        takeover: Takeover::Refuse,
        admin_socket_path: None,
        node_attestor: config::NodeAttestor::JoinToken(Some(JoinToken::Token(Secret::new(token)))),
        key_manager: config::KeyManager::Disk { directory: data_dir.clone() },
        workload_attestors: vec![WorkloadAttestor::Unix { executable: Executable::Path }],
        x509_svid_cache_max_size: config::default::X509_SVID_CACHE_MAX_SIZE,
        sds: Sds::default(),
        sync_interval: config::default::SYNC_INTERVAL,
        limits: Limits::default(),
        health_checks: None,
        prometheus: None,
        renew_every: options.rotate_every,
        data_dir,
    }
}

/// Where workloads connect.
pub(super) fn socket(directory: &Path) -> PathBuf {
    directory.join("public/socket")
}

/// The agent's join token, and with it its name: made once per state directory.
async fn token(directory: &Path, server: &RunningServer) -> Result<String, ProgramError> {
    let path = directory.join("join-token");
    if let Ok(known) = fs::read_to_string(&path) {
        return Ok(known.trim().to_owned());
    }
    let token = server.join_token().await.map_err(|error| ProgramError::Store(error.into()))?;
    fs::write(&path, &token).map_err(|source| ProgramError::Directory { path, source })?;
    Ok(token)
}
