//! Tells the kubelet of this driver, so that no second container has to (kubernetes `pluginmanager`).
//!
//! The kubelet is the client: it finds the socket in its directory of plugins, asks for the endpoint,
//! calls the driver there, and says what came of it. Since Kubernetes 1.35 it asks again every 10 s and
//! takes a plugin for gone that misses two answers, so the answer comes from memory. A driver that was
//! refused publishes its socket anew, because the kubelet would not look at the old one again. Runs as the
//! task "registration".

use super::{
    config::Registration as Settings,
    listen::{ListenError, Socket},
    metrics::CsiMetrics,
};
use crate::{
    runtime::{Backoff, Publisher, Reader, Shutdown, TaskSet, ready::Part},
    wire::proto::pluginregistration::{
        InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
        registration_server::{Registration, RegistrationServer},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tonic::{Request, Response, Status, service::Routes};

/// What the kubelet calls drivers, and the only CSI version it wants (it compares the first number).
const PLUGIN_TYPE: &str = "CSIPlugin";
const CSI_VERSION: &str = "1.0.0";
/// A fifth of it, 1 s, is the shortest pause: registering makes the kubelet write to the API server.
const RETRY_BASE: Duration = Duration::from_secs(5);
const RETRY_CAP: Duration = Duration::from_secs(60);

/// What the kubelet has said last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Nothing,
    Registered,
    Refused(String),
}

/// The service that the kubelet calls.
#[derive(Clone, Debug)]
struct RegistrationService {
    info: PluginInfo,
    verdict: Arc<Publisher<Verdict>>,
}

/// A socket that the kubelet may find, with the wish that ends its listener.
struct Announcement {
    socket: Socket,
    end: Shutdown,
}

/// Keeps this driver registered.
pub(super) struct Registrar {
    settings: Settings,
    service: RegistrationService,
    verdict: Reader<Verdict>,
    announced: Option<Announcement>,
    tasks: TaskSet,
    shutdown: Shutdown,
    part: Part,
    metrics: CsiMetrics,
}

impl Registrar {
    /// Publishes the registration socket; the driver must serve by now.
    pub(super) async fn start(
        settings: Settings,
        plugin_name: String,
        part: Part,
        metrics: CsiMetrics,
        tasks: TaskSet,
        shutdown: Shutdown,
    ) -> Result<Self, ListenError> {
        let verdict = Arc::new(Publisher::new(Verdict::Nothing));
        let info = PluginInfo {
            r#type: PLUGIN_TYPE.to_owned(),
            name: plugin_name,
            endpoint: settings.endpoint.clone(),
            supported_versions: vec![CSI_VERSION.to_owned()],
        };
        let reader = verdict.reader();
        let service = RegistrationService { info, verdict };
        let mut registrar = Self {
            settings,
            service,
            verdict: reader,
            announced: None,
            tasks,
            shutdown,
            part,
            metrics,
        };
        registrar.announce().await?;
        Ok(registrar)
    }

    /// Follows what the kubelet says, until shutdown; then takes the socket away, by which the kubelet
    /// knows that the driver is going.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
        let shutdown = self.shutdown.clone();
        loop {
            let verdict = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                verdict = self.verdict.changed() => verdict,
            };
            match verdict {
                Ok(Verdict::Registered) => {
                    backoff.reset();
                    self.registered();
                }
                Ok(Verdict::Refused(reason)) => {
                    self.refused(&reason);
                    tokio::select! {
                        biased;
                        () = shutdown.requested() => break,
                        () = self.announce_again(&mut backoff) => {}
                    }
                }
                Ok(Verdict::Nothing) => {}
                Err(_) => break,
            }
        }
        self.withdraw();
    }

    async fn announce(&mut self) -> Result<(), ListenError> {
        let end = self.shutdown.child();
        let routes = Routes::new(RegistrationServer::new(self.service.clone()));
        let path = &self.settings.socket_path;
        let socket = Socket::serve(path, routes, &self.tasks, &end).await?;
        self.announced = Some(Announcement { socket, end });
        Ok(())
    }

    fn withdraw(&mut self) {
        if let Some(announced) = self.announced.take() {
            announced.socket.withdraw();
            announced.end.request();
        }
    }

    /// Tries until the socket is there. Dropped in between there is none.
    async fn announce_again(&mut self, backoff: &mut Backoff) {
        self.withdraw();
        loop {
            sleep(backoff.next_delay()).await;
            match self.announce().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, "the registration socket could not be published again");
                }
            }
        }
    }

    fn registered(&self) {
        tracing::info!(plugin = self.service.info.name, "registered with the kubelet");
        self.metrics.registered();
        self.part.ready();
    }

    fn refused(&self, reason: &str) {
        tracing::error!(
            plugin = self.service.info.name,
            endpoint = self.service.info.endpoint,
            reason,
            "the kubelet refused this driver; trying again"
        );
        self.metrics.refused();
        self.part.not_ready(format!("refused by the kubelet: {reason}"));
    }
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn get_info(
        &self,
        _request: Request<InfoRequest>,
    ) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(self.info.clone()))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let RegistrationStatus { plugin_registered, error } = request.into_inner();
        let verdict = if plugin_registered { Verdict::Registered } else { Verdict::Refused(error) };
        self.verdict.publish(verdict);
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
