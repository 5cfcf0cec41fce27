//! The loop that owns the plan. It takes all news that has come, asks the plan what changed, and asks the
//! server for just that; no news is ever dropped, however long the server takes.
//!
//! What the server has is listed when that is not known: at the start, when this controller begins to
//! lead, after a call without an answer, and at intervals. A server that is away is waited for.

use super::{calls::Calls, refusals::Refusals, reports};
use crate::{
    controller::{
        entries::{ApiError, EntryApi},
        guard::{Guard, Limit, Pass},
        lease::Role,
        ledger::{Ledger, Reason},
        metrics::ControllerMetrics,
        ownership::Ownership,
        plan::{Delta, Evidence, Plan},
        settings::Settings,
        status::StatusBoard,
        wanted::EntryKey,
        world::{Event, Owner},
    },
    runtime::{Backoff, Publisher, Reader, Shutdown, backoff::jittered},
};
use std::{
    collections::{BTreeSet, HashSet},
    future::pending,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep_until},
};

/// What the loop is made of.
pub(in crate::controller) struct Parts {
    pub(in crate::controller) settings: Settings,
    pub(in crate::controller) ownership: Ownership,
    pub(in crate::controller) limit: Limit,
    pub(in crate::controller) api: EntryApi,
    pub(in crate::controller) news: Receiver<Event>,
    pub(in crate::controller) role: Reader<Role>,
    pub(in crate::controller) board: StatusBoard,
    pub(in crate::controller) metrics: ControllerMetrics,
    /// How often the server is listed when nothing else calls for it.
    pub(in crate::controller) full_pass: Duration,
    /// Says when endpoints are worth watching.
    pub(in crate::controller) endpoints_needed: Publisher<bool>,
    pub(in crate::controller) shutdown: Shutdown,
}

/// The loop.
pub(in crate::controller) struct Reconciler {
    plan: Plan,
    calls: Calls,
    news: Receiver<Event>,
    role: Reader<Role>,
    board: StatusBoard,
    metrics: ControllerMetrics,
    full_pass: Duration,
    endpoints_needed: Publisher<bool>,
    shutdown: Shutdown,
    server: Server,
    backoff: Backoff,
    /// Whether all that is listed was listed once.
    is_complete: bool,
    /// When everything in the plan was looked at last.
    looked_at_all: Instant,
    known: BTreeSet<Owner>,
    /// What was seen to be not wanted any more while the server could not be told.
    gone: HashSet<EntryKey>,
    /// The server is away, and that has been told.
    is_away: bool,
}

/// What is known of the server's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// They are in the ledger until then.
    Known { until: Instant },
    /// They have to be listed, not before then.
    Unknown { since: Instant },
}

const RETRY_FIRST: Duration = Duration::from_millis(100);
/// A server that restarts is back within seconds, and every pod that comes meanwhile waits for it.
const RETRY_LAST: Duration = Duration::from_secs(2);
/// How much news is taken before the server is asked.
const MAX_NEWS: usize = 4_096;
/// The plan misses nothing; this is for what nobody thought of, and takes CPU by the number of pods.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_secs(600);
/// 3 MB of keys: a server that is away for a day, or a standby's memory of what another did.
const MAX_GONE: usize = 100_000;

impl Reconciler {
    pub(in crate::controller) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            plan: Plan::new(parts.settings),
            calls: Calls {
                api: parts.api,
                ledger: Ledger::new(parts.ownership),
                guard: Guard::new(parts.limit),
                refusals: Refusals::default(),
                metrics: parts.metrics.clone(),
                touched: BTreeSet::new(),
                held: 0,
                is_stale: false,
            },
            news: parts.news,
            role: parts.role,
            board: parts.board,
            metrics: parts.metrics,
            full_pass: parts.full_pass,
            endpoints_needed: parts.endpoints_needed,
            shutdown: parts.shutdown,
            server: Server::Unknown { since: now },
            backoff: Backoff::new(RETRY_FIRST, RETRY_LAST),
            is_complete: false,
            looked_at_all: now,
            known: BTreeSet::new(),
            gone: HashSet::new(),
            is_away: false,
        }
    }

    /// Runs until the end of the program. What is asked of the server then is finished.
    pub(in crate::controller) async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                role = self.role.changed() => match role {
                    Ok(role) => {
                        self.metrics.set_leads(role);
                        self.board.begin_anew();
                    }
                    // Nobody decides any more: the lease's task has ended.
                    Err(_) => return,
                },
                event = self.news.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                () = wait_until(due) => {}
            }
            self.pass().await;
        }
    }

    /// When something has to be done even if nothing happens.
    fn due(&self) -> Option<Instant> {
        if self.role.current() == Role::StandsBy {
            return None;
        }
        match self.server {
            Server::Unknown { since } => Some(since),
            Server::Known { .. } if self.calls.is_stale => Some(Instant::now()),
            Server::Known { until } => {
                Some(self.calls.refusals.next_retry().map_or(until, |retry| retry.min(until)))
            }
        }
    }

    /// Takes an event, and those that have come since.
    fn take(&mut self, first: Event) {
        let mut next = Some(first);
        for _ in 0..MAX_NEWS {
            let Some(event) = next else { break };
            self.metrics.event();
            self.plan.apply(event);
            next = self.news.try_recv().ok();
        }
        if let Some(event) = next {
            self.metrics.event();
            self.plan.apply(event);
        }
    }

    async fn pass(&mut self) {
        let began = Instant::now();
        let delta = self.recompute(began);
        self.remember(&delta);
        self.known.extend(delta.touched.iter().cloned());
        self.calls.touched.extend(delta.touched.iter().cloned());
        if self.role.current() == Role::StandsBy {
            // Whatever happens meanwhile is another's doing.
            self.server = Server::Unknown { since: began };
            return;
        }
        let done = match self.server {
            Server::Known { until } if began < until && !self.calls.is_stale => {
                self.follow(delta, began).await
            }
            Server::Unknown { since } if began < since => return,
            _ => self.compare().await,
        };
        match done {
            Ok(()) => {
                self.backoff.reset();
                self.gone.clear();
                if std::mem::take(&mut self.is_away) {
                    tracing::info!("the server answers again");
                }
                let owned = self.calls.ledger.owned();
                self.metrics.passed(began.elapsed(), owned, self.calls.held);
                self.report();
            }
            Err(error) => self.lose(&error),
        }
    }

    /// What changed in the plan.
    fn recompute(&mut self, now: Instant) -> Delta {
        let delta = if now.duration_since(self.looked_at_all) >= LOOK_AT_ALL_EVERY {
            self.looked_at_all = now;
            self.board.begin_anew();
            self.plan.recompute_fully()
        } else {
            self.plan.recompute()
        };
        let needed = self.plan.needs_endpoints();
        self.endpoints_needed.update(|current| std::mem::replace(current, needed) != needed);
        let is_complete = self.plan.missing().is_empty();
        if is_complete && !self.is_complete {
            // Only now is it known what the server has too much.
            self.calls.is_stale = true;
            tracing::info!("the cluster is known");
        }
        self.is_complete = is_complete;
        delta
    }

    /// Keeps what was seen for the next comparison, should the server not be told now: there an entry is
    /// merely absent, and absence counts for less.
    fn remember(&mut self, delta: &Delta) {
        for unset in &delta.unset {
            self.calls.settle(&unset.key);
            if unset.evidence == Evidence::Seen && self.gone.len() < MAX_GONE {
                self.gone.insert(unset.key);
            }
        }
        for (key, _) in &delta.set {
            self.gone.remove(key);
        }
    }

    /// Asks for what changed, and again for what was refused a while ago.
    async fn follow(&mut self, mut delta: Delta, now: Instant) -> Result<(), ApiError> {
        for key in self.calls.refusals.due(now) {
            match self.plan.entry(&key) {
                Some(wanted) => delta.set.push((key, Arc::clone(wanted))),
                None => self.calls.settle(&key),
            }
        }
        if delta.is_empty() {
            return Ok(());
        }
        let changes = self.calls.ledger.follow(&delta);
        self.calls.make(Pass::Following, changes).await
    }

    /// Compares all that the server has with all that is wanted.
    async fn compare(&mut self) -> Result<(), ApiError> {
        let listing = self.calls.api.list().await?;
        self.calls.is_stale = false;
        let mut changes = self.calls.ledger.compare(listing, &self.plan);
        for deletion in &mut changes.deletes {
            if self.gone.contains(&deletion.key)
                && deletion.reason == Reason::Unwanted(Evidence::Absent)
            {
                deletion.reason = Reason::Unwanted(Evidence::Seen);
            }
        }
        let (creates, updates, deletes) =
            (changes.creates.len(), changes.updates.len(), changes.deletes.len());
        self.calls.make(Pass::Full, changes).await?;
        self.server = Server::Known { until: Instant::now() + jittered(self.full_pass, 0.1) };
        if creates + updates + deletes > 0 {
            let owned = self.calls.ledger.owned();
            tracing::info!(owned, creates, updates, deletes, "entries compared");
        }
        self.calls.touched.extend(self.known.iter().cloned());
        Ok(())
    }

    /// A call was not answered: list anew when the server is back.
    fn lose(&mut self, error: &ApiError) {
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(%error, "the server does not answer: waiting for it");
        }
        self.metrics.server_away();
        self.server = Server::Unknown { since: Instant::now() + self.backoff.next_delay() };
    }

    /// Says of the custom resources that anything is known anew of how they fare.
    fn report(&mut self) {
        for owner in std::mem::take(&mut self.calls.touched) {
            let place = (owner.kind(), Arc::clone(owner.name()));
            match reports::report(&self.plan, &self.calls.refusals, &owner) {
                Some(report) => self.board.put(place, report),
                None => {
                    self.known.remove(&owner);
                    self.board.remove(place);
                }
            }
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
