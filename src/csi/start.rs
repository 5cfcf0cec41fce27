//! Puts the driver together and takes it apart again.
//!
//! Start: CSI socket → registration socket → pages. Shutdown goes the other way: the registration socket
//! is taken away first, so that the kubelet sends nobody any more, calls that run are ended, and then the
//! CSI socket goes. Mounts are left as they are: pods need them, and the next driver finds them.

use super::{
    config::CsiConfig,
    identity::IdentityService,
    lasting::Lasting,
    listen::{ListenError, Socket},
    metrics::CsiMetrics,
    mount::{self, KernelError},
    node::NodeService,
    register::Registrar,
};
use crate::{
    config::listen::HealthChecks,
    runtime::{Shutdown, TaskSet, ready::Readiness},
    telemetry::{
        Metrics,
        http::{self, Pages},
        metrics,
    },
    wire::proto::csi::v1::{identity_server::IdentityServer, node_server::NodeServer},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tonic::service::Routes;

/// The registration's own task only removes a file.
const DEREGISTER_WITHIN: Duration = Duration::from_millis(500);
/// From then to the end of the last task: below the 10 s in which SIGTERM must be obeyed.
const FINISH_WITHIN: Duration = Duration::from_millis(8_500);

/// Starts drivers.
#[derive(Debug)]
pub struct Csi;

/// A driver that serves. Dropping it without [`RunningCsi::shutdown`] leaves its tasks running.
#[must_use = "a driver runs until it is shut down"]
pub struct RunningCsi {
    /// Where the pages are, if they are configured.
    pub http_addr: Option<SocketAddr>,
    socket: Socket,
    registration: TaskSet,
    deregister: Shutdown,
    tasks: TaskSet,
    shutdown: Shutdown,
}

/// Why the driver does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel is too old.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A socket is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The listener for HTTP pages is not to be had.
    #[error(transparent)]
    Pages(#[from] http::ListenError),
}

impl Csi {
    /// Starts a driver. When it returns, the kubelet can call it and may find it.
    ///
    /// # Errors
    /// Why it does not start; what it had by then is given back.
    pub async fn start(mut config: CsiConfig) -> Result<RunningCsi, StartError> {
        mount::check_kernel()?;
        let (metrics, readiness) = (CsiMetrics::new(), Readiness::new());
        let (tasks, shutdown) = (TaskSet::new(), Shutdown::new());
        let pages = match config.http {
            Some(address) => Some(http::listen(address, "health and metrics").await?),
            None => None,
        };
        let lasting = lasting(&config).await;
        if let Some(lasting) = &lasting {
            config.socket_dir = lasting.path.clone();
        }
        let config = Arc::new(config);
        let routes = routes(&config, &metrics);
        let socket = Socket::serve(&config.csi_socket_path, routes, &tasks, &shutdown).await?;
        if let Some(lasting) = lasting {
            tasks.spawn("the agent's sockets", lasting.follow(shutdown.clone()));
        }
        let running = RunningCsi {
            http_addr: pages.as_ref().and_then(|listener| listener.local_addr().ok()),
            socket,
            registration: TaskSet::new(),
            deregister: Shutdown::new(),
            tasks,
            shutdown,
        };
        if let Err(error) = running.register(&config, &readiness, &metrics).await {
            running.shutdown().await;
            return Err(error.into());
        }
        if let Some(listener) = pages {
            let pages = pages_of(listener.local_addr().ok(), readiness, &metrics);
            let (tasks, shutdown) = (running.tasks.clone(), running.shutdown.clone());
            let serving = http::serve(listener, pages, tasks, shutdown);
            running.tasks.spawn("http listener", serving);
        }
        tracing::info!(
            plugin = config.plugin_name,
            node = config.node_id,
            socket = %config.csi_socket_path.display(),
            mounts = %config.socket_dir.display(),
            "csi driver serves"
        );
        Ok(running)
    }
}

impl RunningCsi {
    async fn register(
        &self,
        config: &CsiConfig,
        readiness: &Readiness,
        metrics: &CsiMetrics,
    ) -> Result<(), ListenError> {
        let Some(settings) = config.registration.clone() else { return Ok(()) };
        let part = readiness.part("registration", "waits for the kubelet");
        let registrar = Registrar::start(
            settings,
            config.plugin_name.clone(),
            part,
            metrics.clone(),
            self.tasks.clone(),
            self.deregister.clone(),
        );
        self.registration.spawn("registration", registrar.await?.run());
        Ok(())
    }

    /// Ends the driver within 10 s. No mount is touched.
    pub async fn shutdown(self) {
        self.deregister.request();
        let mut left = self.registration.finish(DEREGISTER_WITHIN).await;
        self.shutdown.request();
        left += self.tasks.finish(FINISH_WITHIN).await;
        if left > 0 {
            tracing::warn!(tasks = left, "tasks did not end in time");
        }
        self.socket.withdraw();
        tracing::info!("csi driver ended");
    }
}

/// The directory that outlives the agent's pod, where one is needed and can be had.
async fn lasting(config: &CsiConfig) -> Option<Arc<Lasting>> {
    let looked_at = config.clone();
    let made = TaskSet::blocking(move || Lasting::beside(&looked_at)).await.ok()?;
    made.map(|lasting| lasting.map(Arc::new)).unwrap_or_else(|error| {
        let sockets = config.socket_dir.display();
        tracing::warn!(
            %sockets, %error,
            "the agent's sockets are in an emptyDir: when its pod is replaced, pods that run lose the agent; \
             give the sockets a hostPath"
        );
        None
    })
}

fn routes(config: &Arc<CsiConfig>, metrics: &CsiMetrics) -> Routes {
    let identity = IdentityService {
        plugin_name: config.plugin_name.clone(),
        socket_dir: config.socket_dir.clone(),
    };
    let node = NodeService::new(Arc::clone(config), metrics.clone());
    Routes::new(IdentityServer::new(identity)).add_service(NodeServer::new(node))
}

fn pages_of(bind: Option<SocketAddr>, readiness: Readiness, metrics: &CsiMetrics) -> Pages {
    // A driver belongs to no trust domain; an empty label is none to Prometheus.
    let identity = metrics::Identity {
        program: "spiffe_csi_driver",
        trust_domain: "",
        version: env!("CARGO_PKG_VERSION"),
    };
    let health = HealthChecks {
        bind: bind.unwrap_or_else(|| SocketAddr::from(([0; 4], 0))),
        live_path: "/live".to_owned(),
        ready_path: "/ready".to_owned(),
    };
    Pages::new()
        .with_health(&health, &["csi"], readiness)
        .with_metrics(Metrics::new(identity, |registry| metrics.register(registry)))
}
