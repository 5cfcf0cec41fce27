//! A trust domain on paper: what is durable (keys and store), and authorities started upon it.

use finial::{
    runtime::{Clock, clock::from_unix_secs},
    server::{
        ca::{Ca, CaConfig, CaError, KeyStore, Propagation, Rotation, SignError, propagation},
        store::{Store, StoreConfig},
    },
    spiffe::{Bundle, Entry, EntryId, EntrySpec, Selector, SpiffeId, TrustDomain, entry::Hint},
    x509::{
        Certificate, KeyPair, KeyType,
        name::{AttributeKind, Name},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// When the tests begin: some whole second.
pub(crate) const BEGIN: i64 = 1_795_366_672;
pub(crate) const HOUR: i64 = 3_600;

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

pub(crate) fn config(ca_ttl_secs: i64) -> CaConfig {
    CaConfig {
        trust_domain: trust_domain(),
        ca_ttl: Duration::from_secs(ca_ttl_secs.unsigned_abs()),
        ca_key_type: KeyType::EcP256,
        ca_subject: Name::new(vec![
            (AttributeKind::Country, "US".to_owned()),
            (AttributeKind::Organization, "SPIFFE".to_owned()),
        ]),
        default_x509_svid_ttl: Duration::from_secs(3_600),
        agent_ttl: Duration::from_secs(3_600),
        propagation_time: Duration::from_secs(10),
    }
}

pub(crate) fn key_file(directory: &Path) -> PathBuf {
    directory.join("keys.json")
}

/// What survives a restart of the server.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) config: CaConfig,
    pub(crate) clock: Clock,
    pub(crate) keys: KeyStore,
    pub(crate) store: Store,
}

impl World {
    pub(crate) fn new(ca_ttl_secs: i64) -> Self {
        let clock = Clock::anchored_at(from_unix_secs(BEGIN));
        let store = Store::open(&StoreConfig::Memory, clock.clone()).unwrap();
        Self { config: config(ca_ttl_secs), clock, keys: KeyStore::in_memory(), store }
    }

    /// What is on disk, looked at so many seconds after the beginning.
    pub(crate) fn on_disk(directory: &Path, ca_ttl_secs: i64, elapsed: i64) -> Self {
        let clock = Clock::anchored_at(from_unix_secs(BEGIN + elapsed));
        let database = StoreConfig::Sqlite(directory.join("datastore.sqlite3"));
        let store = Store::open(&database, clock.clone()).unwrap();
        let keys = KeyStore::open(&key_file(directory)).unwrap();
        Self { config: config(ca_ttl_secs), clock, keys, store }
    }

    /// Starts the authority while no agent is connected.
    pub(crate) async fn start(&self) -> Result<(Ca, Rotation), CaError> {
        self.start_with(propagation::propagation().1).await
    }

    pub(crate) async fn start_with(
        &self,
        propagation: Propagation,
    ) -> Result<(Ca, Rotation), CaError> {
        let (config, keys) = (self.config.clone(), self.keys.clone());
        Ca::start(config, keys, self.store.clone(), self.clock.clone(), propagation).await
    }

    pub(crate) fn bundle(&self) -> Arc<Bundle> {
        self.store.bundle(&self.config.trust_domain).unwrap()
    }

    /// Whether a peer with today's bundle accepts the chain now.
    pub(crate) fn accepts(&self, chain: &[Certificate]) -> bool {
        self.bundle().anchors().verify(chain, self.clock.now()).is_ok()
    }

    /// Seconds since the beginning.
    pub(crate) fn elapsed(&self) -> i64 {
        self.clock.unix_now() - BEGIN
    }
}

pub(crate) fn entry(id: &str) -> Entry {
    Entry {
        id: EntryId::parse(id).unwrap(),
        revision: 0,
        created_at: BEGIN,
        spec: EntrySpec {
            spiffe_id: SpiffeId::parse("spiffe://example.org/w").unwrap(),
            parent_id: SpiffeId::parse("spiffe://example.org/spire/agent/join_token/1").unwrap(),
            selectors: [Selector::new("unix", "uid:1000").unwrap()].into_iter().collect(),
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
        },
    }
}

/// Signs a new key for a workload.
pub(crate) fn sign(ca: &Ca) -> Result<Vec<Certificate>, SignError> {
    let key = KeyPair::generate(KeyType::EcP256).unwrap();
    ca.sign_workload(&entry("w"), key.public_key().clone())
}

/// Signs a new key for an agent.
pub(crate) fn sign_agent(ca: &Ca) -> Result<Vec<Certificate>, SignError> {
    let key = KeyPair::generate(KeyType::EcP256).unwrap();
    ca.sign_agent(&entry("w").spec.parent_id, key.public_key().clone())
}
