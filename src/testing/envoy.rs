//! Two real Envoys under a load that notices every broken handshake, and what can be asked of them.

use super::{
    ca::TestCa,
    serving::{Manner, ServedAgent},
};
use crate::{
    agent::{
        cache::UpdateKind,
        config::{Executable, WorkloadAttestor},
    },
    dev::{
        envoy::{
            SdsApi, Stats,
            binary::Binary,
            bootstrap::{CLUSTER, LISTENER},
            certificates,
        },
        load::{Load, Pace},
        mesh::{self, BySide, Mesh, Plan, Side},
    },
    runtime::Clock,
    spiffe::{Entry, SpiffeId, X509Svid},
    transport::Takeover,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;

/// The SPIFFE ID of one side within `example.org`, as Istio forms it.
#[must_use]
pub const fn identity(side: Side) -> &'static str {
    match side {
        Side::Client => "ns/default/sa/client",
        Side::Server => "ns/default/sa/server",
    }
}

/// Where two Envoys and their agent live.
pub struct Lab {
    run: TempDir,
    binaries: TempDir,
    /// What the Envoys are to be; a test may change it before [`Lab::start`].
    pub plan: Plan,
}

/// Two Envoys with their load.
pub struct LoadedMesh {
    /// The Envoys.
    pub mesh: Mesh,
    /// The requests.
    pub load: Load,
    /// The identities of both.
    plan: Plan,
}

/// As fast as two Envoys and four clients can: every moment has handshakes in it.
const PACE: Pace = Pace { clients: 4, rest: Duration::ZERO };
/// An Envoy starts in 0.1 s; ten of them beside a compiler take longer.
const START: Duration = Duration::from_secs(30);
/// A pushed secret is in use after milliseconds; later than this it never will be.
const IN_USE: Duration = Duration::from_secs(10);

impl Lab {
    /// Prepares to start the Envoy at `binary`, under a name of its own for each side in a directory
    /// of `build`, which should be on the same file system.
    pub async fn new(binary: &Path, build: &Path) -> Self {
        let binary = Binary::check(binary).await.unwrap_or_else(|error| {
            panic!("{error}; {} (make test downloads it)", error.hint());
        });
        let run = tempfile::Builder::new().prefix("finial-").tempdir().unwrap();
        let binaries = tempfile::tempdir_in(build).unwrap();
        let plan = Plan {
            binary,
            leash: None,
            directory: run.path().to_owned(),
            binaries: std::fs::canonicalize(binaries.path()).unwrap(),
            sds_sockets: BySide::each(|_| run.path().join("agent.sock")),
            sds_api: SdsApi::Grpc,
            identities: BySide::each(|side| {
                SpiffeId::parse(&format!("spiffe://example.org/{}", identity(side))).unwrap()
            }),
            foreign_names: Vec::new(),
        };
        Self { run, binaries, plan }
    }

    /// The directory of everything that is not an executable.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.run.path()
    }

    /// The socket that the Envoys ask for secrets.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.plan.sds_sockets.client.clone()
    }

    /// The selector that only one side has.
    #[must_use]
    pub fn selector(&self, side: Side) -> String {
        let binaries = std::fs::canonicalize(self.binaries.path()).unwrap();
        format!("unix:path:{}", mesh::executable(&binaries, side).display())
    }

    /// An agent at the Envoys' socket that tells them apart. It knows its bundle and has no entries.
    pub async fn agent(&self) -> ServedAgent {
        let agent = self.unsynced_agent(&self.socket(), Takeover::Refuse).await;
        agent.apply(UpdateKind::Snapshot, Vec::new(), vec![agent.ca.bundle(1, &[])]);
        agent
    }

    /// As [`Lab::agent`], at another socket or in another agent's place, and knowing nothing yet.
    pub async fn unsynced_agent(&self, socket: &Path, takeover: Takeover) -> ServedAgent {
        let ca = TestCa::new("example.org", Clock::system().now());
        let executable = Executable::Path;
        let attestors = vec![WorkloadAttestor::Unix { executable }];
        let manner = Manner { attestors, takeover, ..Manner::default() };
        ServedAgent::start_at(socket, ca, manner).await
    }

    /// Adds an entry for each side.
    #[must_use]
    pub fn register(&self, agent: &ServedAgent) -> BySide<Arc<Entry>> {
        BySide::each(|side| agent.register(identity(side), &[&self.selector(side)]))
    }

    /// Adds an entry for each side and signs for both.
    #[must_use]
    pub fn register_signed(&self, agent: &ServedAgent) -> BySide<Arc<Entry>> {
        let entries = self.register(agent);
        agent.sign_due();
        entries
    }

    /// Starts the Envoys and waits for nothing.
    #[must_use]
    pub fn start(&self) -> Mesh {
        self.plan.start().unwrap()
    }

    /// Starts the Envoys, waits until both are ready and sends requests from then on.
    pub async fn start_loaded(&self) -> LoadedMesh {
        let mut mesh = self.start();
        mesh.ready(START).await.unwrap();
        let load = Load::start(mesh.plain, PACE);
        LoadedMesh { mesh, load, plan: self.plan.clone() }
    }
}

impl LoadedMesh {
    /// Waits until `side` uses `svid`; how long that took.
    pub async fn uses(&self, side: Side, svid: &X509Svid) -> Duration {
        uses(&self.mesh, side, self.plan.identities.of(side), svid).await
    }

    /// Rotates both sides and waits until both use what `ca` has signed.
    pub async fn rotate(&self, agent: &ServedAgent, ca: &TestCa, entries: &BySide<Arc<Entry>>) {
        let svids = BySide::each(|side| agent.sign(ca, entries.of(side)));
        for side in Side::BOTH {
            self.uses(side, svids.of(side)).await;
        }
    }

    /// Waits until `count` more requests were answered or failed.
    pub async fn requests(&self, count: u64) {
        let wanted = self.load.requests() + count;
        self.until("enough requests", || self.load.requests() >= wanted).await;
    }

    /// Waits until `is_true`, which is called `what` when it never comes.
    pub async fn until(&self, what: &str, is_true: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_true() {
            assert!(Instant::now() < deadline, "no {what}; failures: {:?}", self.load.failures());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until everything that can still fail has failed, sends more, and asserts that nothing else
    /// was lost; then ends the load.
    pub async fn no_more_losses(&self) {
        // One request of each client may be under way; more, in case one of them was refused early.
        self.requests(20).await;
        let lost = self.load.failed();
        self.requests(100).await;
        self.load.stop().await;
        assert_eq!(self.load.failed(), lost, "still losing: {:#?}", self.load.failures());
    }

    /// The statistics of one side.
    pub async fn stats(&self, side: Side) -> Stats {
        Stats::read(self.mesh.envoys.of(side).admin()).await.unwrap()
    }

    /// Ends the load and asserts that not one request was lost, that each had a full handshake of its
    /// own, and that no Envoy ever refused a secret. Gives the number of requests.
    pub async fn finish_without_loss(&mut self) -> u64 {
        self.load.stop().await;
        self.mesh.alive().unwrap();
        assert_eq!(self.load.failed(), 0, "requests failed: {:#?}", self.load.failures());
        self.assert_full_handshakes().await;
        for side in Side::BOTH {
            let stats = self.stats(side).await;
            for part in ["update_rejected", "fail_verify", "session_reused"] {
                let found: Vec<_> = stats.nonzero(part).collect();
                assert!(found.is_empty(), "{side:?}: {found:?}");
            }
        }
        self.load.requests()
    }

    /// Asserts that each request had a handshake of its own, which a test that expects losses needs
    /// no less.
    pub async fn assert_full_handshakes(&self) {
        let (sent, received) = (format!("cluster.{CLUSTER}"), format!("listener.{LISTENER}"));
        for (side, scope) in [(Side::Client, sent), (Side::Server, received)] {
            let handshakes = self.stats(side).await.value(&format!("{scope}.ssl.handshake"));
            let answered = self.load.requests() - self.load.failed();
            assert!(
                handshakes >= answered,
                "{side:?}: {handshakes} handshakes for {answered} answered requests"
            );
        }
    }

    /// How often one side has built its TLS context anew because a secret came.
    pub async fn context_updates(&self, side: Side) -> u64 {
        self.stats(side).await.sum_of("ssl_context_update_by_sds")
    }
}

/// Waits until one Envoy uses `svid`; how long that took.
pub async fn uses(mesh: &Mesh, side: Side, id: &SpiffeId, svid: &X509Svid) -> Duration {
    let serial = svid.chain()[0].serial();
    let started = Instant::now();
    loop {
        let in_use = certificates::in_use(mesh.envoys.of(side).admin(), id).await.unwrap();
        if in_use.contains(serial) {
            return started.elapsed();
        }
        assert!(
            started.elapsed() < IN_USE,
            "{side:?} does not use {serial} after {IN_USE:?} but {in_use:?}; see {}",
            mesh.envoys.of(side).log().display(),
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
