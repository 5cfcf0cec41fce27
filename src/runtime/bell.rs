//! Wakes one task from many places: it wants to know that something happened, and looks for itself
//! what it was. Cheaper to hold by the thousand than a channel each.

use futures_util::task::AtomicWaker;
use std::{
    future,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

/// A bell that anybody rings and one task hears. Ringing it often before it is heard is ringing it once.
#[derive(Debug, Default)]
pub struct Bell {
    is_rung: AtomicBool,
    listener: AtomicWaker,
}

impl Bell {
    /// Tells the listener, now or when it next listens.
    pub fn ring(&self) {
        self.is_rung.store(true, Ordering::Release);
        self.listener.wake();
    }

    /// What was rung until now no longer counts: the listener is about to look.
    pub fn silence(&self) {
        self.is_rung.store(false, Ordering::Release);
    }

    /// Waits until it is rung. Dropping it loses nothing. One task may listen at a time; of several the
    /// last one hears it.
    pub async fn heard(&self) {
        future::poll_fn(|context| {
            self.listener.register(context.waker());
            // After the registration, so that no ringing falls between the two.
            if self.is_rung.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::sync::Arc;

    #[tokio::test]
    async fn it_is_heard_once_however_often_it_was_rung_before() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        bell.heard().await;
        assert_eq!(bell.heard().now_or_never(), None);
    }

    #[tokio::test]
    async fn what_was_silenced_is_not_heard() {
        let bell = Bell::default();
        bell.ring();
        bell.silence();
        assert_eq!(bell.heard().now_or_never(), None);
    }

    #[tokio::test]
    async fn it_wakes_a_task_that_waits() {
        let bell = Arc::new(Bell::default());
        let listener = Arc::clone(&bell);
        let (heard, ()) = tokio::join!(async move { listener.heard().await }, async {
            tokio::task::yield_now().await;
            bell.ring();
        });
        assert_eq!(heard, ());
    }
}
