//! Runs it all: server, agent, and two Envoys under load when there is an Envoy.

use super::{
    envoy::{
        EnvoyError, SdsApi,
        binary::{Binary, BinaryError},
    },
    load::{Load, Pace},
    mesh::{self, BySide, Mesh, MeshError, Plan, Side},
    options::Options,
    programs::{self, ProgramError, Programs},
    screen::{Picture, Screen},
    summary::Summary,
    tally::{Counts, Followed, Tally, ca_rotations},
};
use crate::{
    runtime::{Clock, Shutdown, TaskSet},
    spiffe::SpiffeId,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

/// Why `finial dev` does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The state directory cannot be made.
    #[error("cannot make the state directory {}; choose another with --data-dir", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nobody reads what is shown.
    #[error("cannot write what is to be shown")]
    Screen(#[source] io::Error),
    /// The server or the agent.
    #[error(transparent)]
    Programs(#[from] ProgramError),
    /// The Envoy binary.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// An Envoy has ended or never became ready.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
}

/// Until both Envoys have their first secrets; they take a fraction of a second.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often the display is renewed.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// Four clients that rest 5 ms after each answer: about 600 handshakes a second on two cores.
const PACE: Pace = Pace { clients: 4, rest: Duration::from_millis(5) };

/// Runs until the time is over or `shutdown` is requested, and ends everything that it started. With
/// Envoys it gives a summary.
///
/// # Errors
/// When something does not start, or an Envoy ends by itself.
pub async fn run(
    options: &Options,
    screen: &mut Screen,
    shutdown: &Shutdown,
) -> Result<Option<Summary>, DevError> {
    let state = State::open(options)?;
    let binary = match &options.envoy {
        Some(path) => Some(Binary::check(path).await?),
        None => None,
    };
    let programs = Programs::start(&state.path, options, Shutdown::new()).await?;
    let result = match binary {
        Some(binary) => {
            let mesh = Running::start(&programs, binary, &state.path, options).await;
            match mesh {
                Ok(running) => running.watch(&programs, options, screen, shutdown).await.map(Some),
                Err(error) => Err(error),
            }
        }
        None => serve_user(&programs, &state.path, options, screen, shutdown).await.map(|()| None),
    };
    programs.stop().await;
    result
}

/// The state directory; a temporary one is removed with it.
struct State {
    path: PathBuf,
    is_temporary: bool,
}

impl State {
    fn open(options: &Options) -> Result<Self, DevError> {
        let is_temporary = options.data_dir.is_none();
        let path = options.data_dir.clone().unwrap_or_else(|| {
            // Short, for a socket's path has 107 bytes.
            let name = uuid::Uuid::new_v4().simple().to_string();
            PathBuf::from("/tmp").join(format!("finial-{}", name.get(..8).unwrap_or(&name)))
        });
        fs::create_dir_all(&path)
            .map_err(|source| DevError::Directory { path: path.clone(), source })?;
        let path = fs::canonicalize(&path)
            .map_err(|source| DevError::Directory { path: path.clone(), source })?;
        Ok(Self { path, is_temporary })
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the state directory is left behind");
        }
    }
}

/// Without Envoys: the user's own processes get an identity.
async fn serve_user(
    programs: &Programs,
    directory: &Path,
    options: &Options,
    screen: &mut Screen,
    shutdown: &Shutdown,
) -> Result<(), DevError> {
    let uid = rustix::process::geteuid().as_raw();
    let selectors = [format!("unix:uid:{uid}")];
    let id = programs.register("/dev/user", &selectors, options.svid_ttl()).await?;
    let socket = programs::socket(directory);
    let text = format!(
        "socket: {socket}\nentry:  {id} for unix:uid:{uid}\n\nfetch its SVID with\n  \
         finial agent api fetch x509 -socketPath {socket}\n",
        socket = socket.display()
    );
    screen.say(&text).map_err(DevError::Screen)?;
    tokio::select! {
        () = shutdown.requested() => {}
        () = time_is_over(options) => {}
    }
    Ok(())
}

async fn time_is_over(options: &Options) {
    match options.run_for {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Two Envoys with their identities.
struct Running {
    mesh: Mesh,
    ids: BySide<SpiffeId>,
}

impl Running {
    async fn start(
        programs: &Programs,
        binary: Binary,
        directory: &Path,
        options: &Options,
    ) -> Result<Self, DevError> {
        let binaries = directory.join("bin");
        let envoys = directory.join("envoy");
        for path in [&binaries, &envoys] {
            fs::create_dir_all(path)
                .map_err(|source| DevError::Directory { path: path.clone(), source })?;
        }
        let mut ids = Vec::new();
        for side in Side::BOTH {
            let path = format!("/ns/dev/sa/{}", side.name());
            let executable = mesh::executable(&binaries, side);
            let selectors = [format!("unix:path:{}", executable.display())];
            ids.push(programs.register(&path, &selectors, options.svid_ttl()).await?);
        }
        let mut ids = ids.into_iter();
        let trust_domain = programs.trust_domain.id();
        let ids = BySide::each(|_| ids.next().unwrap_or_else(|| trust_domain.clone()));
        let socket = programs::socket(directory);
        let plan = Plan {
            binary,
            launcher: None,
            directory: envoys,
            binaries,
            sds_sockets: BySide::each(|_| socket.clone()),
            sds_api: SdsApi::Grpc,
            identities: ids.clone(),
            foreign_names: Vec::new(),
        };
        let mut mesh = plan.start()?;
        mesh.ready(READY_WITHIN).await?;
        Ok(Self { mesh, ids })
    }

    /// Sends requests and shows what happens until the time is over.
    async fn watch(
        mut self,
        programs: &Programs,
        options: &Options,
        screen: &mut Screen,
        shutdown: &Shutdown,
    ) -> Result<Summary, DevError> {
        let (tally, tasks, stop) = (Tally::default(), TaskSet::new(), Shutdown::new());
        for side in Side::BOTH {
            let followed = Followed {
                side,
                id: self.ids.of(side).clone(),
                admin: self.mesh.envoys.of(side).admin().clone(),
            };
            let observer = programs.agent.observer().clone();
            tasks.spawn("rotations", tally.clone().follow(followed, observer, stop.clone()));
        }
        let load = Load::start(self.mesh.plain, PACE);
        let started = Instant::now();
        let shown = self.show(programs, options, (&tally, &load), screen, shutdown).await;
        load.stop().await;
        let ran = started.elapsed();
        stop.request();
        tasks.finish(Duration::from_secs(5)).await;
        self.mesh.stop().await;
        shown?;
        for failure in load.failures() {
            let text =
                format!("failed after {:.3} s: {}\n", failure.at.as_secs_f64(), failure.what);
            screen.say(&text).map_err(DevError::Screen)?;
        }
        let ca_rotations = ca_rotations(&programs.server.ca_state());
        Ok(Summary::new(load.requests(), load.failed(), &tally.counts(), ca_rotations, ran))
    }

    async fn show(
        &mut self,
        programs: &Programs,
        options: &Options,
        (tally, load): (&Tally, &Load),
        screen: &mut Screen,
        shutdown: &Shutdown,
    ) -> Result<(), DevError> {
        let clock = Clock::system();
        let observer = programs.agent.observer();
        let ca = programs.server.ca_state();
        let over = time_is_over(options);
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                () = &mut over => return Ok(()),
                () = tokio::time::sleep(SHOW_EVERY) => {}
            }
            self.mesh.alive()?;
            let counts: Counts = tally.counts();
            let picture = Picture {
                identities: &observer.identities(),
                counts: &counts,
                pushes: observer.pushes(),
                ca_rotations: ca_rotations(&ca),
                requests: load.requests(),
                failed: load.failed(),
                now: clock.now(),
            };
            screen.show(&picture).map_err(DevError::Screen)?;
        }
    }
}
