//! The serving half of an agent without a server: a test says what entries, SVIDs and bundles there
//! are, and real clients connect to the real socket.

use super::ca::TestCa;
use crate::{
    agent::{
        cache::{
            BatchSize, Cache, CacheConfig, EntryWriter, Signed, SvidWriter, Update, UpdateKind,
        },
        config::{Executable, WorkloadAttestor},
        metrics::ServeMetrics,
        serve::{
            caller::{Callers, Serving},
            secret::{SecretNames, Validation},
            socket,
        },
        workload::attest::Attestor,
    },
    runtime::{Clock, Shutdown, TaskSet},
    spiffe::{Bundle, Entry, EntryId, EntrySpec, Selector, SpiffeId, X509Svid, entry::Hint},
    transport::{Limits, Takeover},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// A served socket and the writers of what it serves.
pub struct ServedAgent {
    /// The socket's path.
    pub path: PathBuf,
    /// The authority of `example.org`.
    pub ca: TestCa,
    /// Its cache.
    pub cache: Cache,
    /// Says which entries and bundles there are.
    pub entries: EntryWriter,
    /// Hands in SVIDs.
    pub svids: SvidWriter,
    /// What it counts.
    pub metrics: ServeMetrics,
    /// Its clock.
    pub clock: Clock,
    /// Ends it.
    pub shutdown: Shutdown,
    /// Its tasks.
    pub tasks: TaskSet,
    _directory: Option<TempDir>,
}

/// How callers are told apart, and what happens to an agent that serves there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    /// What callers are told apart by.
    pub attestors: Vec<WorkloadAttestor>,
    /// Whether the socket may be another live agent's.
    pub takeover: Takeover,
    /// How many connections there may be.
    pub limits: Limits,
}

impl Default for Manner {
    /// By user and group, alone, and with room for a test that plays a thousand sidecars.
    fn default() -> Self {
        Self {
            attestors: vec![WorkloadAttestor::Unix { executable: Executable::Ignored }],
            takeover: Takeover::Refuse,
            limits: Limits { connections: 10_000, per_process: 10_000 },
        }
    }
}

/// How long the SVIDs live that [`ServedAgent::sign_due`] signs.
const LIFE: Duration = Duration::from_secs(3_600);

impl ServedAgent {
    /// Serves nothing yet: the cache is not even synced.
    pub async fn start() -> Self {
        let ca = TestCa::new("example.org", Clock::system().now());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("public/socket");
        let mut agent = Self::start_at(&path, ca, Manner::default()).await;
        agent._directory = Some(directory);
        agent
    }

    /// As [`ServedAgent::start`], at `path`, for workloads of `ca`'s trust domain.
    pub async fn start_at(path: &Path, ca: TestCa, manner: Manner) -> Self {
        let clock = Clock::system();
        let (cache, entries, svids) = Cache::new(CacheConfig {
            trust_domain: ca.trust_domain().clone(),
            clock: clock.clone(),
            max_svids: 10_000,
        });
        let (metrics, shutdown, tasks) = (ServeMetrics::new(), Shutdown::new(), TaskSet::new());
        let serving = Serving {
            cache: cache.clone(),
            attestor: Attestor::new(&manner.attestors, &clock),
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
            callers: Callers::default(),
        };
        let Manner { takeover, limits, .. } = manner;
        socket::start(path, takeover, limits, Arc::new(serving), &tasks).await.unwrap();
        let (path, _directory) = (path.to_owned(), None);
        Self { path, ca, cache, entries, svids, metrics, clock, shutdown, tasks, _directory }
    }

    /// As [`ServedAgent::start`], synced, with one identity `spiffe://example.org/w` for this process.
    pub async fn start_with_identity() -> Self {
        let agent = Self::start().await;
        agent.apply(UpdateKind::Snapshot, vec![agent.entry("w")], vec![agent.ca.bundle(1, &[])]);
        agent.sign_due();
        agent
    }

    /// The ID `spiffe://example.org/<name>`.
    #[must_use]
    pub fn id(&self, name: &str) -> SpiffeId {
        self.ca.trust_domain().member(&format!("/{name}")).unwrap()
    }

    /// An entry with that ID that matches this process.
    #[must_use]
    pub fn entry(&self, name: &str) -> Entry {
        let uid = rustix::process::geteuid().as_raw();
        self.entry_for(name, &[&format!("unix:uid:{uid}")])
    }

    /// An entry with that ID for processes that have `selectors`.
    #[must_use]
    pub fn entry_for(&self, name: &str, selectors: &[&str]) -> Entry {
        let spec = EntrySpec {
            spiffe_id: self.id(name),
            parent_id: self.id("node"),
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
        };
        let id = EntryId::parse(&name.replace('/', ".")).unwrap();
        Entry { id, revision: 0, created_at: 1, spec }
    }

    /// What a server would say.
    pub fn apply(&self, kind: UpdateKind, entries: Vec<Entry>, bundles: Vec<Bundle>) {
        let (removed_entries, removed_bundles) = (Vec::new(), Vec::new());
        self.entries.apply(Update { kind, entries, removed_entries, bundles, removed_bundles });
    }

    /// Removes an entry.
    pub fn remove(&self, name: &str) {
        self.entries.apply(Update {
            kind: UpdateKind::Delta,
            entries: Vec::new(),
            removed_entries: vec![EntryId::parse(name).unwrap()],
            bundles: Vec::new(),
            removed_bundles: Vec::new(),
        });
    }

    /// Signs what is due, as the renewal task would.
    pub fn sign_due(&self) {
        for entry in self.svids.take_due(BatchSize::uniform(10_000)) {
            self.sign(&self.ca, &entry);
        }
    }

    /// Adds an entry with the ID `spiffe://example.org/<name>` for processes that have `selectors`.
    pub fn register(&self, name: &str, selectors: &[&str]) -> Arc<Entry> {
        let entry = self.entry_for(name, selectors);
        self.apply(UpdateKind::Delta, vec![entry.clone()], Vec::new());
        Arc::new(entry)
    }

    /// Takes `bundle` as the newest of its trust domain.
    pub fn trust(&self, bundle: Bundle) {
        self.apply(UpdateKind::Delta, Vec::new(), vec![bundle]);
    }

    /// Waits until every stream that holds the own bundle has acknowledged the one of `sequence`.
    pub async fn served(&self, sequence: u64) {
        let mut served = self.cache.served_sequence().reader();
        let acknowledged = served.wait_for(|served| *served >= sequence);
        tokio::time::timeout(Duration::from_secs(10), acknowledged).await.unwrap().unwrap();
    }

    /// Gives every entry a new SVID by `ca`, due or not.
    pub fn rotate(&self, ca: &TestCa) {
        for entry in self.cache.snapshot().entries {
            self.sign(ca, &entry);
        }
    }

    /// Gives `entry` a new SVID by `ca`.
    pub fn sign(&self, ca: &TestCa, entry: &Arc<Entry>) -> X509Svid {
        let svid = ca.svid(&entry.spec.spiffe_id, LIFE);
        let (now, own) = (self.clock.now(), self.cache.own_bundle().unwrap());
        let entry = Arc::clone(entry);
        let signed = Signed::verify(entry, svid.clone(), now + LIFE / 2, &own, now).unwrap();
        assert_eq!(self.svids.install(vec![signed]), []);
        svid
    }

    /// Ends every stream, as an agent does on SIGTERM, and waits for that.
    pub async fn stop(&self) {
        self.shutdown.request();
        let left = self.tasks.finish(Duration::from_secs(10)).await;
        assert_eq!(left, 0, "tasks of the serving half did not end");
    }
}
