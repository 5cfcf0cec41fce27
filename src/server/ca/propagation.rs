//! How far the own bundle has come: each agent that holds a watch stream says which sequence number it
//! serves, and [`Propagation`] knows the lowest of them.
//!
//! Knows nothing of streams or authorities. Written by the watch service, read by the rotation task.

use super::rotate::Reach;
use crate::runtime::{Publisher, Reader};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// Where the watch service reports what its agents serve. Clones report to the same place.
#[derive(Clone, Debug)]
pub struct Watchers(Arc<Reports>);

#[derive(Debug)]
struct Reports {
    /// How many agents serve each sequence number.
    counts: Mutex<BTreeMap<u64, usize>>,
    lowest: Publisher<Option<u64>>,
}

/// One agent with a watch stream; it leaves when dropped.
#[derive(Debug)]
pub struct Watcher {
    reports: Arc<Reports>,
    serves: u64,
}

/// The lowest sequence number that a connected agent serves; `None` while none is connected.
#[derive(Clone, Debug)]
pub struct Propagation(Reader<Option<u64>>);

/// Both ends, without an agent.
#[must_use]
pub fn propagation() -> (Watchers, Propagation) {
    let lowest = Publisher::new(None);
    let propagation = Propagation(lowest.reader());
    let watchers = Watchers(Arc::new(Reports { counts: Mutex::default(), lowest }));
    (watchers, propagation)
}

impl Watchers {
    /// An agent that has connected and serves nothing yet.
    #[must_use]
    pub fn join(&self) -> Watcher {
        self.0.count(None, Some(0));
        Watcher { reports: Arc::clone(&self.0), serves: 0 }
    }
}

impl Watcher {
    /// The agent now serves the bundle with this sequence number.
    pub fn serves(&mut self, sequence: u64) {
        self.reports.count(Some(self.serves), Some(sequence));
        self.serves = sequence;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reports.count(Some(self.serves), None);
    }
}

impl Reports {
    fn count(&self, before: Option<u64>, after: Option<u64>) {
        // Published under the lock: two agents must not publish in the other order.
        let mut counts = self.counts.lock();
        if let Some(count) = before.and_then(|sequence| counts.get_mut(&sequence)) {
            *count = count.saturating_sub(1);
        }
        if let Some(sequence) = after {
            *counts.entry(sequence).or_default() += 1;
        }
        if let Some(sequence) = before
            && counts.get(&sequence) == Some(&0)
        {
            counts.remove(&sequence);
        }
        let lowest = counts.keys().next().copied();
        self.lowest.update(|published| std::mem::replace(published, lowest) != lowest);
    }
}

impl Propagation {
    /// Whether an agent is known to lack the bundle with this sequence number.
    #[must_use]
    pub fn reach(&self, sequence: u64) -> Reach {
        match self.0.current() {
            Some(lowest) if lowest < sequence => Reach::Lagging,
            _ => Reach::Acknowledged,
        }
    }

    /// Waits until [`Propagation::reach`] may answer differently; for ever when nobody can report any
    /// more. Dropping it is safe.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_connected_agent_decides_and_a_gone_one_does_not() {
        let (watchers, propagation) = propagation();
        assert_eq!(propagation.reach(7), Reach::Acknowledged, "nobody to wait for");
        let (mut fast, mut slow) = (watchers.join(), watchers.join());
        fast.serves(7);
        assert_eq!(propagation.reach(7), Reach::Lagging);
        slow.serves(6);
        assert_eq!(
            (propagation.reach(6), propagation.reach(7)),
            (Reach::Acknowledged, Reach::Lagging)
        );
        drop(slow);
        assert_eq!(
            (propagation.reach(7), propagation.reach(8)),
            (Reach::Acknowledged, Reach::Lagging)
        );
        drop(fast);
        assert_eq!(propagation.reach(8), Reach::Acknowledged);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_new_lowest_wakes_the_rotation() {
        let (watchers, mut propagation) = propagation();
        let (mut fast, mut slow) = (watchers.join(), watchers.join());
        slow.serves(3);
        fast.serves(3);
        propagation.changed().await;
        fast.serves(9);
        let hour = std::time::Duration::from_secs(3_600);
        assert!(tokio::time::timeout(hour, propagation.changed()).await.is_err());
        slow.serves(9);
        propagation.changed().await;
        assert_eq!(propagation.reach(9), Reach::Acknowledged);
    }
}
