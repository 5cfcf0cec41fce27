//! What the server is like and what it was asked. Connections and calls are made of it.

use crate::{
    runtime::{Clock, Publisher, Reader, Shutdown, TaskSet},
    spiffe::{Bundle, Entry, SpiffeId, svid::leaf_subject},
    testing::ca::TestCa,
    transport::status::Reason,
    wire::{proto::finial::agent::v1::WatchEvent, proto::spire::api::types, svid},
    x509::{
        key::PublicKey,
        lint,
        template::{LeafTemplate, Validity},
    },
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tonic::Status;

/// A running server. Clones are the same server.
#[derive(Clone)]
pub struct SpireServer(pub(super) Arc<Shared>);

/// What an agent did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Connected, showing the SVID with this serial number or none.
    Connect(Option<String>),
    /// Attested with this payload.
    Attest(String),
    /// Renewed its own SVID.
    Renew,
    /// Asked for the own bundle.
    Bundle,
    /// Asked for the bundle of this trust domain.
    FederatedBundle(String),
    /// Opened SyncAuthorizedEntries.
    Sync,
    /// Asked for so many entries on it.
    SyncIds(usize),
    /// Opened the watch stream.
    Watch,
    /// Said on it which bundle it serves.
    Serves(u64),
    /// Had SVIDs signed for these entries.
    Sign(Vec<String>),
    /// Said its version.
    Status,
}

/// What the server is like. Change it by [`SpireServer::set`].
pub struct Behaviour {
    /// Whether anybody answers.
    pub is_reachable: bool,
    /// Whether there is a watch stream.
    pub has_watch: bool,
    /// Denies every call of an attested agent.
    pub denial: Option<Reason>,
    /// What AttestAgent answers, one after the other; then it succeeds.
    pub attest_failures: VecDeque<Status>,
    /// What RenewAgent answers, one after the other; then it succeeds.
    pub renew_failures: VecDeque<Status>,
    /// What signing these entries answers.
    pub sign_failures: BTreeMap<String, Status>,
    /// Whether attested agents may attest again.
    pub is_reattestable: bool,
    /// The agent's name behind `/spire/agent/`.
    pub agent_name: String,
    /// How long an agent's SVID lives.
    pub agent_life: Duration,
    /// How long a workload's SVID lives.
    pub svid_life: Duration,
    /// How far the server's clock is ahead of the agent's.
    pub clock_ahead: Duration,
    /// Entries per message.
    pub page: usize,
    /// The entries that the agent may use.
    pub entries: BTreeMap<String, Entry>,
    /// The own bundle.
    pub bundle: Bundle,
    /// Bundles of other trust domains.
    pub federated: BTreeMap<String, Bundle>,
}

pub(super) struct Shared {
    pub(super) clock: Clock,
    ca: Mutex<Arc<TestCa>>,
    behaviour: Mutex<Behaviour>,
    started: Instant,
    log: Publisher<Vec<(Duration, Asked)>>,
    /// Ends the connections that there are.
    pub(super) hang_up: Mutex<Shutdown>,
    pub(super) watchers: Mutex<Vec<mpsc::Sender<Result<WatchEvent, Status>>>>,
    pub(super) tasks: TaskSet,
}

impl SpireServer {
    /// A server of `example.org` that lets everybody attest and knows no entries. Its certificates
    /// are valid around the time of `clock`.
    #[must_use]
    pub fn start(clock: &Clock) -> Self {
        let ca = TestCa::new("example.org", clock.now());
        let behaviour = Behaviour {
            is_reachable: true,
            has_watch: true,
            denial: None,
            attest_failures: VecDeque::new(),
            renew_failures: VecDeque::new(),
            sign_failures: BTreeMap::new(),
            is_reattestable: false,
            agent_name: "join_token/one".to_owned(),
            agent_life: Duration::from_secs(3_600),
            svid_life: Duration::from_secs(3_600),
            clock_ahead: Duration::ZERO,
            page: 500,
            entries: BTreeMap::new(),
            bundle: ca.bundle(1, &[]),
            federated: BTreeMap::new(),
        };
        Self(Arc::new(Shared {
            clock: clock.clone(),
            ca: Mutex::new(Arc::new(ca)),
            behaviour: Mutex::new(behaviour),
            started: Instant::now(),
            log: Publisher::new(Vec::new()),
            hang_up: Mutex::new(Shutdown::new()),
            watchers: Mutex::default(),
            tasks: TaskSet::new(),
        }))
    }

    /// The authority that signs now.
    #[must_use]
    pub fn ca(&self) -> Arc<TestCa> {
        Arc::clone(&self.0.ca.lock())
    }

    /// Signs with `ca` from now on; its place in the bundle is the caller's business.
    pub fn sign_with(&self, ca: TestCa) {
        *self.0.ca.lock() = Arc::new(ca);
    }

    /// Changes how the server answers. Watchers are told nothing: see [`SpireServer::push`].
    pub fn set<T>(&self, change: impl FnOnce(&mut Behaviour) -> T) -> T {
        change(&mut self.0.behaviour.lock())
    }

    /// Sends an event to everybody who watches.
    pub async fn push(&self, event: WatchEvent) {
        let watchers = self.0.watchers.lock().clone();
        for watcher in watchers {
            // One that has gone is of no interest.
            let _ended = watcher.send(Ok(event.clone())).await;
        }
    }

    /// Ends every connection, without a word.
    pub fn hang_up(&self) {
        self.0.watchers.lock().clear();
        std::mem::take(&mut *self.0.hang_up.lock()).request();
    }

    /// Goes away: hangs up and answers nobody until [`SpireServer::come_back`].
    pub fn go_away(&self) {
        self.set(|server| server.is_reachable = false);
        self.hang_up();
    }

    /// Answers again.
    pub fn come_back(&self) {
        self.set(|server| server.is_reachable = true);
    }

    /// What was asked so far, each with the time since the start.
    #[must_use]
    pub fn log(&self) -> Vec<(Duration, Asked)> {
        self.0.log.current()
    }

    /// The same, as it grows.
    #[must_use]
    pub fn log_reader(&self) -> Reader<Vec<(Duration, Asked)>> {
        self.0.log.reader()
    }

    /// How often something was asked.
    #[must_use]
    pub fn count(&self, is_meant: impl Fn(&Asked) -> bool) -> usize {
        self.log().iter().filter(|(_, asked)| is_meant(asked)).count()
    }

    /// Waits until something has been asked so often.
    pub async fn asked(&self, times: usize, is_meant: impl Fn(&Asked) -> bool + Send + Sync) {
        let mut log = self.log_reader();
        let seen = |log: &Vec<(Duration, Asked)>| {
            log.iter().filter(|(_, asked)| is_meant(asked)).count() >= times
        };
        log.wait_for(seen).await.unwrap();
    }

    pub(super) fn note(&self, asked: Asked) {
        self.0.log.update(|log| {
            log.push((self.0.started.elapsed(), asked));
            true
        });
    }

    pub(super) fn sign(&self, id: &SpiffeId, key: &PublicKey, life: Duration) -> types::X509svid {
        let ahead = self.set(|server| server.clock_ahead);
        let (ca, now) = (self.ca(), self.0.clock.now() + ahead);
        let template = LeafTemplate {
            subject: leaf_subject(None),
            uri: id.to_string(),
            dns_names: Vec::new(),
            public_key: key.clone(),
            validity: Validity { not_before: now - Duration::from_secs(10), not_after: now + life },
        };
        let linted = lint::leaf(template, ca.authority().certificate()).unwrap();
        let leaf = ca.authority().sign(linted).unwrap();
        svid::to_wire(id, &[leaf], "")
    }
}

/// An entry of `example.org` for whoever has user id 7, as a server would list it.
#[must_use]
pub fn entry(name: &str, revision: i64) -> Entry {
    use crate::spiffe::{EntryId, EntrySpec, Selector, TrustDomain, entry::Hint};
    let trust_domain = TrustDomain::parse("example.org").unwrap();
    let spec = EntrySpec {
        spiffe_id: trust_domain.member(&format!("/{name}")).unwrap(),
        parent_id: trust_domain.member("/spire/agent/join_token/one").unwrap(),
        selectors: [Selector::parse("unix:uid:7").unwrap()].into_iter().collect(),
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
    Entry { id: EntryId::parse(name).unwrap(), revision, created_at: 1, spec }
}
