//! Puts the controller together and takes it apart again.
//!
//! Start: pages and webhook listener (whatever can be refused at once) → lease → watches → reconciler. The
//! API server and the server of entries need not be there: both are waited for, and nothing ends because
//! of them. Shutdown: all tasks end, what is asked of the server is finished, the lease is given back.

use super::{
    config::{
        ControllerConfig,
        model::{NamespaceScope, WebhookConfig},
    },
    entries::EntryApi,
    federation::Federation,
    lease::{Candidate, Role},
    metrics::ControllerMetrics,
    reconcile::{Parts, Reconciler},
    settings::Acted,
    status::{StatusBoard, StatusWriter},
    watch::{
        EndpointSlices, Endpoints, Federations, Follower, Namespaces, News, Nodes, Pods, Source,
        SpiffeIds, StaticEntries, Trim, follow,
    },
    webhook::{self, Judge, Keeper},
    world::Trimmer,
};
use crate::{
    k8s::KubeClient,
    runtime::{Clock, Publisher, Reader, Shutdown, TaskSet, ready::Readiness},
    telemetry::{
        Metrics,
        http::{self, Pages},
        metrics,
    },
};
use parking_lot::Mutex;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, Sender},
};
use uuid::Uuid;

/// From SIGTERM to the end of the last task: below the 10 s in which it must be obeyed.
const FINISH_WITHIN: Duration = Duration::from_millis(8_500);
/// News that has come and is not taken yet. Beyond it watches wait: the API server keeps what happens.
const MAX_NEWS: usize = 1_024;

/// Starts controllers.
#[derive(Debug)]
pub struct Controller;

/// A controller that runs. Dropping it without [`RunningController::shutdown`] leaves its tasks running.
#[must_use = "a controller runs until it is shut down"]
pub struct RunningController {
    /// Where metrics are shown, if they are.
    pub metrics_addr: Option<SocketAddr>,
    /// Where health is shown, if it is.
    pub health_addr: Option<SocketAddr>,
    /// Where webhooks are served, if they are.
    pub webhook_addr: Option<SocketAddr>,
    role: Reader<Role>,
    tasks: TaskSet,
    shutdown: Shutdown,
}

/// Why the controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener for pages is not to be had.
    #[error(transparent)]
    Pages(#[from] http::ListenError),
    /// The listener of the webhooks is not to be had.
    #[error("listening on {address} for webhooks")]
    Webhook {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The TLS library cannot be set up.
    #[error("cannot set up TLS for the webhooks")]
    Tls(#[source] rustls::Error),
}

/// What the parts of one controller share.
struct Shared {
    kube: KubeClient,
    clock: Clock,
    /// Who it is among several, in the lease and in Events.
    identity: String,
    metrics: ControllerMetrics,
    board: StatusBoard,
    trim: Trim,
    tasks: TaskSet,
    shutdown: Shutdown,
}

impl Controller {
    /// Starts a controller. Whatever it needs of others it waits for by itself.
    ///
    /// # Errors
    /// Why it does not start; what it had by then is given back.
    pub async fn start(
        config: ControllerConfig,
        clock: Clock,
    ) -> Result<RunningController, StartError> {
        let shared = Shared {
            kube: KubeClient::new(config.access.clone()),
            clock,
            identity: format!("finial-controller_{}", Uuid::new_v4()),
            metrics: ControllerMetrics::new(),
            board: StatusBoard::default(),
            trim: Arc::new(Mutex::new(Trimmer::default())),
            tasks: TaskSet::new(),
            shutdown: Shutdown::new(),
        };
        let (metrics_addr, health_addr) = shared.serve_pages(&config).await?;
        let webhook_addr = match &config.webhook {
            Some(webhook) => Some(shared.serve_webhook(webhook, &config).await?),
            None => None,
        };
        let role = shared.contend(&config);
        shared.run(config, &role);
        let Shared { tasks, shutdown, .. } = shared;
        Ok(RunningController { metrics_addr, health_addr, webhook_addr, role, tasks, shutdown })
    }
}

impl RunningController {
    /// What it may do.
    #[must_use]
    pub fn role(&self) -> Reader<Role> {
        self.role.clone()
    }

    /// Ends the controller within 10 s. Entries and statuses stay as they are.
    pub async fn shutdown(self) {
        self.shutdown.request();
        let left = self.tasks.finish(FINISH_WITHIN).await;
        if left > 0 {
            tracing::warn!(tasks = left, "tasks did not end in time");
        }
        tracing::info!("controller ended");
    }
}

impl Shared {
    async fn serve_pages(
        &self,
        config: &ControllerConfig,
    ) -> Result<(Option<SocketAddr>, Option<SocketAddr>), StartError> {
        let trust_domain = config.settings.trust_domain.name();
        let (mut metrics_addr, mut health_addr) = (None, None);
        if let Some(address) = config.metrics {
            let program = "spire_controller_manager";
            let identity =
                metrics::Identity { program, trust_domain, version: env!("CARGO_PKG_VERSION") };
            let metrics = Metrics::new(identity, |registry| self.metrics.register(registry));
            let listener = http::listen(address, "metrics").await?;
            metrics_addr = listener.local_addr().ok();
            self.serve(listener, Pages::new().with_metrics(metrics));
        }
        if let Some(health) = &config.health {
            // Nothing to wait for: where the controller runs beside the server, a controller that is not
            // ready would take the server's address away from its agents.
            let pages = Pages::new().with_health(health, &["controller"], Readiness::new());
            let listener = http::listen(health.bind, "health").await?;
            health_addr = listener.local_addr().ok();
            self.serve(listener, pages);
        }
        Ok((metrics_addr, health_addr))
    }

    fn serve(&self, listener: TcpListener, pages: Pages) {
        let serving = http::serve(listener, pages, self.tasks.clone(), self.shutdown.clone());
        self.tasks.spawn("http listener", serving);
    }

    async fn serve_webhook(
        &self,
        webhook: &WebhookConfig,
        config: &ControllerConfig,
    ) -> Result<SocketAddr, StartError> {
        let address = webhook.bind;
        let refused = |source| StartError::Webhook { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        let (keeper, shown) = Keeper::new(
            self.kube.clone(),
            webhook.configuration.clone(),
            config.settings.trust_domain.clone(),
            self.clock.clone(),
        );
        let judge = Arc::new(Judge::new(Arc::new(config.settings.clone())));
        webhook::serve(listener, shown, judge, &self.tasks, &self.shutdown)
            .map_err(StartError::Tls)?;
        self.tasks.spawn("webhook certificate", keeper.run(self.shutdown.clone()));
        Ok(bound)
    }

    /// Takes part in the election, if there is one.
    fn contend(&self, config: &ControllerConfig) -> Reader<Role> {
        let Some(lease) = config.lease.clone() else {
            let role = Publisher::new(Role::Leads);
            let (reader, shutdown) = (role.reader(), self.shutdown.clone());
            // The value is published for as long as somebody holds its publisher.
            self.tasks.spawn("role", async move {
                shutdown.requested().await;
                drop(role);
            });
            return reader;
        };
        let (kube, clock) = (self.kube.clone(), self.clock.clone());
        let (candidate, role) = Candidate::new(kube, lease, self.identity.clone(), clock);
        self.tasks.spawn("lease", candidate.run(self.shutdown.clone()));
        role
    }

    /// Starts what watches and what writes.
    fn run(&self, config: ControllerConfig, role: &Reader<Role>) {
        self.metrics.set_leads(role.current());
        let (sender, news) = mpsc::channel(MAX_NEWS);
        let endpoints_needed = Publisher::new(false);
        self.watch_endpoints(&config.namespaces, &sender, &endpoints_needed.reader());
        self.watch(&config, &sender);
        if config.federations == Acted::Upon {
            self.watch_federations(&config);
        }
        let writer = StatusWriter {
            kube: self.kube.clone(),
            board: self.board.clone(),
            role: role.clone(),
            clock: self.clock.clone(),
            identity: self.identity.clone(),
            shutdown: self.shutdown.clone(),
        };
        self.tasks.spawn("status", writer.run());
        let reconciler = Reconciler::new(Parts {
            settings: config.settings,
            ownership: config.ownership,
            limit: config.limit,
            api: EntryApi::new(config.socket_path, config.max_message_bytes),
            news,
            role: role.clone(),
            board: self.board.clone(),
            metrics: self.metrics.clone(),
            full_pass: config.full_pass,
            endpoints_needed,
            shutdown: self.shutdown.clone(),
        });
        self.tasks.spawn("reconcile", reconciler.run());
    }

    fn watch(&self, config: &ControllerConfig, sender: &Sender<News>) {
        let labels = &config.label_selector;
        if config.settings.spiffe_ids == Acted::Upon {
            self.follow("clusterspiffeids", SpiffeIds(labels.clone()), sender);
        }
        if config.settings.static_entries == Acted::Upon {
            self.follow("clusterstaticentries", StaticEntries(labels.clone()), sender);
        }
        self.follow("nodes", Nodes(Arc::clone(&self.trim)), sender);
        self.follow("namespaces", Namespaces(Arc::clone(&self.trim)), sender);
        for only in scopes(&config.namespaces) {
            self.follow("pods", Pods { trim: Arc::clone(&self.trim), only }, sender);
        }
    }

    /// Endpoints change all the time: they are followed once something asks for service names.
    fn watch_endpoints(
        &self,
        namespaces: &[NamespaceScope],
        sender: &Sender<News>,
        needed: &Reader<bool>,
    ) {
        for only in scopes(namespaces) {
            let (follower, trim) = (self.follower(sender), Arc::clone(&self.trim));
            let (mut needed, namespace) = (needed.clone(), only.map(|only| only.name));
            self.tasks.spawn("endpoints", async move {
                tokio::select! {
                    biased;
                    () = follower.shutdown.requested() => return,
                    needed = needed.wait_for(|is_needed| *is_needed) => if needed.is_err() { return },
                }
                let slices = EndpointSlices { trim: Arc::clone(&trim), namespace: namespace.clone() };
                follow(slices, &follower).await;
                follow(Endpoints { trim, namespace }, &follower).await;
            });
        }
    }

    fn watch_federations(&self, config: &ControllerConfig) {
        let (sender, news) = mpsc::channel(MAX_NEWS);
        self.follow(
            "clusterfederatedtrustdomains",
            Federations(config.label_selector.clone()),
            &sender,
        );
        let federation = Federation {
            trust_domain: config.settings.trust_domain.clone(),
            class: config.settings.class.clone(),
            news,
            board: self.board.clone(),
            shutdown: self.shutdown.clone(),
        };
        self.tasks.spawn("federation", federation.run());
    }

    fn follow<S: Source>(&self, name: &'static str, source: S, sender: &Sender<S::News>) {
        let follower = self.follower(sender);
        self.tasks.spawn(name, async move { follow(source, &follower).await });
    }

    fn follower<N>(&self, sender: &Sender<N>) -> Follower<N> {
        Follower { kube: self.kube.clone(), news: sender.clone(), shutdown: self.shutdown.clone() }
    }
}

/// One scope for everything, or one for each namespace.
fn scopes(namespaces: &[NamespaceScope]) -> Vec<Option<NamespaceScope>> {
    if namespaces.is_empty() {
        return vec![None];
    }
    namespaces.iter().cloned().map(Some).collect()
}
