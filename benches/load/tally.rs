//! What a fleet of sidecars has seen so far: one count that every stream adds to, and that the
//! measuring side waits on.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// The common count.
pub(crate) struct Tally {
    seen: Mutex<Seen>,
    changed: Notify,
}

/// A stream's place in the count: its sidecar, and which of the sidecar's names it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamId {
    /// Which sidecar.
    pub(crate) sidecar: usize,
    /// Which of its names.
    pub(crate) slot: usize,
}

/// Everything seen. "Since the mark" is since [`Tally::mark`], or since the start.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Connects that were answered EAGAIN, each tried again.
    pub(crate) refused: u64,
    /// Streams that ended or never opened.
    pub(crate) broken: Complaints,
    /// Answers that are wrong. A single one voids the run.
    pub(crate) wrong: Complaints,
    /// Answers in all.
    pub(crate) answers: u64,
    /// Answers with the very content that their stream held already.
    pub(crate) repeated: u64,
    /// Answers that were verified to the last signature.
    pub(crate) verified: u64,
    /// Bytes of secrets in all answers.
    pub(crate) bytes: u64,
    /// Streams without their first secret.
    pub(crate) waiting: usize,
    /// From the start to the first secret, of each stream that has one.
    pub(crate) first_after: Vec<Duration>,
    /// From the mark to each answer since.
    pub(crate) pushed_after: Vec<Duration>,
    started: Instant,
    marked: Instant,
    slots: Vec<Slot>,
}

/// The streams of all sidecars that ask for the same of their names.
#[derive(Debug)]
struct Slot {
    served: Vec<bool>,
    pushed: Vec<bool>,
    reached: usize,
    pushes: u64,
}

/// Like events: how many, and what the first of them said.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    /// How many.
    pub(crate) count: u64,
    /// The first few.
    pub(crate) first: Vec<String>,
}

/// What one answer was.
pub(crate) struct Answered {
    /// Bytes of secrets.
    pub(crate) bytes: usize,
    /// Whether the stream held the same content already.
    pub(crate) content: Content,
}

/// Whether an answer brought anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Something else than before.
    New,
    /// What the stream held already.
    Repeated,
}

impl Tally {
    /// A count for `sidecars` with `slots` names each, all of them waiting.
    pub(crate) fn new(sidecars: usize, slots: usize) -> Self {
        let now = Instant::now();
        let slot = || Slot {
            served: vec![false; sidecars],
            pushed: vec![false; sidecars],
            reached: 0,
            pushes: 0,
        };
        let seen = Seen {
            refused: 0,
            broken: Complaints::default(),
            wrong: Complaints::default(),
            answers: 0,
            repeated: 0,
            verified: 0,
            bytes: 0,
            waiting: sidecars * slots,
            first_after: Vec::with_capacity(sidecars * slots),
            pushed_after: Vec::new(),
            started: now,
            marked: now,
            slots: (0..slots).map(|_| slot()).collect(),
        };
        Self { seen: Mutex::new(seen), changed: Notify::new() }
    }

    /// Counts an EAGAIN.
    pub(crate) fn refused(&self) {
        self.lock().refused += 1;
    }

    /// Counts a stream that ended or never opened.
    pub(crate) fn broken(&self, reason: String) {
        self.lock().broken.add(reason);
        self.changed.notify_waiters();
    }

    /// Counts a wrong answer.
    pub(crate) fn wrong(&self, reason: String) {
        self.lock().wrong.add(reason);
        self.changed.notify_waiters();
    }

    /// Counts an answer that was verified to the last signature.
    pub(crate) fn verified(&self) {
        self.lock().verified += 1;
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, stream: StreamId, answer: &Answered) {
        self.lock().answered(stream, answer);
        self.changed.notify_waiters();
    }

    /// Starts a new measurement: what follows is counted since now.
    pub(crate) fn mark(&self) {
        let mut seen = self.lock();
        seen.marked = Instant::now();
        seen.pushed_after.clear();
        for slot in &mut seen.slots {
            slot.pushed.fill(false);
            (slot.reached, slot.pushes) = (0, 0);
        }
    }

    /// Looks at what was seen so far.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until `accept` says so, at most until `deadline`; whether it did.
    pub(crate) async fn wait(&self, deadline: Instant, accept: impl Fn(&Seen) -> bool) -> bool {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change in between is missed.
            changed.as_mut().enable();
            if self.look(&accept) {
                return true;
            }
            if timeout_at(deadline, changed).await.is_err() {
                return self.look(&accept);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// How many sidecars have had an answer on their stream `slot` since the mark.
    pub(crate) fn reached(&self, slot: usize) -> usize {
        self.slots.get(slot).map_or(0, |slot| slot.reached)
    }

    /// How many answers came on the streams `slot` since the mark.
    pub(crate) fn pushes(&self, slot: usize) -> u64 {
        self.slots.get(slot).map_or(0, |slot| slot.pushes)
    }

    fn answered(&mut self, stream: StreamId, answer: &Answered) {
        let now = Instant::now();
        self.answers += 1;
        self.bytes += answer.bytes as u64;
        self.repeated += u64::from(answer.content == Content::Repeated);
        self.pushed_after.push(now - self.marked);
        let Some(slot) = self.slots.get_mut(stream.slot) else { return };
        slot.pushes += 1;
        if let Some(served) = slot.served.get_mut(stream.sidecar)
            && !std::mem::replace(served, true)
        {
            self.waiting -= 1;
            self.first_after.push(now - self.started);
        }
        if let Some(pushed) = slot.pushed.get_mut(stream.sidecar)
            && !std::mem::replace(pushed, true)
        {
            slot.reached += 1;
        }
    }
}

impl Complaints {
    fn add(&mut self, reason: String) {
        // Enough to see a pattern.
        const KEPT: usize = 5;
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(reason);
        }
    }
}
