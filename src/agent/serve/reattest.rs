//! Looks again and again who the callers are whose streams are open: a pod's labels change while it runs,
//! and nobody opens a stream anew for that.

use super::caller::{Caller, Callers};
use crate::runtime::Shutdown;
use futures_util::future;
use std::{sync::Arc, time::Duration};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

/// Whoever cannot be told in this time stays who he was: a container that is not listed for a moment, a
/// kubelet that restarts.
const WITHIN: Duration = Duration::from_secs(12);
/// A hundredth of a second's work, and enough to share one question.
const AT_ONCE: usize = 64;

/// Attests everybody anew in this rhythm until `shutdown`.
pub(super) async fn attest_again(callers: &Callers, every: Duration, shutdown: Shutdown) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            () = sleep(every) => {}
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            () = attest_all(callers.all()) => {}
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
