//! Puts the server together and takes it apart again.
//!
//! Start: data directory → store → keys and authority → own SVID → sockets → tasks; when it returns,
//! agents and operators can connect. Shutdown: listeners stop, every connection is sent GOAWAY, streams
//! get `FINISH_WITHIN` to end, then the store closes.

use super::{
    ca::{self, Ca, CaError, CaState, KeyStore, keystore::KeyStoreError},
    config::{DataStore, KeyManager, ServerConfig},
    federation::{Endpoint, EndpointError},
    identity::{Identity, IdentityError},
    listen::{AgentListener, ListenError, PrivateListener, make_dir},
    pages::{CaReadiness, HttpListeners},
    parts::Parts,
    store::{Store, StoreConfig, StoreError},
};
use crate::{
    k8s::{Access, KubeClient},
    runtime::{Clock, Reader, Shutdown, TaskSet, ready::Readiness, tasks::BlockingError},
    telemetry::http,
    transport::mtls::MtlsError,
    x509::name::{AttributeKind, Name},
};
use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

/// From the wish to end to the end of the last task: below the 10 s in which SIGTERM must be obeyed.
const FINISH_WITHIN: Duration = Duration::from_secs(9);
/// Keys and the database are the owner's alone.
const DATA_DIR_MODE: u32 = 0o700;

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A server that serves. Dropping it without [`RunningServer::shutdown`] leaves its tasks running.
#[must_use = "a server runs until it is shut down"]
pub struct RunningServer {
    /// Where agents connect.
    pub local_addr: SocketAddr,
    /// The socket of the private API.
    pub socket_path: PathBuf,
    /// Where the health pages are, if they are configured.
    pub health_addr: Option<SocketAddr>,
    /// Where metrics are, if they are configured.
    pub metrics_addr: Option<SocketAddr>,
    /// Where the trust bundle is served, if that is configured.
    pub bundle_addr: Option<SocketAddr>,
    readiness: Readiness,
    shutdown: Shutdown,
    tasks: TaskSet,
    store: Store,
    ca: Ca,
}

/// What listens.
struct Listeners {
    agents: AgentListener,
    private: PrivateListener,
    http: HttpListeners,
    bundle: Option<Endpoint>,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made.
    #[error("cannot create the data directory {}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The datastore cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// There is no authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The server has no identity of its own.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] MtlsError),
    /// A listener is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener for HTTP pages is not to be had.
    #[error(transparent)]
    Pages(#[from] http::ListenError),
    /// The bundle endpoint is not to be had.
    #[error(transparent)]
    Bundle(#[from] EndpointError),
    /// Opening files was cut short.
    #[error(transparent)]
    Blocking(#[from] BlockingError),
}

impl Server {
    /// Starts a server. What it holds it gives back when it cannot start.
    ///
    /// # Errors
    /// Why it does not start.
    pub async fn start(config: ServerConfig, clock: Clock) -> Result<RunningServer, StartError> {
        let (store, keys) = open(&config, &clock).await?;
        let started = Self::start_on(&config, clock, store.clone(), keys).await;
        if started.is_err() {
            store.shutdown().await;
        }
        started
    }

    async fn start_on(
        config: &ServerConfig,
        clock: Clock,
        store: Store,
        keys: KeyStore,
    ) -> Result<RunningServer, StartError> {
        let (watchers, propagation) = ca::propagation::propagation();
        let (ca, rotation) =
            Ca::start(ca_config(config), keys, store.clone(), clock.clone(), propagation).await?;
        let identity = Identity::new(config.trust_domain.clone(), ca.clone(), clock.clone())?;
        let parts = Parts::new(config, clock, store, ca, watchers);
        let ca_readiness = CaReadiness::new(&parts.readiness, parts.ca.state());
        let Listeners { agents, private, http, bundle } =
            Listeners::bind(config, &parts, &identity).await?;
        let tls = parts.tls(identity.svid())?;
        let (for_agents, for_local) = parts.gatehouses();
        let keepers = parts.keepers();
        let running = RunningServer {
            local_addr: agents.local_addr,
            socket_path: config.socket_path.clone(),
            health_addr: http.addresses.0,
            metrics_addr: http.addresses.1,
            bundle_addr: bundle.as_ref().map(|endpoint| endpoint.local_addr),
            readiness: parts.readiness,
            shutdown: parts.shutdown,
            tasks: TaskSet::new(),
            store: parts.store,
            ca: parts.ca,
        };
        let (tasks, shutdown) = (&running.tasks, &running.shutdown);
        private.serve(for_local, tasks, shutdown)?;
        // From here on nothing fails: a task that runs has a server that ends it.
        agents.serve(for_agents, tls, tasks, shutdown);
        http.serve(tasks, shutdown);
        if let Some(endpoint) = bundle {
            tasks.spawn("bundle endpoint", endpoint.run(tasks.clone(), shutdown.clone()));
        }
        tasks.spawn("authority rotation", rotation.run(shutdown.clone()));
        tasks.spawn("server identity", identity.run(shutdown.clone()));
        tasks.spawn("readiness", ca_readiness.run(shutdown.clone()));
        for keeper in keepers {
            tasks.spawn("trust bundle publication", keeper.run(shutdown.clone()));
        }
        let (store, end) = (running.store.clone(), shutdown.clone());
        tasks.spawn("store pruning", async move { store.run(end).await });
        tracing::info!(
            address = %running.local_addr,
            socket = %running.socket_path.display(),
            trust_domain = %config.trust_domain,
            "server serves"
        );
        Ok(running)
    }
}

impl Listeners {
    async fn bind(
        config: &ServerConfig,
        parts: &Parts,
        identity: &Identity,
    ) -> Result<Self, StartError> {
        let agents = AgentListener::bind(config.bind)?;
        let private = PrivateListener::bind(&config.socket_path).await?;
        let http = HttpListeners::bind(config, &parts.readiness, parts.metrics()).await?;
        let bundle = match &config.bundle_endpoint {
            Some(endpoint) => {
                let (store, trust_domain) = (parts.store.clone(), config.trust_domain.clone());
                Some(Endpoint::bind(endpoint, identity.svid(), store, trust_domain).await?)
            }
            None => None,
        };
        Ok(Self { agents, private, http, bundle })
    }
}

impl RunningServer {
    /// Ends the server: GOAWAY to everybody, tasks, store; 10 s at most.
    pub async fn shutdown(self) {
        self.shutdown.request();
        let left = self.tasks.finish(FINISH_WITHIN).await;
        if left > 0 {
            tracing::warn!(tasks = left, "tasks did not end in time");
        }
        self.store.shutdown().await;
        tracing::info!("server ended");
    }

    /// The authorities, as they change.
    #[must_use]
    pub fn ca_state(&self) -> Reader<CaState> {
        self.ca.state()
    }

    /// What the server stores.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What the server lacks to be ready.
    #[must_use]
    pub const fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

/// Opens the store, and then the keys: the store's lock tells whether another server has them too.
async fn open(config: &ServerConfig, clock: &Clock) -> Result<(Store, KeyStore), StartError> {
    let (data_dir, clock) = (config.data_dir.clone(), clock.clone());
    let data_store = store_config(&config.data_store);
    let store = TaskSet::blocking(move || {
        make_dir(&data_dir, DATA_DIR_MODE)
            .map_err(|source| StartError::DataDir { path: data_dir, source })?;
        Store::open(&data_store, clock).map_err(StartError::from)
    })
    .await??;
    match open_keys(config.key_manager.clone()).await {
        Ok(keys) => Ok((store, keys)),
        Err(error) => {
            store.shutdown().await;
            Err(error)
        }
    }
}

async fn open_keys(key_manager: KeyManager) -> Result<KeyStore, StartError> {
    Ok(match key_manager {
        KeyManager::Memory => KeyStore::in_memory(),
        KeyManager::Disk { keys_path } => {
            TaskSet::blocking(move || KeyStore::open(&keys_path)).await??
        }
        KeyManager::KubernetesSecret { kube_config_file, namespace, name } => {
            let access = kube_config_file.map_or(Access::InCluster, Access::Kubeconfig);
            KeyStore::in_secret(KubeClient::new(access), namespace, name).await?
        }
    })
}

/// The database's path out of what SQLite takes: a path, or a `file:` URI with options.
fn store_config(data_store: &DataStore) -> StoreConfig {
    let DataStore::Sqlite { connection_string } = data_store;
    let path = connection_string.strip_prefix("file:").unwrap_or(connection_string);
    match path.split('?').next().unwrap_or(path) {
        "" | ":memory:" => StoreConfig::Memory,
        path => StoreConfig::Sqlite(PathBuf::from(path)),
    }
}

fn ca_config(config: &ServerConfig) -> ca::CaConfig {
    let subject = &config.ca.subject;
    let attribute = |kind: AttributeKind, value: &String| (kind, value.clone());
    let countries = subject.country.iter().map(|value| attribute(AttributeKind::Country, value));
    let organizations =
        subject.organization.iter().map(|value| attribute(AttributeKind::Organization, value));
    let common_name =
        subject.common_name.iter().map(|value| attribute(AttributeKind::CommonName, value));
    ca::CaConfig {
        trust_domain: config.trust_domain.clone(),
        ca_ttl: config.ca.ttl,
        ca_key_type: config.ca.key_type,
        ca_subject: Name::new(countries.chain(organizations).chain(common_name).collect()),
        default_x509_svid_ttl: config.x509_svid_ttl,
        agent_ttl: config.agent_ttl,
        propagation_time: ca::config::DEFAULT_PROPAGATION_TIME,
    }
}
