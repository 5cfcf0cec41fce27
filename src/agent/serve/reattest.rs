//! Looks again and again who the callers are whose streams are open: a pod's labels change while it runs,
//! and nobody opens a stream anew for that.

use super::caller::Caller;
use crate::runtime::Shutdown;
use futures_util::future;
use parking_lot::Mutex;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

/// The callers that are connected.
#[derive(Default)]
pub(super) struct Callers(Mutex<Connected>);

#[derive(Default)]
struct Connected {
    callers: Vec<Weak<Caller>>,
    /// How many there were when those that had gone were last removed.
    last: usize,
}

/// Whoever cannot be told in this time stays who he was: a container that is not listed for a moment, a
/// kubelet that restarts.
const WITHIN: Duration = Duration::from_secs(12);
/// A hundredth of a second's work, and enough to share one question.
const AT_ONCE: usize = 64;
/// Below this many it is not worth looking who has gone.
const FEW: usize = 64;

impl Callers {
    /// Adds a caller for as long as it is connected.
    pub(super) fn add(&self, caller: &Arc<Caller>) {
        let mut connected = self.0.lock();
        if connected.callers.len() > 2 * connected.last + FEW {
            connected.forget_gone();
        }
        connected.callers.push(Arc::downgrade(caller));
    }

    fn all(&self) -> Vec<Arc<Caller>> {
        let mut connected = self.0.lock();
        connected.forget_gone();
        connected.callers.iter().filter_map(Weak::upgrade).collect()
    }

    /// Attests everybody anew in this rhythm until `shutdown`.
    pub(super) async fn attest_again(self: Arc<Self>, every: Duration, shutdown: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = sleep(every) => {}
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = attest_all(self.all()) => {}
            }
        }
    }
}

async fn attest_all(callers: Vec<Arc<Caller>>) {
    for portion in callers.chunks(AT_ONCE) {
        future::join_all(portion.iter().map(|caller| attest(caller))).await;
        // What is read of a process is read at once: streams have their turn in between.
        yield_now().await;
    }
}

async fn attest(caller: &Caller) {
    match timeout(WITHIN, caller.attest_again()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(
            pid = caller.pid(),
            error = &error as &dyn std::error::Error,
            "the caller was not attested anew and stays what it was"
        ),
        Err(_) => tracing::debug!(
            pid = caller.pid(),
            secs = WITHIN.as_secs(),
            "the caller was not attested anew in time and stays what it was"
        ),
    }
}

impl Connected {
    fn forget_gone(&mut self) {
        self.callers.retain(|caller| caller.strong_count() > 0);
        self.last = self.callers.len();
    }
}
