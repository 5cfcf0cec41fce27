//! The one task that has workloads' SVIDs signed: what is due, in batches, as soon as there is a
//! connection. It sleeps until something is due; the cache says when.
//!
//! Nothing is asked while the server is away; what is there stays in use. When it is back, everything
//! that failed meanwhile is tried at once.

use super::{
    batch::{self, Answered, BatchError, Signing},
    schedule::Rhythm,
};
use crate::{
    agent::{
        cache::{BatchSize, Cache, SvidWriter},
        identity::IdentityHandle,
        metrics::{Outcome, UpkeepMetrics},
        upstream::Connection,
    },
    runtime::{
        Clock, Reader, Shutdown,
        complaint::{Complaint, Noted, with_causes},
    },
    spiffe::{EntryId, X509Svid},
};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

/// What the signing of SVIDs is made of.
pub struct RenewalParts {
    /// What is served.
    pub cache: Cache,
    /// The right to install SVIDs.
    pub svids: SvidWriter,
    /// The connection that stands.
    pub connection: Reader<Option<Connection>>,
    /// Whom to tell when the server denies this agent.
    pub identity: IdentityHandle,
    /// The oldest an SVID may grow.
    pub renew_every: Option<Duration>,
    /// Tells the time.
    pub clock: Clock,
    /// Counts.
    pub metrics: UpkeepMetrics,
}

/// The owner of the SVIDs' renewal.
pub struct Renewal {
    svids: SvidWriter,
    connection: Reader<Option<Connection>>,
    identity: IdentityHandle,
    signing: Signing,
    metrics: UpkeepMetrics,
    in_flight: FuturesUnordered<BoxFuture<'static, Finished>>,
    complaint: Complaint,
}

/// A batch that has come back.
struct Finished {
    entries: Vec<EntryId>,
    shown: Arc<X509Svid>,
    answer: Result<Answered, BatchError>,
}

/// 64 while somebody may wait: large enough to amortise a call, small enough that the first workloads of
/// many have theirs soon. Nobody waits for a renewal, and the larger a batch the fewer times its code and
/// tables have to come into the processor's caches.
const BATCH: BatchSize = BatchSize { awaited: 64, renewals: 256 };
/// Keys of one batch are made while another is signed; more would only queue at the server.
const AT_ONCE: usize = 4;
/// How many SVIDs are given out before the acknowledgements of the last are read: a stream that is written
/// to and read again soon is still in the processor's caches.
const AT_A_TIME: usize = 16;
/// How long a jump of the wall clock can go unnoticed: timers do not see it.
const CLOCK_CHECK: Duration = Duration::from_secs(10);

impl Renewal {
    /// Nothing asked yet.
    #[must_use]
    pub fn new(parts: RenewalParts) -> Self {
        let rhythm = Rhythm { cap: parts.renew_every, start: parts.clock.now() };
        let signing = Signing { cache: parts.cache, clock: parts.clock, rhythm };
        Self {
            svids: parts.svids,
            connection: parts.connection,
            identity: parts.identity,
            signing,
            metrics: parts.metrics,
            in_flight: FuturesUnordered::new(),
            complaint: Complaint::default(),
        }
    }

    /// The right to install SVIDs, for what the last process left.
    pub(in crate::agent) const fn svids(&self) -> &SvidWriter {
        &self.svids
    }

    /// Runs until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = self.advance() => {}
            }
        }
    }

    /// Starts what can be started and waits for the next thing to happen. Dropping it is safe.
    async fn advance(&mut self) {
        let connection = self.connection.take_current();
        if let Some(connection) = &connection {
            self.start_batches(connection);
        }
        let wake = connection.and_then(|_| self.next_start());
        tokio::select! {
            biased;
            Some(finished) = self.in_flight.next() => self.finish(finished).await,
            Ok(connection) = self.connection.changed() => {
                if connection.is_some() {
                    self.svids.retry_failed();
                }
            }
            Ok(()) = self.svids.changed() => {}
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
    }

    fn start_batches(&self, connection: &Connection) {
        // Without a bundle nothing could be verified; it comes with the first word of the server.
        if self.signing.cache.own_bundle().is_none() {
            return;
        }
        while self.in_flight.len() < AT_ONCE {
            let entries = self.svids.take_due(BATCH);
            if entries.is_empty() {
                return;
            }
            let ids = entries.iter().map(|entry| entry.id.clone()).collect();
            let shown = Arc::clone(&connection.svid);
            let signed = batch::sign(entries, connection.channel.clone(), self.signing.clone());
            self.in_flight.push(Box::pin(async move {
                Finished { entries: ids, shown, answer: signed.await }
            }));
        }
    }

    /// When the next batch can start by itself; never while as many as may are on their way.
    fn next_start(&self) -> Option<Instant> {
        if self.in_flight.len() >= AT_ONCE || self.signing.cache.own_bundle().is_none() {
            return None;
        }
        let due = self.signing.clock.instant_of(self.svids.next_due()?);
        Some(due.min(Instant::now() + CLOCK_CHECK))
    }

    async fn finish(&mut self, finished: Finished) {
        let Finished { entries, shown, answer } = finished;
        match answer {
            Ok(answered) => self.take_over(answered).await,
            Err(error) => {
                self.metrics.batch_answered(Outcome::code(error.code()));
                self.metrics.signed(0, entries.len());
                entries.iter().for_each(|id| self.svids.failed(id));
                match self.complaint.note(&error) {
                    Noted::New(error) => tracing::warn!(error, entries = entries.len(), "no SVIDs"),
                    Noted::Again => tracing::debug!(%error, "still no SVIDs"),
                }
                if let Some(reason) = error.denial() {
                    self.identity.denied(reason, &shown);
                }
            }
        }
    }

    async fn take_over(&mut self, answered: Answered) {
        self.metrics.batch_answered(Outcome::OK);
        let Answered { signed, failed } = answered;
        let asked = signed.len() + failed.len();
        let mut rejected = Vec::new();
        let mut signed = signed.into_iter();
        while signed.len() > 0 {
            rejected.extend(self.svids.install(signed.by_ref().take(AT_A_TIME).collect()));
            yield_now().await;
        }
        for (id, reason) in &rejected {
            tracing::debug!(entry = %id, %reason, "SVID not used");
        }
        for (id, error) in &failed {
            tracing::warn!(entry = %id, error = with_causes(error), "no SVID; the last one stays");
            self.svids.failed(id);
        }
        let unusable = rejected.len() + failed.len();
        self.metrics.signed(asked - unusable, unusable);
        self.complaint.settle();
        tracing::debug!(signed = asked - unusable, failed = unusable, "SVIDs renewed");
    }
}
