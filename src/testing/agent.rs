//! The serving half of an agent, real from the socket to the cache; what a server would say and sign is
//! the test's own decision, right or wrong.

use super::ca::TestCa;
use crate::{
    agent::{
        cache::{Cache, CacheConfig, EntryWriter, Signed, SvidWriter, Update, UpdateKind},
        config::{Executable, WorkloadAttestor},
        metrics::ServeMetrics,
        serve::{
            caller::Serving,
            secret::{SecretNames, Validation},
            socket::{self, Serves},
        },
        workload::Attestor,
    },
    runtime::{Clock, Shutdown, TaskSet},
    spiffe::{Bundle, Entry, EntryId, EntrySpec, Selector, SpiffeId, X509Svid, entry::Hint},
    transport::{Limits, Takeover},
};
use parking_lot::Mutex;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A served workload socket. Dropping it ends its streams.
pub struct ServingAgent {
    /// Where it listens.
    pub path: PathBuf,
    /// What it serves from.
    pub cache: Cache,
    /// Counts what it serves.
    pub metrics: ServeMetrics,
    /// Tells it the time.
    pub clock: Clock,
    /// Says which entries and bundles there are.
    pub entries: EntryWriter,
    /// Hands in SVIDs.
    pub svids: SvidWriter,
    /// Ends it.
    pub shutdown: Shutdown,
    /// Its tasks.
    pub tasks: TaskSet,
    registered: Mutex<Vec<Entry>>,
}

impl ServingAgent {
    /// Serves `path` for members of `ca`'s trust domain, whose bundle it knows, and no entries yet.
    /// Workloads are told apart by user, group and executable.
    pub async fn start(path: &Path, ca: &TestCa) -> Self {
        let agent = Self::start_unsynced(path, ca, Takeover::Refuse).await;
        agent.trust(ca.bundle(1, &[]));
        agent.list();
        agent
    }

    /// As [`ServingAgent::start`], of an agent that knows nothing yet, and may take over from another.
    pub async fn start_unsynced(path: &Path, ca: &TestCa, takeover: Takeover) -> Self {
        let (clock, shutdown, tasks) = (Clock::system(), Shutdown::new(), TaskSet::new());
        let (cache, entries, svids) = Cache::new(CacheConfig {
            trust_domain: ca.trust_domain().clone(),
            clock: clock.clone(),
            max_svids: 1_000,
        });
        let metrics = ServeMetrics::new();
        let unix = WorkloadAttestor::Unix { executable: Executable::Path };
        let serving = Arc::new(Serving {
            cache: cache.clone(),
            attestor: Attestor::new(&[unix], &clock),
            names: SecretNames {
                svid: "default".into(),
                bundle: "ROOTCA".into(),
                all_bundles: "ALL".into(),
                federated_by_default: true,
            },
            validation: Validation::Spiffe,
            metrics: metrics.clone(),
            clock: clock.clone(),
            shutdown: shutdown.clone(),
        });
        // A test's own process plays hundreds of sidecars.
        let limits = Limits { connections: 10_000, per_process: 10_000 };
        let health = socket::start(path, takeover, limits, serving, &tasks).await.unwrap();
        health.set_serving(Serves::Yes).await;
        let (path, registered) = (path.to_owned(), Mutex::default());
        Self { path, cache, metrics, clock, entries, svids, registered, shutdown, tasks }
    }

    /// Adds an entry that gives `spiffe_id` to workloads with all of `selectors`. Not signed yet.
    pub fn register(&self, spiffe_id: &str, selectors: &[&str]) -> Entry {
        let mut registered = self.registered.lock();
        let entry = Entry {
            id: EntryId::parse(&format!("entry-{}", registered.len())).unwrap(),
            revision: 0,
            created_at: i64::try_from(registered.len()).unwrap(),
            spec: spec(spiffe_id, selectors),
        };
        registered.push(entry.clone());
        drop(registered);
        self.apply(vec![entry.clone()], Vec::new());
        entry
    }

    /// Takes `bundle` as the newest of its trust domain.
    pub fn trust(&self, bundle: Bundle) {
        self.apply(Vec::new(), vec![bundle]);
    }

    /// Says that the entries so far are all there are, as the first answer of a server does.
    pub fn list(&self) {
        let entries = self.registered.lock().clone();
        self.entries.apply(Update { kind: UpdateKind::Snapshot, ..update(entries, Vec::new()) });
    }

    /// Signs a new SVID for each entry with `ca` and pushes them; they must fit the bundle.
    pub fn rotate(&self, ca: &TestCa) -> Vec<X509Svid> {
        let life = Duration::from_secs(3_600);
        let registered = self.registered.lock().clone();
        registered.into_iter().map(|entry| self.install(entry, ca, life)).collect()
    }

    /// Signs a new SVID for `entry` with `ca` and pushes it.
    pub fn sign(&self, entry: &Entry, ca: &TestCa, life: Duration) -> X509Svid {
        self.install(entry.clone(), ca, life)
    }

    /// Waits until every stream that holds the bundle has acknowledged the one of `sequence`.
    pub async fn served(&self, sequence: u64) {
        let mut served = self.cache.served_sequence().reader();
        let acknowledged = served.wait_for(|served| *served >= sequence);
        tokio::time::timeout(Duration::from_secs(10), acknowledged).await.unwrap().unwrap();
    }

    fn install(&self, entry: Entry, ca: &TestCa, life: Duration) -> X509Svid {
        let svid = ca.svid(&entry.spec.spiffe_id, life);
        let (id, due) = (entry.id.clone(), svid.not_after());
        let bundle = self.cache.own_bundle().unwrap();
        let signed = self.signed(entry, svid.clone(), due, &bundle);
        let rejected = self.svids.install(vec![signed]);
        assert!(rejected.is_empty(), "{id} was not taken over: {rejected:?}");
        svid
    }

    fn signed(&self, entry: Entry, svid: X509Svid, due: SystemTime, bundle: &Bundle) -> Signed {
        Signed::verify(Arc::new(entry), svid, due, bundle, self.clock.now()).unwrap()
    }

    fn apply(&self, entries: Vec<Entry>, bundles: Vec<Bundle>) {
        self.entries.apply(update(entries, bundles));
    }

    /// Ends every stream, as an agent does on SIGTERM, and waits for that.
    pub async fn stop(self) {
        self.shutdown.request();
        let left = self.tasks.finish(Duration::from_secs(10)).await;
        assert_eq!(left, 0, "tasks of the serving half did not end");
    }
}

impl Drop for ServingAgent {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// What gives `spiffe_id` to workloads with all of `selectors`, under an agent of the same domain.
#[must_use]
pub fn spec(spiffe_id: &str, selectors: &[&str]) -> EntrySpec {
    let spiffe_id = SpiffeId::parse(spiffe_id).unwrap();
    let parent = format!("{}/spire/agent/test", spiffe_id.trust_domain().id());
    EntrySpec {
        parent_id: SpiffeId::parse(&parent).unwrap(),
        spiffe_id,
        selectors: selectors.iter().map(|text| Selector::parse(text).unwrap()).collect(),
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

const fn update(entries: Vec<Entry>, bundles: Vec<Bundle>) -> Update {
    Update {
        kind: UpdateKind::Delta,
        entries,
        removed_entries: Vec::new(),
        bundles,
        removed_bundles: Vec::new(),
    }
}
