//! Which part of a connection wants to be polled: its streams, or the connection under them.
//!
//! The two wake each other all the time: a stream that answers wakes the connection, and a request that
//! was read wakes its stream. With the task's own waker, each of that is one more turn in the runtime's
//! queue, behind thousands of other connections and when nothing of this one is in the processor's
//! caches any more, and in each turn both parts are polled. Here each part has a waker of its own; a
//! turn lasts until nobody wants more, and polls who was woken.

use futures_util::task::AtomicWaker;
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// How many rounds a connection has in one turn before the others have theirs.
const MAX_ROUNDS: usize = 32;

/// A part of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What runs on the connection.
    Streams = 1,
    /// The connection itself, and its timers.
    Transport = 2,
}

/// The turns of one connection's task.
pub(super) struct Rounds {
    calls: Arc<Calls>,
    streams: Waker,
    transport: Waker,
}

/// Who has called, and the task to wake when nobody polls.
struct Calls {
    /// A bit per part, and [`UNDER_WAY`].
    state: AtomicU8,
    task: AtomicWaker,
}

/// A turn is under way, which sees each call without being woken.
const UNDER_WAY: u8 = 4;

/// What one part is woken by.
struct Caller {
    part: Part,
    calls: Arc<Calls>,
}

impl Rounds {
    /// Both parts are to be polled.
    pub(super) fn new() -> Self {
        let state = AtomicU8::new(Part::Streams as u8 | Part::Transport as u8);
        let calls = Arc::new(Calls { state, task: AtomicWaker::new() });
        let waker = |part| Waker::from(Arc::new(Caller { part, calls: Arc::clone(&calls) }));
        let (streams, transport) = (waker(Part::Streams), waker(Part::Transport));
        Self { calls, streams, transport }
    }

    /// Has `part` polled, now or with the next turn.
    pub(super) fn call(&self, part: Part) {
        self.waker(part).wake_by_ref();
    }

    const fn waker(&self, part: Part) -> &Waker {
        match part {
            Part::Streams => &self.streams,
            Part::Transport => &self.transport,
        }
    }

    /// Has `poll` poll each part that has called until it breaks off or nobody calls any more. Streams
    /// come first, so that what they send goes out at once.
    pub(super) fn poll<T>(
        &self,
        task: &Context<'_>,
        mut poll: impl FnMut(Part, &mut Context<'_>) -> ControlFlow<T>,
    ) -> Poll<T> {
        self.calls.task.register(task.waker());
        for _ in 0..MAX_ROUNDS {
            let Some(part) = self.calls.take() else { return Poll::Pending };
            let mut context = Context::from_waker(self.waker(part));
            if let ControlFlow::Break(output) = poll(part, &mut context) {
                return Poll::Ready(output);
            }
        }
        self.calls.state.fetch_and(!UNDER_WAY, Ordering::AcqRel);
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Calls {
    /// Answers a call; `None` when there is none, which ends the turn.
    fn take(&self) -> Option<Part> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let (next, part) = if state & Part::Streams as u8 != 0 {
                (state & !(Part::Streams as u8) | UNDER_WAY, Some(Part::Streams))
            } else if state & Part::Transport as u8 != 0 {
                (UNDER_WAY, Some(Part::Transport))
            } else {
                (0, None)
            };
            let order = (Ordering::AcqRel, Ordering::Acquire);
            match self.state.compare_exchange_weak(state, next, order.0, order.1) {
                Ok(_) => return part,
                Err(now) => state = now,
            }
        }
    }
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever called before has woken the task, which has not begun its turn yet.
        if self.calls.state.fetch_or(self.part as u8, Ordering::AcqRel) == 0 {
            self.calls.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, pin::Pin, time::Duration};
    use tokio::{sync::oneshot, time::timeout};

    #[test]
    fn a_part_is_polled_once_for_each_time_that_somebody_called_it() {
        let (rounds, mut polled) = (Rounds::new(), Vec::new());
        let (streams, transport) = (rounds.streams.clone(), rounds.transport.clone());
        let mut turn = |calls: &[&Waker]| {
            let mut calls = calls.iter();
            let is_over = rounds.poll(&Context::from_waker(Waker::noop()), |part, _| {
                polled.push(part);
                calls.next().into_iter().for_each(|caller| caller.wake_by_ref());
                ControlFlow::<()>::Continue(())
            });
            assert!(is_over.is_pending());
            std::mem::take(&mut polled)
        };
        assert_eq!(turn(&[]), [Part::Streams, Part::Transport]);
        assert_eq!(turn(&[]), []);
        transport.wake_by_ref();
        assert_eq!(
            turn(&[&streams, &transport]),
            [Part::Transport, Part::Streams, Part::Transport]
        );
        streams.wake_by_ref();
        streams.wake_by_ref();
        assert_eq!(turn(&[&streams]), [Part::Streams, Part::Streams]);
    }

    #[tokio::test]
    async fn a_call_between_two_turns_wakes_the_task() {
        let (rounds, (sender, mut receiver)) = (Rounds::new(), oneshot::channel());
        let waiting = poll_fn(|task| {
            rounds.poll(task, |part, context| match Pin::new(&mut receiver).poll(context) {
                Poll::Ready(said) if part == Part::Transport => ControlFlow::Break(said),
                _ => ControlFlow::Continue(()),
            })
        });
        let woken = timeout(Duration::from_secs(10), waiting);
        let (said, ()) = tokio::join!(woken, async { sender.send("now").unwrap() });
        assert_eq!(said.expect("nobody woke the task"), Ok("now"));
    }

    #[tokio::test]
    async fn whoever_calls_without_end_lets_others_have_their_turn() {
        let rounds = Rounds::new();
        let greedy = poll_fn(|task| {
            rounds.poll(task, |_, context| {
                context.waker().wake_by_ref();
                ControlFlow::<()>::Continue(())
            })
        });
        tokio::select! {
            biased;
            () = greedy => unreachable!("it is never ready"),
            () = tokio::task::yield_now() => {}
        }
    }
}
