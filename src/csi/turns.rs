//! One call at a time for each target: the kubelet calls again while a slow call is still at work.
//! Owns who is at work; knows nothing of mounts.
//!
//! A repeat of the same operation waits for its turn and then finds the work done. The opposite operation
//! is told to come again, as CSI wants it: a publish that is late must not undo an unpublish by chance.

use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Mutex as Lock, OwnedMutexGuard},
    time::timeout,
};

/// The kubelet gives a call 2 minutes; it should hear why nothing happens before that.
const WAIT: Duration = Duration::from_secs(60);

/// What a call does to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Publish,
    Unpublish,
}

/// Another call has the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another call is at work on target path {:?}; try again", .0)]
pub(super) struct Busy(PathBuf);

/// The targets at work. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<PathBuf, Work>>>);

#[derive(Debug)]
struct Work {
    operation: Operation,
    lock: Arc<Lock<()>>,
    /// Calls that have the lock or wait for it.
    calls: usize,
}

/// A call's place among those at one target; it is given back when dropped.
#[derive(Debug)]
struct Place {
    turns: Turns,
    path: PathBuf,
}

/// The right to work on a target, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // Dropped first: who waits must find the entry still there.
    _guard: OwnedMutexGuard<()>,
    _place: Place,
}

impl Turns {
    /// Waits for the turn of a call that does `operation`. Dropping it gives the place back.
    pub(super) async fn take(&self, path: &Path, operation: Operation) -> Result<Turn, Busy> {
        let (place, lock) = self.join(path, operation)?;
        match timeout(WAIT, lock.lock_owned()).await {
            Ok(guard) => Ok(Turn { _guard: guard, _place: place }),
            Err(_) => Err(Busy(path.to_owned())),
        }
    }

    fn join(&self, path: &Path, operation: Operation) -> Result<(Place, Arc<Lock<()>>), Busy> {
        let mut targets = self.0.lock();
        let lock = match targets.entry(path.to_owned()) {
            Entry::Occupied(work) if work.get().operation != operation => {
                return Err(Busy(path.to_owned()));
            }
            Entry::Occupied(mut work) => {
                work.get_mut().calls += 1;
                Arc::clone(&work.get().lock)
            }
            Entry::Vacant(free) => {
                let lock = Arc::new(Lock::new(()));
                free.insert(Work { operation, lock: Arc::clone(&lock), calls: 1 });
                lock
            }
        };
        Ok((Place { turns: self.clone(), path: path.to_owned() }, lock))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut targets = self.turns.0.lock();
        let Some(work) = targets.get_mut(&self.path) else { return };
        work.calls = work.calls.saturating_sub(1);
        if work.calls == 0 {
            targets.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::pin::pin;

    const TARGET: &str = "/pods/u/mount";

    #[tokio::test(start_paused = true)]
    async fn a_repeat_waits_and_the_opposite_comes_again() {
        let turns = Turns::default();
        let path = Path::new(TARGET);
        let first = turns.take(path, Operation::Publish).await.unwrap();
        let mut second = pin!(turns.take(path, Operation::Publish));
        assert!(second.as_mut().now_or_never().is_none(), "two work on one target");
        let opposite = turns.take(path, Operation::Unpublish).await;
        assert_eq!(opposite.unwrap_err(), Busy(TARGET.into()));
        let elsewhere = turns.take(Path::new("/other"), Operation::Unpublish).await;
        assert!(elsewhere.is_ok(), "targets wait for each other");
        drop(first);
        drop(second.await.unwrap());
        assert!(turns.take(path, Operation::Unpublish).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_without_end_and_nothing_is_kept_of_calls_that_ended() {
        let turns = Turns::default();
        let path = Path::new(TARGET);
        let held = turns.take(path, Operation::Publish).await.unwrap();
        assert!(turns.take(path, Operation::Publish).await.is_err());
        drop(held);
        assert!(turns.0.lock().is_empty());
    }
}
