//! The watch service: each finial agent holds one stream, on which it is sent its entries and bundles,
//! first whole and then as they change, and acknowledges the bundles that it serves.
//!
//! A stream is driven by whoever reads it: there is no task and no queue per agent. A change reaches
//! the stream with its commit; changes that follow within `GATHER_FOR` are sent together. The stream
//! ends when its agent may no longer call (evicted, banned, certificate at its end), at shutdown, or
//! with its connection.

use crate::{
    runtime::{Clock, Reader, Shutdown, clock::from_unix_secs},
    server::{
        authorize::{Authorizer, Denial, Standing},
        authorized::Authorized,
        ca::{Watchers, propagation::Watcher},
        caller::{Caller, Member},
        metrics::{OpenStream, WatchMetrics},
        store::{Changes, Store},
        watched::{Difference, Watched},
    },
    spiffe::TrustDomain,
    transport::status::Kind,
    wire::proto::finial::agent::v1::{WatchEvent, WatchRequest, watch_server},
};
use futures_util::stream::{self, BoxStream};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status, Streaming};

/// After a change was sent: bulk registration costs each agent 200 events a second at most, and a
/// change on its own waits for nothing.
const GATHER_FOR: Duration = Duration::from_millis(5);

/// The watch service. Clones serve the same agents.
#[derive(Clone)]
pub struct WatchService {
    /// The agents' trust domain.
    pub trust_domain: TrustDomain,
    /// What changes.
    pub store: Store,
    /// Whom it concerns.
    pub authorized: Authorized,
    /// Who may go on watching.
    pub authorizer: Authorizer,
    /// Where acknowledgements go.
    pub watchers: Watchers,
    /// Counts open streams.
    pub metrics: WatchMetrics,
    /// The wall clock.
    pub clock: Clock,
    /// Ends every stream.
    pub shutdown: Shutdown,
}

/// One agent's stream.
struct Watching {
    service: WatchService,
    member: Member,
    requests: Streaming<WatchRequest>,
    watcher: Watcher,
    sequence: Reader<u64>,
    /// The change up to which the agent was sent everything.
    seen: u64,
    /// Whether there was a commit that the agent has not been told of yet.
    is_behind: bool,
    watched: Watched,
    phase: Phase,
    gather_until: Instant,
    _open: OpenStream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent.
    New,
    /// The snapshot was sent.
    Following,
    /// Nothing more will be.
    Ended,
}

impl Watching {
    /// The next item of the stream; `None` at its end.
    async fn next(mut self) -> Option<(Result<WatchEvent, Status>, Self)> {
        let item = match self.phase {
            Phase::Ended => return None,
            Phase::New => {
                self.phase = Phase::Following;
                Ok(Some(event(self.snapshot(), Extent::Snapshot)))
            }
            Phase::Following => self.follow().await,
        };
        let item = item.transpose()?;
        if item.is_err() {
            self.phase = Phase::Ended;
        }
        Some((item, self))
    }

    fn snapshot(&mut self) -> Difference {
        // First the number, then the state: what is committed in between is merely looked at twice.
        self.seen = self.sequence.take_current();
        self.watched.everything()
    }

    /// Waits for something to send; `None` when the agent has hung up.
    async fn follow(&mut self) -> Result<Option<WatchEvent>, Status> {
        let ends = self.service.clock.instant_of(self.member.not_after);
        loop {
            let entry_ends = self
                .watched
                .next_end()
                .map(|end| self.service.clock.instant_of(from_unix_secs(end)));
            tokio::select! {
                biased;
                () = self.service.shutdown.requested() => {
                    return Err(Kind::Unavailable.status("the server is shutting down"));
                }
                changed = self.sequence.changed(), if !self.is_behind => {
                    changed.map_err(|_| store_closed())?;
                    self.is_behind = true;
                }
                () = sleep_until(self.gather_until), if self.is_behind => {
                    self.is_behind = false;
                    self.check_standing()?;
                    let difference = self.difference();
                    if !difference.is_empty() {
                        self.gather_until = Instant::now() + GATHER_FOR;
                        return Ok(Some(event(difference, Extent::Change)));
                    }
                }
                () = sleep_until(entry_ends.unwrap_or(ends)), if entry_ends.is_some() => {
                    let difference = self.watched.everything();
                    if !difference.is_empty() {
                        return Ok(Some(event(difference, Extent::Change)));
                    }
                }
                () = sleep_until(ends) => return Err(self.certificate_ended()),
                request = self.requests.message() => match request {
                    Ok(Some(request)) => self.watcher.serves(request.served_bundle_sequence),
                    Ok(None) | Err(_) => return Ok(None),
                },
            }
        }
    }

    fn difference(&mut self) -> Difference {
        match self.service.store.changes_since(self.seen) {
            Changes::Events(changes) => {
                self.seen = changes.last().map_or(self.seen, |change| change.sequence);
                self.watched.changed(&changes)
            }
            Changes::TooOld => self.snapshot(),
        }
    }

    /// Ends the stream of an agent that was evicted or banned, or whose certificate was replaced.
    fn check_standing(&self) -> Result<(), Status> {
        match self.service.authorizer.standing(&self.member) {
            Ok(Standing::Current | Standing::Renewed) => Ok(()),
            Ok(Standing::Replaced) => Err(replaced()),
            Err(Denial::Expired) => Err(self.certificate_ended()),
            Err(denial) => {
                tracing::info!(agent = %self.member.id, reason = %denial, "watch ended");
                Err(denial.status("authorization denied for method /finial.agent.v1.Watch/Watch"))
            }
        }
    }

    /// An agent that has a newer certificate is told to use it; only one that has none must attest.
    fn certificate_ended(&self) -> Status {
        let node = self.service.store.node(&self.member.id);
        let serial = self.member.serial.to_string();
        let has_newer =
            node.is_some_and(|node| node.serial != serial || !node.new_serial.is_empty());
        if has_newer {
            return replaced();
        }
        Denial::Expired.status("the certificate of this connection has expired")
    }
}

fn store_closed() -> Status {
    Kind::Unavailable.status("the server's store is closed")
}

fn replaced() -> Status {
    Kind::Unavailable.status("a newer SVID is in use, connect again with it")
}

/// Whether an event says everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Snapshot,
    Change,
}

fn event(difference: Difference, extent: Extent) -> WatchEvent {
    let Difference { entries, removed_entries, bundles, removed_bundles } = difference;
    WatchEvent {
        snapshot: extent == Extent::Snapshot,
        entries: entries.iter().map(|entry| entry.as_ref().into()).collect(),
        removed_entry_ids: removed_entries.iter().map(|id| id.as_str().to_owned()).collect(),
        bundles: bundles.iter().map(|bundle| bundle.as_ref().into()).collect(),
        removed_trust_domains: removed_bundles.iter().map(|td| td.name().to_owned()).collect(),
    }
}

impl WatchService {
    fn watching(&self, member: Member, requests: Streaming<WatchRequest>) -> Watching {
        let watched = Watched::new(
            member.id.clone(),
            self.trust_domain.clone(),
            self.store.clone(),
            self.authorized.clone(),
        );
        Watching {
            service: self.clone(),
            member,
            requests,
            watcher: self.watchers.join(),
            sequence: self.store.sequence(),
            seen: 0,
            is_behind: false,
            watched,
            phase: Phase::New,
            gather_until: Instant::now(),
            _open: self.metrics.open(),
        }
    }
}

#[tonic::async_trait]
impl watch_server::Watch for WatchService {
    type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let Caller::Member(member) = Caller::of(&request)?.clone() else {
            return Err(Kind::Internal.status("the caller is no agent, expected one"));
        };
        tracing::info!(agent = %member.id, "agent watches");
        let watching = self.watching(member, request.into_inner());
        Ok(Response::new(Box::pin(stream::unfold(watching, Watching::next))))
    }
}
