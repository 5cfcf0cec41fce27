//! What the two Envoys really use: after each push it asks their admin interfaces until the new serial
//! is there. One task per side; nothing is asked while nothing changes.

use super::{
    envoy::{Admin, certificates},
    mesh::{BySide, Side},
};
use crate::{
    agent::Observer,
    runtime::{Publisher, Reader, Shutdown, TaskSet},
    spiffe::SpiffeId,
    x509::cert::Serial,
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// One side as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideUsage {
    /// The certificate in use.
    pub serial: Option<Serial>,
    /// When it ends.
    pub not_after: Option<SystemTime>,
    /// How often a new one came into use.
    pub rotations: u64,
    /// From the last push to its use.
    pub latest: Option<Duration>,
    /// Pushes that were not in use in time.
    pub late: u64,
}

/// What both sides use.
#[derive(Clone, Debug)]
pub struct Usage {
    sides: BySide<Reader<SideUsage>>,
    delays: Arc<Mutex<VecDeque<Duration>>>,
}

/// The delays of the latest pushes of both sides together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// Half of them are no longer than this.
    pub p50: Duration,
    /// 99 of 100 are no longer than this.
    pub p99: Duration,
}

/// Half of what is measured: an Envoy takes a push up in about 3 ms.
const POLL: Duration = Duration::from_millis(2);
/// A push that is not in use by now never will be.
const IN_USE_WITHIN: Duration = Duration::from_secs(2);
/// Of an hour at one rotation a second on both sides.
const REMEMBERED: usize = 7_200;

impl Usage {
    /// Watches the Envoys behind `admins`, whose identities `observer`'s agent serves, with tasks of
    /// `tasks` until `shutdown`.
    #[must_use]
    pub fn watch(
        observer: &Observer,
        identities: &BySide<SpiffeId>,
        admins: &BySide<Admin>,
        tasks: &TaskSet,
        shutdown: &Shutdown,
    ) -> Self {
        let delays = Arc::new(Mutex::new(VecDeque::new()));
        let sides = BySide::each(|side| {
            let publisher = Publisher::new(SideUsage::default());
            let reader = publisher.reader();
            let watcher = Watcher {
                observer: observer.clone(),
                id: identities.of(side).clone(),
                admin: admins.of(side).clone(),
                publisher,
                delays: Arc::clone(&delays),
            };
            tasks.spawn(name(side), watcher.run(shutdown.clone()));
            reader
        });
        Self { sides, delays }
    }

    /// One side as it is now.
    #[must_use]
    pub fn of(&self, side: Side) -> SideUsage {
        self.sides.of(side).current()
    }

    /// From push to use, over the latest pushes.
    #[must_use]
    pub fn delays(&self) -> Delays {
        let mut sorted: Vec<_> = self.delays.lock().iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            // The smallest value that so many percent do not exceed.
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or_default()
        };
        Delays { p50: at(50), p99: at(99) }
    }
}

const fn name(side: Side) -> &'static str {
    match side {
        Side::Client => "client usage",
        Side::Server => "server usage",
    }
}

/// Watches one side.
struct Watcher {
    observer: Observer,
    id: SpiffeId,
    admin: Admin,
    publisher: Publisher<SideUsage>,
    delays: Arc<Mutex<VecDeque<Duration>>>,
}

impl Watcher {
    async fn run(self, shutdown: Shutdown) {
        let mut changes = self.observer.changes();
        let mut known = None;
        loop {
            if let Some(pushed) = self.pushed().filter(|pushed| known.as_ref() != Some(pushed)) {
                known = Some(pushed.clone());
                tokio::select! {
                    biased;
                    () = shutdown.requested() => return,
                    () = self.follow(pushed, &mut known) => {}
                }
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The serial number and the end of what the agent serves.
    fn pushed(&self) -> Option<(Serial, SystemTime)> {
        let served = self.observer.identities().into_iter().find(|i| i.spiffe_id == self.id)?;
        Some((served.serial, served.not_after))
    }

    /// Asks until `pushed` is in use, or what has replaced it since.
    async fn follow(
        &self,
        mut pushed: (Serial, SystemTime),
        known: &mut Option<(Serial, SystemTime)>,
    ) {
        let mut since = Instant::now();
        while since.elapsed() < IN_USE_WITHIN {
            if self.uses(&pushed.0).await {
                self.record(pushed, since.elapsed());
                return;
            }
            tokio::time::sleep(POLL).await;
            match self.pushed() {
                Some(newer) if newer != pushed => {
                    (pushed, since) = (newer.clone(), Instant::now());
                    *known = Some(newer);
                }
                _ => {}
            }
        }
        self.publisher.update(|usage| {
            usage.late += 1;
            true
        });
    }

    /// Whether the Envoy uses the leaf with this serial number and no other.
    async fn uses(&self, serial: &Serial) -> bool {
        // An Envoy that does not answer is asked again.
        let used = certificates::in_use(&self.admin, &self.id).await.unwrap_or_default();
        !used.is_empty() && used.iter().all(|used| used == serial)
    }

    fn record(&self, (serial, not_after): (Serial, SystemTime), delay: Duration) {
        let is_first = self.publisher.current().serial.is_none();
        self.publisher.update(|usage| {
            usage.serial = Some(serial);
            usage.not_after = Some(not_after);
            if !is_first {
                usage.rotations += 1;
                usage.latest = Some(delay);
            }
            true
        });
        if is_first {
            // It was there before anybody looked.
            return;
        }
        let mut delays = self.delays.lock();
        if delays.len() == REMEMBERED {
            delays.pop_front();
        }
        delays.push_back(delay);
    }
}
