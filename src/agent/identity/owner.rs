//! The one task that decides where the agent stands: attests, renews at half life, attests again when
//! the server says so. Never ends before the agent does.
//!
//! It renews over the connection that [`crate::agent::sync`] holds and publishes the SVID that the next
//! one shows. Knows nothing of entries and workloads.

use super::{
    own_svid,
    renewal::{RenewalError, Renewed, Renewer},
    standing::{Cause, Denial, Standing},
    trust::Trust,
};
use crate::{
    agent::{
        metrics::{Outcome, UpkeepMetrics},
        node_attestation::NodeAttestor,
        patience::Patience,
        storage::{Handover, Keys, NodeFile, Slot},
        upstream::{Connection, Upstream},
    },
    runtime::{
        Clock, Publisher, Reader, Shutdown, TaskSet, backoff,
        complaint::{Complaint, Noted},
    },
    spiffe::{Bundle, TrustDomain, X509Svid, lifetime},
    transport::status::Reason,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

/// What the identity is made of.
#[derive(Debug)]
pub struct Parts {
    /// The agent's trust domain.
    pub trust_domain: TrustDomain,
    /// The way to the server.
    pub upstream: Upstream,
    /// How this node proves what it is.
    pub attestor: Arc<NodeAttestor>,
    /// Whom the agent takes for its server.
    pub trust: Arc<Trust>,
    /// The agent's keys.
    pub keys: Arc<Keys>,
    /// What the agent knows of itself.
    pub node: Arc<NodeFile>,
    /// What is to be wiped when the agent is cast out.
    pub handover: Option<Handover>,
    /// Tells the time.
    pub clock: Clock,
    /// Counts.
    pub metrics: UpkeepMetrics,
}

/// The owner of the agent's SVID.
#[derive(Debug)]
pub struct Identity {
    renewer: Renewer,
    handover: Option<Handover>,
    metrics: UpkeepMetrics,
    standing: Publisher<Standing>,
    denials: mpsc::Receiver<Denial>,
    /// Where the key of the current SVID is; the next one goes into the other.
    slot: Slot,
    is_reattestable: bool,
    due: SystemTime,
    /// Not before this, after a failure, unless the connection comes back.
    retry_at: Instant,
    patience: Patience,
    complaint: Complaint,
}

/// What others know of the identity, and how they tell it what the server said.
#[derive(Clone, Debug)]
pub struct IdentityHandle {
    standing: Reader<Standing>,
    denials: mpsc::Sender<Denial>,
}

/// Why the wait of an attested agent ended.
enum Event {
    Denied(Reason),
    Expired,
    Due,
}

/// How long a jump of the wall clock can go unnoticed: timers do not see it.
const CLOCK_CHECK: Duration = Duration::from_secs(30);
/// An SVID that is tainted from the start, or ends at once, must not be renewed in a tight loop.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(2);
/// Denials waiting to be read; one tells as much as many.
const DENIALS: usize = 4;

impl IdentityHandle {
    /// Where the agent stands, as it changes.
    #[must_use]
    pub fn standing(&self) -> Reader<Standing> {
        self.standing.clone()
    }

    /// The server has denied a call made as `shown`.
    pub fn denied(&self, reason: Reason, shown: &Arc<X509Svid>) {
        let denial = Denial { reason, shown: Arc::clone(shown) };
        if self.denials.try_send(denial).is_err() {
            tracing::trace!("a denial is waiting already");
        }
    }
}

impl Identity {
    /// Takes up what the last process left.
    #[must_use]
    pub fn open(parts: Parts) -> (Self, IdentityHandle) {
        let Parts { trust_domain, upstream, attestor, trust, keys, node, .. } = parts;
        let state = node.state();
        let stored = own_svid::stored(&state, &keys, &trust_domain);
        let now = parts.clock.now();
        let (slot, standing, due) = match stored {
            None => (Slot::B, Standing::Unattested(Cause::New), now),
            Some((slot, svid)) if now > svid.not_after() => (slot, Standing::Expired(svid), now),
            Some((slot, svid)) => {
                let due = renewal_due(&svid, now);
                (slot, Standing::Attested(svid), due)
            }
        };
        let clock = parts.clock;
        let renewer = Renewer { trust_domain, upstream, attestor, trust, keys, node, clock };
        let (sender, denials) = mpsc::channel(DENIALS);
        let standing = Publisher::new(standing);
        let handle = IdentityHandle { standing: standing.reader(), denials: sender };
        let identity = Self {
            renewer,
            handover: parts.handover,
            metrics: parts.metrics,
            standing,
            denials,
            slot,
            is_reattestable: state.is_reattestable,
            due,
            retry_at: Instant::now(),
            patience: Patience::new(),
            complaint: Complaint::default(),
        };
        (identity, handle)
    }

    /// Runs until `shutdown`; `connection` is the one that stands.
    pub async fn run(mut self, mut connection: Reader<Option<Connection>>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = self.advance(&mut connection) => {}
            }
        }
    }

    async fn advance(&mut self, connection: &mut Reader<Option<Connection>>) {
        match self.standing.current() {
            Standing::Attested(svid) => match self.next_event(&svid, connection).await {
                Event::Denied(Reason::AgentMustReattest) => self.attest_again().await,
                Event::Denied(reason) => self.denied(reason).await,
                Event::Expired => self.expired(svid),
                Event::Due => self.renew(connection).await,
            },
            Standing::Expired(svid) if svid.is_valid_at(self.renewer.clock.now()) => {
                // The clock was set back.
                self.standing.publish(Standing::Attested(svid));
            }
            Standing::Expired(_) | Standing::Unattested(_) | Standing::Banned => {
                self.attest().await;
                self.wait_out_failure().await;
            }
        }
    }

    /// Waits for what ends the peace of an attested agent. Dropping it is safe.
    async fn next_event(
        &mut self,
        svid: &Arc<X509Svid>,
        connection: &mut Reader<Option<Connection>>,
    ) -> Event {
        let mut bundle = self.renewer.trust.learned();
        loop {
            let now = self.renewer.clock.now();
            if now > svid.not_after() {
                return Event::Expired;
            }
            if is_tainted(svid, bundle.take_current().as_deref()) {
                self.due = self.due.min(now);
            }
            let can_call = self.is_reattestable || connection.take_current().is_some();
            let retry_at = self.retry_at;
            if self.due <= now && can_call && retry_at <= Instant::now() {
                return Event::Due;
            }
            let clock = &self.renewer.clock;
            let end = clock.instant_of(svid.not_after()) + Duration::from_secs(1);
            let due = if can_call { clock.instant_of(self.due).max(retry_at) } else { end };
            let wake = due.min(end).min(Instant::now() + CLOCK_CHECK);
            tokio::select! {
                biased;
                Some(denial) = self.denials.recv() => {
                    if Arc::ptr_eq(&denial.shown, svid) {
                        return Event::Denied(denial.reason);
                    }
                }
                Ok(change) = connection.changed() => {
                    let has_failed = self.complaint.is_standing();
                    if change.is_some() && has_failed {
                        self.retry_at = Instant::now();
                    }
                }
                Ok(_) = bundle.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    async fn renew(&mut self, connection: &Reader<Option<Connection>>) {
        if self.is_reattestable {
            self.attest().await;
            return;
        }
        let Some(connection) = connection.current() else { return };
        match self.renewer.renew(connection.channel, self.slot.other()).await {
            Ok(renewed) => {
                self.metrics.agent_renewed(Outcome::OK);
                self.take_over(renewed);
            }
            Err(error) => {
                self.metrics.agent_renewed(error.outcome());
                match error.denial() {
                    // Then there is another way, and the SVID is still good.
                    Some(Reason::AgentMustReattest) => self.is_reattestable = true,
                    Some(reason) => self.denied(reason).await,
                    None => self.complain(&error),
                }
            }
        }
    }

    /// The SVID is good until there is another; an agent whose proof was good once has nothing better.
    async fn attest_again(&mut self) {
        if self.is_reattestable {
            self.attest().await;
        }
    }

    async fn attest(&mut self) {
        let kind = self.renewer.attestor.kind();
        match self.renewer.attest(self.slot.other()).await {
            Ok(renewed) => {
                self.metrics.node_attested(kind, Outcome::OK);
                self.take_over(renewed);
            }
            Err(error) => {
                self.metrics.node_attested(kind, error.outcome());
                if error.denial() == Some(Reason::AgentBanned) {
                    self.denied(Reason::AgentBanned).await;
                }
                self.complain(&error);
            }
        }
    }

    fn take_over(&mut self, renewed: Renewed) {
        let Renewed { svid, is_reattestable } = renewed;
        self.slot = self.slot.other();
        self.is_reattestable = is_reattestable;
        self.due = renewal_due(&svid, self.renewer.clock.now());
        self.retry_at = Instant::now() + BETWEEN_RENEWALS;
        self.patience.reset();
        self.complaint.settle();
        let serial = svid.chain().first().map(|leaf| leaf.serial().to_string());
        tracing::info!(id = %svid.id(), serial, "the agent has a new SVID");
        self.standing.publish(Standing::Attested(svid));
    }

    fn expired(&mut self, svid: Arc<X509Svid>) {
        tracing::error!(id = %svid.id(), "the agent's own SVID has expired; workloads keep theirs");
        self.standing.publish(Standing::Expired(svid));
    }

    async fn denied(&mut self, reason: Reason) {
        let standing = match reason {
            Reason::AgentBanned => Standing::Banned,
            reason => Standing::Unattested(Cause::Denied(reason)),
        };
        if matches!((&standing, self.standing.current()), (Standing::Banned, Standing::Banned)) {
            return;
        }
        tracing::error!(?reason, "the server denies this agent; workloads keep their SVIDs");
        let is_cast_out = standing.is_cast_out();
        self.standing.publish(standing);
        self.retry_at = Instant::now();
        if is_cast_out {
            self.give_up_what_was_trusted().await;
        }
    }

    /// An evicted or banned agent leaves nothing for the next process.
    async fn give_up_what_was_trusted(&self) {
        let (node, handover) = (Arc::clone(&self.renewer.node), self.handover.clone());
        let wiped = TaskSet::blocking(move || {
            if let Err(error) = node.update(|state| state.svid.clear()) {
                tracing::warn!(%error, "the agent's SVID cannot be removed from disk");
            }
            if let Some(Err(error)) = handover.map(|handover| handover.wipe()) {
                tracing::warn!(%error, "the workloads' SVIDs cannot be removed from memory");
            }
        });
        if let Err(error) = wiped.await {
            tracing::debug!(%error, "ending");
        }
    }

    fn complain(&mut self, error: &RenewalError) {
        match self.complaint.note(error) {
            Noted::New(error) => tracing::warn!(error, "no new SVID for the agent"),
            Noted::Again => tracing::debug!(%error, "still no new SVID for the agent"),
        }
        self.retry_at = Instant::now() + self.patience.after(error.reach());
    }

    async fn wait_out_failure(&mut self) {
        if self.standing.current().svid().is_none() {
            sleep(self.retry_at.saturating_duration_since(Instant::now())).await;
        }
    }
}

fn renewal_due(svid: &X509Svid, now: SystemTime) -> SystemTime {
    lifetime::renewal_due(now, svid.not_after(), backoff::uniform())
}

/// Whether the authority that signed `svid` is no longer to be used, and another one is there that is.
fn is_tainted(svid: &X509Svid, bundle: Option<&Bundle>) -> bool {
    let Some(bundle) = bundle else { return false };
    let authority = svid.chain().last().and_then(|top| bundle.authority_of(top));
    authority.is_some_and(|authority| authority.tainted)
        && bundle.x509_authorities().iter().any(|authority| !authority.tainted)
}
