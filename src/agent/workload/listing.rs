//! The kubelet's pod list, asked for once by all who wait for it.
//!
//! A list is asked for when somebody needs one that is newer than the last, and one after the other: a
//! storm of callers is one question. While containers are waited for that the kubelet does not list, the
//! time between two questions grows with the time that the youngest of them has waited, so that whoever cannot
//! be found costs little, and whoever is listed at last knows it soon, for as long as that took. A kubelet that
//! answers slowly is asked less.

use crate::k8s::{
    kubelet::{Kubelet, KubeletError},
    pods::PodList,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// What the kubelet has said last.
#[derive(Debug)]
pub struct Listing {
    kubelet: Kubelet,
    /// The longest time between two questions, and how long an answer is good for.
    interval: Duration,
    last: Mutex<Last>,
    /// Since when the youngest of those who wait does so.
    youngest: Mutex<Option<Instant>>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<Turn>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The pods.
    pub list: Arc<PodList>,
    /// The kubelet was asked then: what happened before is in the list.
    pub asked_at: Instant,
}

/// There is no newer list.
#[derive(Debug)]
pub struct Unlisted {
    /// Why not.
    pub error: KubeletError,
    /// The last one, if it is not too old to be of use.
    pub last: Option<Arc<PodList>>,
}

#[derive(Debug, Default)]
struct Last {
    listed: Option<Listed>,
    /// When the last question failed, and why.
    failure: Option<(Instant, KubeletError)>,
}

/// When the kubelet was asked last, and how long its answer took.
#[derive(Debug, Default)]
struct Turn {
    asked_at: Option<Instant>,
    took: Duration,
}

/// The shortest time between two questions: a kubelet shows a new container some 50 ms after its start.
const LEAST_GAP: Duration = Duration::from_millis(50);
/// The next question comes after so much of the time that the youngest has waited: a sixteenth.
const SHARE_OF_WAITING: u32 = 16;
/// At most so much of the time, a fifth, the kubelet is busy with our questions.
const GAPS_PER_ANSWER: u32 = 4;
/// How long the last answer stands in for a kubelet that does not answer.
const STANDS_IN: Duration = Duration::from_secs(600);

impl Listing {
    /// Nothing asked yet. `interval` is SPIRE's `poll_retry_interval`.
    #[must_use]
    pub fn new(kubelet: Kubelet, interval: Duration) -> Self {
        Self {
            kubelet,
            interval,
            last: Mutex::default(),
            youngest: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// A list that was asked for after `than`, for one who waits `since` then; without `than`, a list that is
    /// fresh. Dropping the future is safe: whoever waits next asks instead.
    ///
    /// # Errors
    /// When the kubelet does not answer.
    pub async fn newer_than(
        &self,
        than: Option<Instant>,
        since: Instant,
    ) -> Result<Listed, Unlisted> {
        if let Some(listed) = self.known(than) {
            return Ok(listed);
        }
        self.waits(since);
        let came = Instant::now();
        let mut turn = self.asking.lock().await;
        if let Some(listed) = self.known(than) {
            return Ok(listed);
        }
        // Whoever has waited while another's question failed has had an answer.
        if let Some(error) = self.failure_since(came) {
            return Err(self.unlisted(error));
        }
        turn.wait(self.youngest_since().unwrap_or(since), self.interval).await;
        let asked_at = Instant::now();
        turn.asked_at = Some(asked_at);
        let answer = self.kubelet.pods().await;
        turn.took = asked_at.elapsed();
        match answer {
            Ok(list) => {
                let listed = Listed { list: Arc::new(list), asked_at };
                *self.last.lock() = Last { listed: Some(listed.clone()), failure: None };
                Ok(listed)
            }
            Err(error) => {
                self.last.lock().failure = Some((Instant::now(), error.clone()));
                Err(self.unlisted(error))
            }
        }
    }

    fn waits(&self, since: Instant) {
        let mut youngest = self.youngest.lock();
        *youngest = (*youngest).max(Some(since));
    }

    fn youngest_since(&self) -> Option<Instant> {
        *self.youngest.lock()
    }

    fn known(&self, than: Option<Instant>) -> Option<Listed> {
        let is_wanted = |listed: &&Listed| match than {
            Some(than) => listed.asked_at > than,
            None => listed.asked_at.elapsed() < self.interval,
        };
        self.last.lock().listed.as_ref().filter(is_wanted).cloned()
    }

    fn failure_since(&self, then: Instant) -> Option<KubeletError> {
        let last = self.last.lock();
        last.failure.as_ref().filter(|(at, _)| *at >= then).map(|(_, error)| error.clone())
    }

    fn unlisted(&self, error: KubeletError) -> Unlisted {
        let last = self.last.lock();
        let is_useful = |listed: &&Listed| listed.asked_at.elapsed() < STANDS_IN;
        let listed = last.listed.as_ref().filter(is_useful);
        Unlisted { error, last: listed.map(|listed| Arc::clone(&listed.list)) }
    }
}

impl Turn {
    /// Waits until the kubelet may be asked again. The youngest of those who wait does so `since` then.
    async fn wait(&self, since: Instant, interval: Duration) {
        let Some(asked_at) = self.asked_at else { return };
        let least = (self.took * GAPS_PER_ANSWER).max(LEAST_GAP);
        let gap = (since.elapsed() / SHARE_OF_WAITING).max(least).min(interval.max(LEAST_GAP));
        sleep_until(asked_at + gap).await;
    }
}

#[cfg(test)]
mod tests;
