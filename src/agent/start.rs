//! Puts the agent together and takes it apart again.
//!
//! An agent has a thread with an event loop of its own: one thread serves thousands of quiet streams
//! with the fewest wake-ups, and nothing that shares the process can hold it up. Connections are
//! accepted and greeted on another thread; cryptography and files are on a small pool.
//!
//! Start: own state → workload socket, which greets from here on → what the last process left →
//! identity, sync, renewal → admin socket and pages. Shutdown: GOAWAY to every stream, every task
//! within `FINISH_WITHIN`.

use crate::{
    agent::{
        config::{AgentConfig, CertificateValidation, Sds, default},
        metrics::{ServeMetrics, UpkeepMetrics},
        observer::Observer,
        pages,
        serve::{
            caller::{Callers, Serving},
            debug,
            secret::{SecretNames, Validation},
            socket::{self, Serves, SocketError, SocketHealth},
        },
        storage::{
            Handover,
            file::{self, FileError},
            memory,
        },
        upkeep::{Insight, Upkeep},
        upstream::Upstream,
        workload::Attestor,
    },
    runtime::{
        Clock, Shutdown, TaskSet,
        ready::{Part, Readiness},
        tasks::BlockingError,
    },
    transport::alias,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;

/// From the wish to end to the end of the last task; the rest of the 10 s in which SIGTERM must be
/// obeyed is for the pool.
const FINISH_WITHIN: Duration = Duration::from_secs(9);
const POOL_WITHIN: Duration = Duration::from_millis(500);
/// Keys and CSRs of four batches, two executables that are hashed, and files.
const POOL_THREADS: usize = 8;

/// Starts agents.
#[derive(Debug)]
pub struct Agent;

/// An agent that serves. Dropping it without [`RunningAgent::shutdown`] leaves it running.
#[must_use = "an agent runs until it is shut down"]
pub struct RunningAgent {
    /// The workload socket.
    pub socket_path: PathBuf,
    observer: Observer,
    readiness: Readiness,
    shutdown: Shutdown,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<usize>,
}

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gives no thread or event loop.
    #[error("cannot start the agent's event loop")]
    Runtime(#[source] io::Error),
    /// The agent's own state cannot be used.
    #[error(transparent)]
    State(#[from] FileError),
    /// A socket is not to be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The agent ended while it started.
    #[error("the agent ended while it started")]
    Ended,
    /// Reading the state of the last process was cut short.
    #[error(transparent)]
    Blocking(#[from] BlockingError),
}

/// What an agent is made of.
struct Plan {
    config: AgentConfig,
    upstream: Upstream,
    handover: Option<Handover>,
    clock: Clock,
    shutdown: Shutdown,
}

/// What is told about an agent that has started.
struct Started {
    observer: Observer,
    readiness: Readiness,
}

impl Agent {
    /// Starts an agent that ends with `shutdown`, or alone. When this returns its socket is served.
    ///
    /// # Errors
    /// Why it does not start.
    pub async fn start(
        config: AgentConfig,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<RunningAgent, StartError> {
        let upstream = Upstream::server(&config.server, clock.clone());
        let handover = handover(&config.data_dir);
        Self::start_with(config, upstream, handover, clock, shutdown).await
    }

    /// As [`Agent::start`], with another way to the server and another place for what the next
    /// process finds.
    ///
    /// # Errors
    /// Why it does not start.
    pub async fn start_with(
        config: AgentConfig,
        upstream: Upstream,
        handover: Option<Handover>,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<RunningAgent, StartError> {
        let (socket_path, shutdown) = (config.socket_path.clone(), shutdown.child());
        let (tell_started, started) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        let plan = Plan { config, upstream, handover, clock, shutdown: shutdown.clone() };
        let body = move || {
            let left = run(plan, tell_started);
            // Nobody has to wait for it.
            let _unheard = tell_ended.send(left);
        };
        let thread = std::thread::Builder::new()
            .name("agent".to_owned())
            .spawn(body)
            .map_err(StartError::Runtime)?;
        let Started { observer, readiness } = started.await.map_err(|_| StartError::Ended)??;
        Ok(RunningAgent { socket_path, observer, readiness, shutdown, thread, ended })
    }
}

impl RunningAgent {
    /// What a display shows.
    #[must_use]
    pub const fn observer(&self) -> &Observer {
        &self.observer
    }

    /// What the agent lacks to be ready.
    #[must_use]
    pub const fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Ends the agent: GOAWAY to everybody, then its tasks; 10 s at most.
    pub async fn shutdown(self) {
        self.shutdown.request();
        self.ended().await;
    }

    /// Waits for the end, which somebody else asked for.
    pub async fn ended(self) {
        match self.ended.await {
            Ok(0) => tracing::info!("agent ended"),
            Ok(tasks) => tracing::warn!(tasks, "agent ended; some tasks did not in time"),
            Err(_) => tracing::error!("the agent's thread panicked"),
        }
        // It has said its last word: there is nothing left to wait for.
        let _panic_was_reported = self.thread.join();
    }
}

/// The thread of an agent, from its start to its end; gives how many tasks did not end in time.
fn run(plan: Plan, tell_started: oneshot::Sender<Result<Started, StartError>>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(POOL_THREADS)
        .thread_name("agent-pool")
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _unheard = tell_started.send(Err(StartError::Runtime(error)));
            return 0;
        }
    };
    let left = runtime.block_on(async {
        let (tasks, shutdown) = (TaskSet::new(), plan.shutdown.clone());
        let started = start(plan, &tasks).await;
        let has_failed = started.is_err();
        if tell_started.send(started).is_err() || has_failed {
            shutdown.request();
        }
        shutdown.requested().await;
        tasks.finish(FINISH_WITHIN).await
    });
    runtime.shutdown_timeout(POOL_WITHIN);
    left
}

async fn start(plan: Plan, tasks: &TaskSet) -> Result<Started, StartError> {
    let Plan { config, upstream, handover, clock, shutdown } = plan;
    let (config, clock, shutdown) = (&config, &clock, &shutdown);
    let (readiness, upkeep_metrics) = (Readiness::new(), UpkeepMetrics::default());
    let (socket_part, bundle_part) =
        (readiness.part("socket", "not served yet"), readiness.part("bundle", "none known yet"));
    let upkeep = Upkeep::open(config, upstream, handover, &readiness, &upkeep_metrics, clock)?;
    let insight = upkeep.insight();
    let serve_metrics = ServeMetrics::new();
    let serving = Arc::new(Serving {
        cache: insight.cache.clone(),
        attestor: Attestor::new(&config.workload_attestors, clock)
            .counted_in(upkeep_metrics.clone()),
        names: names(&config.sds),
        validation: match config.sds.validation {
            CertificateValidation::Spiffe => Validation::Spiffe,
            CertificateValidation::Standard => Validation::Plain,
        },
        metrics: serve_metrics.clone(),
        clock: clock.clone(),
        shutdown: shutdown.clone(),
        callers: Callers::default(),
    });
    let (path, served) = (&config.socket_path, Arc::clone(&serving));
    let health = socket::start(path, config.takeover, config.limits, served, tasks).await?;
    for error in alias::offer(&config.socket_path, &config.alternate_names) {
        tracing::warn!(%error, "the socket lacks a name, under which workloads may look for it");
    }
    socket_part.ready();
    tasks.spawn("health", tell_health(health, bundle_part, insight.clone(), shutdown.clone()));
    upkeep.start(tasks, shutdown).await?;
    if let Some(path) = &config.admin_socket_path {
        debug::start(path, config.takeover, insight.clone(), serving, tasks, shutdown)?;
    }
    let metrics = pages::metrics(config, &serve_metrics, &upkeep_metrics, &insight, clock);
    pages::start(config, &readiness, metrics, tasks, shutdown);
    tracing::info!(
        socket = %config.socket_path.display(),
        trust_domain = %config.trust_domain.name(),
        "agent serves"
    );
    let observer = Observer { insight, serve: serve_metrics, upkeep: upkeep_metrics };
    Ok(Started { observer, readiness })
}

/// Says SERVING on the workload socket once the agent can give out identities.
async fn tell_health(health: SocketHealth, bundle: Part, insight: Insight, shutdown: Shutdown) {
    let mut changes = insight.cache.generation();
    loop {
        if insight.cache.own_bundle().is_some() {
            bundle.ready();
            if insight.cache.is_synced() {
                health.set_serving(Serves::Yes).await;
                return;
            }
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            Ok(_) = changes.changed() => {}
            else => return,
        }
    }
}

/// The names of the configuration; setting one of the bundle names asks for SPIRE's meaning of both.
fn names(sds: &Sds) -> SecretNames {
    let or = |name: &Option<String>, usual: &str| name.as_deref().unwrap_or(usual).into();
    SecretNames {
        svid: sds.default_svid_name.as_str().into(),
        bundle: or(&sds.default_bundle_name, default::BUNDLE_NAME),
        all_bundles: or(&sds.default_all_bundles_name, default::ALL_BUNDLES_NAME),
        federated_by_default: sds.default_bundle_name.is_none()
            && sds.default_all_bundles_name.is_none(),
    }
}

/// The file for the next process; none where nothing is in memory.
fn handover(data_dir: &Path) -> Option<Handover> {
    // The place depends on it. That it cannot be made is an error of the start itself.
    if let Err(error) = file::create_directory(data_dir) {
        tracing::debug!(%error, "no data directory");
    }
    let path = memory::handover_path(data_dir);
    let boot_id = memory::boot_id();
    match (path, boot_id) {
        (Some(path), Ok(boot_id)) => Some(Handover::new(path, boot_id)),
        (None, _) => {
            tracing::warn!("no directory in memory: a restart during an outage serves nothing");
            None
        }
        (_, Err(error)) => {
            tracing::warn!(%error, "no boot id: a restart during an outage serves nothing");
            None
        }
    }
}

#[cfg(test)]
mod tests;
