//! The one task that holds the connection to the server and brings in what the server says.
//!
//! One session after the other: connect as the SVID that the agent has, watch (or poll, where there is
//! no watch stream), until the connection is lost, the SVID is replaced or the server denies it. While
//! there is no session the cache keeps what it has.

use super::{
    error::SyncError,
    intake::{Intake, Reading},
    poll::Poller,
    status::{Link, SyncStatus},
    watch::Watch,
};
use crate::{
    agent::{
        cache::{EntryWriter, ServedSequence, Update},
        identity::{IdentityHandle, Standing, Trust},
        metrics::{Outcome, UpkeepMetrics},
        patience::Patience,
        upstream::{Connection, Credentials, Upstream},
    },
    runtime::{
        Clock, Publisher, Reader, Shutdown, TaskSet, backoff,
        complaint::{Complaint, Noted},
        ready::Part,
    },
    spiffe::{TrustDomain, X509Svid},
    wire::proto::spire::api::server::agent::v1::{PostStatusRequest, agent_client::AgentClient},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// What synchronisation is made of.
pub struct SyncParts {
    /// The agent's trust domain.
    pub trust_domain: TrustDomain,
    /// The way to the server.
    pub upstream: Upstream,
    /// Whom the agent takes for its server.
    pub trust: Arc<Trust>,
    /// Who the agent is.
    pub identity: IdentityHandle,
    /// The right to write entries and bundles.
    pub entries: EntryWriter,
    /// Which bundle the workloads use.
    pub served: ServedSequence,
    /// How often to ask a server that has no watch stream.
    pub interval: Duration,
    /// Is ready once the server has been heard.
    pub ready: Part,
    /// Tells the time.
    pub clock: Clock,
    /// Counts.
    pub metrics: UpkeepMetrics,
}

/// The owner of the connection.
pub struct Sync {
    upstream: Upstream,
    trust: Arc<Trust>,
    identity: IdentityHandle,
    intake: Intake,
    served: ServedSequence,
    interval: Duration,
    ready: Part,
    clock: Clock,
    metrics: UpkeepMetrics,
    connection: Publisher<Option<Connection>>,
    status: Publisher<SyncStatus>,
    tasks: TaskSet,
    patience: Patience,
    complaint: Complaint,
}

/// Why a session ended without anything being wrong.
enum Ended {
    /// The agent has another SVID, or none.
    OtherStanding,
}

/// Nobody waits for the answer.
const POST_STATUS_WITHIN: Duration = Duration::from_secs(10);
/// SPIRE 1.15: the interval is drawn anew each time within a tenth.
const INTERVAL_JITTER: f64 = 0.1;

impl Sync {
    /// No connection yet.
    #[must_use]
    pub fn new(parts: SyncParts) -> Self {
        let intake = Intake {
            trust_domain: parts.trust_domain,
            entries: parts.entries,
            trust: Arc::clone(&parts.trust),
            reading: Reading(parts.metrics.clone()),
        };
        Self {
            upstream: parts.upstream,
            trust: parts.trust,
            identity: parts.identity,
            intake,
            served: parts.served,
            interval: parts.interval,
            ready: parts.ready,
            clock: parts.clock,
            metrics: parts.metrics,
            connection: Publisher::new(None),
            status: Publisher::new(SyncStatus::default()),
            tasks: TaskSet::new(),
            patience: Patience::new(),
            complaint: Complaint::default(),
        }
    }

    /// The right to write entries and bundles, for what the last process left.
    pub(in crate::agent) const fn entries(&self) -> &EntryWriter {
        &self.intake.entries
    }

    /// The connection that stands.
    #[must_use]
    pub fn connection(&self) -> Reader<Option<Connection>> {
        self.connection.reader()
    }

    /// How synchronisation is going.
    #[must_use]
    pub fn status(&self) -> Reader<SyncStatus> {
        self.status.reader()
    }

    /// Runs until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut standing = self.identity.standing();
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                () = self.advance(&mut standing) => {}
            }
        }
        self.connection.publish(None);
    }

    async fn advance(&mut self, standing: &mut Reader<Standing>) {
        let Some(svid) = standing.take_current().svid().cloned() else {
            self.connection.publish(None);
            if standing.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            return;
        };
        match self.session(&svid, standing).await {
            Ok(Ended::OtherStanding) => self.set_link(Link::Down),
            Err(error) => {
                self.set_link(Link::Down);
                self.connection.publish(None);
                self.metrics.synchronised(error.outcome());
                match self.complaint.note(&error) {
                    Noted::New(error) => {
                        tracing::warn!(
                            error,
                            "no word from the server; the cache keeps what it has"
                        );
                    }
                    Noted::Again => tracing::debug!(%error, "still no word from the server"),
                }
                if let Some(reason) = error.denial() {
                    self.identity.denied(reason, &svid);
                }
                tokio::select! {
                    biased;
                    _ = standing.changed() => {}
                    () = sleep(self.patience.after(error.reach())) => {}
                }
            }
        }
    }

    async fn session(
        &mut self,
        svid: &Arc<X509Svid>,
        standing: &mut Reader<Standing>,
    ) -> Result<Ended, SyncError> {
        let connection = self.connect(svid).await?;
        self.connection.publish(Some(connection.clone()));
        self.post_status(&connection);
        let opened = Watch::open(connection.channel.clone(), self.intake.reading.clone()).await;
        match opened {
            Ok((watch, snapshot)) => {
                self.set_link(Link::Watching);
                self.heard(snapshot).await;
                self.watch(watch, standing).await
            }
            Err(error) if error.is_unsupported() => {
                tracing::info!("the server has no watch stream: polling it");
                self.set_link(Link::Polling);
                let poller = Poller::new(connection.channel, &self.intake);
                self.poll(poller, standing).await
            }
            Err(error) => Err(error),
        }
    }

    async fn connect(&self, svid: &Arc<X509Svid>) -> Result<Connection, SyncError> {
        let trust = Arc::clone(&self.trust);
        let believed = TaskSet::blocking(move || trust.next_attempt()).await??;
        let credentials = Credentials::Svid(Arc::clone(svid));
        let connected = self.upstream.connect(believed, credentials).await;
        let channel = connected.inspect_err(|error| {
            if error.peer().is_some() {
                self.trust.refused();
            }
        })?;
        if self.trust.is_foreign(svid) {
            return Err(SyncError::OtherAuthority);
        }
        Ok(Connection { channel, svid: Arc::clone(svid) })
    }

    async fn watch(
        &mut self,
        mut watch: Watch,
        standing: &mut Reader<Standing>,
    ) -> Result<Ended, SyncError> {
        let mut served = self.served.reader();
        // Only now is it the sequence of this server.
        watch.acknowledge(served.take_current());
        loop {
            tokio::select! {
                biased;
                _ = standing.changed() => return Ok(Ended::OtherStanding),
                Ok(sequence) = served.changed() => watch.acknowledge(sequence),
                update = watch.next() => self.heard(update?).await,
            }
        }
    }

    async fn poll(
        &mut self,
        mut poller: Poller,
        standing: &mut Reader<Standing>,
    ) -> Result<Ended, SyncError> {
        loop {
            let update = poller.round(&self.metrics).await?;
            self.heard(update).await;
            let pause = backoff::jittered(self.interval, INTERVAL_JITTER);
            tokio::select! {
                biased;
                _ = standing.changed() => return Ok(Ended::OtherStanding),
                () = sleep(pause) => {}
            }
        }
    }

    async fn heard(&mut self, update: Update) {
        let (entries, bundles) = (update.entries.len(), update.bundles.len());
        tracing::debug!(kind = ?update.kind, entries, bundles, "the server was heard");
        self.intake.take(update).await;
        let now = self.clock.now();
        // Before the status tells: whoever reads the metrics because of it finds it counted.
        self.metrics.synchronised(Outcome::OK);
        self.status.update(|status| {
            status.last_heard = Some(now);
            true
        });
        self.ready.ready();
        self.patience.reset();
        if self.complaint.settle() {
            tracing::info!("the server answers again");
        }
    }

    /// SPIRE's server notes the agent's version. Not every server does.
    fn post_status(&self, connection: &Connection) {
        let mut client = AgentClient::new(connection.channel.clone());
        let bundle = self.trust.learned().current();
        let request = PostStatusRequest {
            current_bundle_serial: bundle.map_or(0, |bundle| bundle.sequence()),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.tasks.spawn("post status", async move {
            match timeout(POST_STATUS_WITHIN, client.post_status(request)).await {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => tracing::debug!(code = ?status.code(), "status not taken"),
                Err(_) => tracing::debug!("status not answered"),
            }
        });
    }

    fn set_link(&self, link: Link) {
        self.status.update(|status| {
            let is_news = status.link != link;
            status.link = link;
            is_news
        });
    }
}
