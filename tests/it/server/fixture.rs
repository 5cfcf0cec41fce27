//! A server in a temporary directory, and raw clients of it.

use finial::{
    runtime::{Clock, Publisher},
    server::{
        config::{
            CaConfig, CaSubject, DataStore, KeyManager, NodeAttestor, RateLimit, ServerConfig,
        },
        start::{RunningServer, Server, StartError},
        store::{Created, NewEntry},
    },
    spiffe::{Bundle, Entry, EntrySpec, Selector, SpiffeId, TrustDomain, X509Svid, entry::Hint},
    transport::{
        channel::{self, Address, ConnectError},
        verify::{ServerTrust, Trust},
    },
    wire::{
        self,
        proto::spire::api::{
            server::{
                agent::v1::{
                    AgentX509svidParams, AttestAgentRequest, CreateJoinTokenRequest,
                    agent_client::AgentClient,
                    attest_agent_request::{Params, Step},
                    attest_agent_response,
                },
                bundle::v1::{GetBundleRequest, bundle_client::BundleClient},
            },
            types::AttestationData,
        },
    },
    x509::{KeyPair, KeyType, csr, name::Name},
};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

/// A running server.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) server: RunningServer,
    pub(crate) clock: Clock,
}

/// An attested agent.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) svid: Arc<X509Svid>,
}

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

pub(crate) fn id(path: &str) -> SpiffeId {
    trust_domain().member(path).unwrap()
}

/// A configuration that keeps everything in `dir` and listens on a port of the system's choice.
pub(crate) fn config(dir: &Path) -> ServerConfig {
    ServerConfig {
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        socket_path: dir.join("private/api.sock"),
        trust_domain: trust_domain(),
        data_dir: dir.join("data"),
        log: finial::config::log::Log::default(),
        ca: CaConfig {
            ttl: Duration::from_secs(86_400),
            key_type: KeyType::EcP256,
            subject: CaSubject::default(),
        },
        x509_svid_ttl: Duration::from_secs(3_600),
        agent_ttl: Duration::from_secs(3_600),
        rate_limit: RateLimit { attestation: false, signing: true },
        health_checks: None,
        prometheus: None,
        data_store: DataStore::Sqlite {
            connection_string: dir.join("data/datastore.sqlite3").display().to_string(),
        },
        key_manager: KeyManager::Disk { keys_path: dir.join("data/keys.json") },
        node_attestors: vec![NodeAttestor::JoinToken],
        bundle_endpoint: None,
        bundle_maps: Vec::new(),
    }
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let server = Server::start(config(dir.path()), clock.clone()).await.unwrap();
        Self { dir, server, clock }
    }

    /// Ends the server and starts another one on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let config = config(self.dir.path());
        self.restart_with(config).await
    }

    pub(crate) async fn restart_with(self, config: ServerConfig) -> Self {
        let Self { dir, server, clock } = self;
        server.shutdown().await;
        let server = Server::start(config, clock.clone()).await.unwrap();
        Self { dir, server, clock }
    }

    pub(crate) async fn second(&self) -> Result<RunningServer, StartError> {
        Server::start(config(self.dir.path()), self.clock.clone()).await
    }

    pub(crate) fn address(&self) -> Address {
        let address = self.server.local_addr;
        Address { host: address.ip().to_string(), port: address.port() }
    }

    pub(crate) fn bundle(&self) -> Arc<Bundle> {
        self.server.store().bundle(&trust_domain()).unwrap()
    }

    pub(crate) async fn local(&self) -> Channel {
        channel::connect_uds(&self.server.socket_path).await.unwrap()
    }

    pub(crate) async fn anonymous(&self) -> Channel {
        self.connect(None).await.unwrap()
    }

    pub(crate) async fn connect_as(&self, svid: &Arc<X509Svid>) -> Channel {
        self.connect(Some(Arc::clone(svid))).await.unwrap()
    }

    pub(crate) async fn connect(
        &self,
        svid: Option<Arc<X509Svid>>,
    ) -> Result<Channel, ConnectError> {
        connect(&self.address(), self.bundle(), svid).await
    }

    pub(crate) async fn token(&self) -> String {
        let mut client = AgentClient::new(self.local().await);
        let request = CreateJoinTokenRequest { ttl: 600, ..CreateJoinTokenRequest::default() };
        client.create_join_token(request).await.unwrap().into_inner().value
    }

    /// A new agent by a new token.
    pub(crate) async fn agent(&self) -> Agent {
        let token = self.token().await;
        attest(self.anonymous().await, &token).await.unwrap()
    }

    pub(crate) async fn create_entry(&self, spec: EntrySpec) -> Arc<Entry> {
        let created = self.server.store().create_entries(vec![NewEntry { id: None, spec }]).await;
        match created.unwrap().into_iter().next().unwrap().unwrap() {
            Created::New(entry) | Created::Similar(entry) => entry,
        }
    }
}

pub(crate) async fn connect(
    address: &Address,
    bundle: Arc<Bundle>,
    svid: Option<Arc<X509Svid>>,
) -> Result<Channel, ConnectError> {
    let trust = Trust::in_bundle(Publisher::new(bundle).reader());
    let server = ServerTrust::Verified { expected: trust_domain().server_id(), trust };
    let svid = svid.map(|svid| Publisher::new(svid).reader());
    channel::connect(address, server, svid, Clock::system()).await
}

/// An entry of workload `path` under `parent`.
pub(crate) fn spec(parent: &SpiffeId, path: &str) -> EntrySpec {
    EntrySpec {
        spiffe_id: id(path),
        parent_id: parent.clone(),
        selectors: [Selector::parse("unix:uid:1000").unwrap()].into_iter().collect(),
        x509_svid_ttl_secs: 0,
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
    }
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate(KeyType::EcP256).unwrap()
}

pub(crate) fn csr(key: &KeyPair) -> Vec<u8> {
    csr::create(key, &Name::default(), None).unwrap()
}

/// Attests with a new key.
pub(crate) async fn attest(channel: Channel, token: &str) -> Result<Agent, Status> {
    attest_with(channel, token, Arc::new(key())).await
}

pub(crate) async fn attest_with(
    channel: Channel,
    token: &str,
    key: Arc<KeyPair>,
) -> Result<Agent, Status> {
    let result = send_attestation(channel, "join_token", token, csr(&key)).await?;
    let svid = result.svid.unwrap();
    let id = wire::id::spiffe_id(svid.id.as_ref().unwrap()).unwrap();
    let chain = wire::svid::chain(&svid).unwrap();
    let svid = Arc::new(X509Svid::from_key_pair(&id, chain, &key).unwrap());
    Ok(Agent { svid })
}

pub(crate) async fn send_attestation(
    channel: Channel,
    kind: &str,
    payload: &str,
    csr: Vec<u8>,
) -> Result<attest_agent_response::Result, Status> {
    let data =
        AttestationData { r#type: kind.to_owned(), payload: payload.as_bytes().to_vec().into() };
    let params = Params { data: Some(data), params: Some(AgentX509svidParams { csr: csr.into() }) };
    let request = AttestAgentRequest { step: Some(Step::Params(params)) };
    let requests = tokio_stream::once(request);
    let mut answers = AgentClient::new(channel).attest_agent(requests).await?.into_inner();
    match answers.message().await?.unwrap().step.unwrap() {
        attest_agent_response::Step::Result(result) => Ok(result),
        attest_agent_response::Step::Challenge(_) => panic!("a token needs no challenge"),
    }
}

/// The bundle as the server gives it to anybody.
pub(crate) async fn fetch_bundle(channel: Channel) -> Bundle {
    let answer = BundleClient::new(channel).get_bundle(GetBundleRequest::default()).await.unwrap();
    wire::bundle::bundle(answer.get_ref()).unwrap()
}
