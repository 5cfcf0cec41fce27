//! Wake-ups of a connection that is being polled already.
//!
//! A stream that answers wakes the connection that it runs in, and a request that was read wakes its
//! stream: with the task's own waker, each is one more turn in the runtime's queue, behind thousands of
//! other connections, when nothing of this one is in the processor's caches any more. Here the
//! connection is polled once more in the same turn instead.

use futures_util::task::AtomicWaker;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// How often a connection is polled in one turn before the others have theirs.
const MAX_ROUNDS: usize = 16;

/// Polls something of many parts until no part has called for more.
pub(super) struct Rounds {
    call: Arc<Call>,
    waker: Waker,
}

/// What the parts are woken by.
struct Call {
    state: AtomicU8,
    task: AtomicWaker,
}

/// Nobody polls: a call wakes the task.
const RESTING: u8 = 0;
/// A round is under way that a call has the next one follow.
const UNDER_WAY: u8 = 1;
/// The next round is called for.
const CALLED: u8 = 2;

impl Rounds {
    /// For one task.
    pub(super) fn new() -> Self {
        let call = Arc::new(Call { state: AtomicU8::new(RESTING), task: AtomicWaker::new() });
        Self { waker: Arc::clone(&call).into(), call }
    }

    /// Calls `round` until it is ready or nothing more was called for while it ran.
    pub(super) fn poll<T>(
        &self,
        task: &Context<'_>,
        mut round: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.call.task.register(task.waker());
        let mut context = Context::from_waker(&self.waker);
        for _ in 0..MAX_ROUNDS {
            self.call.state.store(UNDER_WAY, Ordering::Release);
            if let Poll::Ready(output) = round(&mut context) {
                return Poll::Ready(output);
            }
            if self.call.has_rested() {
                return Poll::Pending;
            }
        }
        self.call.state.store(RESTING, Ordering::Release);
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Call {
    /// Ends the round; whether no other was called for.
    fn has_rested(&self) -> bool {
        let state = &self.state;
        state.compare_exchange(UNDER_WAY, RESTING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let called =
            self.state.compare_exchange(UNDER_WAY, CALLED, Ordering::AcqRel, Ordering::Acquire);
        if called == Err(RESTING) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;
    use std::{future::poll_fn, pin::Pin};
    use tokio::sync::oneshot;

    #[test]
    fn a_call_within_a_round_is_answered_by_another_round() {
        let (rounds, mut count) = (Rounds::new(), 0);
        let polled = rounds.poll(&Context::from_waker(&noop_waker()), |context| {
            count += 1;
            if count < 3 {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert_eq!((polled, count), (Poll::Pending, 3));
    }

    #[tokio::test]
    async fn a_call_between_two_turns_wakes_the_task() {
        let (rounds, (sender, mut receiver)) = (Rounds::new(), oneshot::channel());
        let waiting =
            poll_fn(|task| rounds.poll(task, |context| Pin::new(&mut receiver).poll(context)));
        let (said, ()) = tokio::join!(waiting, async { sender.send("now").unwrap() });
        assert_eq!(said, Ok("now"));
    }

    #[tokio::test]
    async fn whoever_calls_without_end_lets_others_have_their_turn() {
        let rounds = Rounds::new();
        let greedy = poll_fn(|task| {
            rounds.poll(task, |context| {
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            })
        });
        tokio::select! {
            biased;
            () = greedy => unreachable!("it is never ready"),
            () = tokio::task::yield_now() => {}
        }
    }
}
