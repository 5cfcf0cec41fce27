//! Two Envoys with their identities, and what is going on between them.

use super::{
    directory::Directory,
    envoy::{
        AdminError, EnvoyError, SdsApi, Stats, binary::Binary, bootstrap::LISTENER, leash::Leash,
    },
    error::DevError,
    load::{Load, Pace},
    mesh::{self, BySide, Mesh, Plan, Side},
    programs::Programs,
    progress::{Authority, Progress},
    summary::{Handshakes, Summary},
    usage::Usage,
};
use crate::{
    runtime::{Shutdown, TaskSet},
    spiffe::SpiffeId,
};
use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Two Envoys with their identities.
pub(super) struct Stage {
    mesh: Mesh,
    identities: BySide<SpiffeId>,
}

/// Requests between the two, and what is watched meanwhile. Dropping it ends the requests.
pub(super) struct Act {
    load: Load,
    usage: Usage,
    tasks: TaskSet,
    shutdown: Shutdown,
    started: Instant,
}

/// Until both Envoys have their first secrets; they take a fraction of a second.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Four clients that rest 5 ms after each answer: some hundred handshakes a second, which leaves a
/// laptop quiet and no moment without one.
const PACE: Pace = Pace { clients: 4, rest: Duration::from_millis(5) };
/// Watching ends between two questions to an Envoy.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

impl Stage {
    /// Registers both identities and starts both Envoys, by way of `program`. Nothing is waited for.
    pub(super) async fn set(
        programs: &Programs,
        directory: &Directory,
        binary: Binary,
        program: PathBuf,
    ) -> Result<Self, DevError> {
        let envoys = directory.envoys();
        match fs::create_dir(&envoys) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(EnvoyError::Write { path: envoys, source: error }.into());
            }
            _ => {}
        }
        let register = async |side: Side| {
            let executable = mesh::executable(&envoys, side);
            let path = format!("/ns/default/sa/{}", side.name());
            programs.register(&path, &format!("unix:path:{}", executable.display())).await
        };
        let identities =
            BySide { client: register(Side::Client).await?, server: register(Side::Server).await? };
        let plan = Plan {
            binary,
            leash: Some(Leash::new(program)),
            binaries: envoys.clone(),
            directory: envoys,
            sds_sockets: BySide::each(|_| directory.agent_socket()),
            sds_api: SdsApi::Grpc,
            identities: identities.clone(),
            foreign_names: Vec::new(),
        };
        Ok(Self { mesh: plan.start()?, identities })
    }

    /// Waits until both have their secrets. Dropping it is safe.
    pub(super) async fn ready(&mut self) -> Result<(), EnvoyError> {
        self.mesh.ready(READY_WITHIN).await
    }

    /// Checks that both run.
    pub(super) fn alive(&mut self) -> Result<(), EnvoyError> {
        self.mesh.alive()
    }

    /// Who they are.
    pub(super) const fn identities(&self) -> &BySide<SpiffeId> {
        &self.identities
    }

    /// Begins to send requests and to watch what is used.
    pub(super) fn begin(&self, programs: &Programs) -> Act {
        let (tasks, shutdown) = (TaskSet::new(), Shutdown::new());
        let admins = BySide::each(|side| self.mesh.envoys.of(side).admin().clone());
        let observer = programs.agent.observer();
        let usage = Usage::watch(observer, &self.identities, &admins, &tasks, &shutdown);
        let load = Load::start(self.mesh.plain, PACE);
        Act { load, usage, tasks, shutdown, started: Instant::now() }
    }

    /// Ends both Envoys.
    pub(super) async fn clear(self) {
        self.mesh.stop().await;
    }
}

impl Act {
    /// How it goes.
    pub(super) fn progress(
        &self,
        programs: &Programs,
        identities: &BySide<SpiffeId>,
        now: SystemTime,
    ) -> Progress {
        let state = programs.server.ca_state().current();
        let active = state.active.map(|active| (active.id.to_string(), active.expires_at));
        let (id, expires_at) = active.unwrap_or_default();
        Progress {
            now,
            elapsed: self.started.elapsed(),
            identities: identities.clone(),
            sides: BySide::each(|side| self.usage.of(side)),
            authority: Authority { id, expires_at, rotations: state.rotations },
            pushes: programs.agent.observer().pushes(),
            requests: self.load.requests(),
            failed: self.load.failed(),
            push_to_use: self.usage.delays(),
        }
    }

    /// Ends the requests and accounts for them.
    pub(super) async fn end(
        self,
        programs: &Programs,
        stage: &Stage,
        now: SystemTime,
    ) -> Result<Summary, AdminError> {
        self.load.stop().await;
        let progress = self.progress(programs, &stage.identities, now);
        self.shutdown.request();
        self.tasks.finish(FINISH_WITHIN).await;
        let stats = Stats::read(stage.mesh.envoys.server.admin()).await?;
        let count = |what: &str| stats.value(&format!("listener.{LISTENER}.ssl.{what}"));
        let handshakes = Handshakes { total: count("handshake"), resumed: count("session_reused") };
        let failures = self.load.failures().into_iter();
        let failures = failures.map(|f| format!("after {:.3} s: {}", f.at.as_secs_f64(), f.what));
        Ok(Summary::new(&progress, handshakes, failures.collect()))
    }
}
