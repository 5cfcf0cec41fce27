//! Runs the streams of one connection inside that connection's task.
//!
//! hyper hands each accepted stream to an executor. This one queues it, and the connection's task
//! polls it beside the connection itself: one task per sidecar, a push and its write in one wake-up,
//! and nothing left behind when the connection ends. A stream that panics ends alone. What else a
//! connection waits for runs among its streams, so that it is looked at only when it has happened.

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, CatchUnwind},
    stream::FuturesUnordered,
};
use hyper::rt::Executor;
use parking_lot::Mutex;
use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};

/// A stream, which gives nothing, or the wait for an event.
type Part<E> = BoxFuture<'static, Option<E>>;

/// Where hyper puts accepted streams.
pub(super) struct StreamQueue<E>(Arc<Mutex<Vec<Part<E>>>>);

/// The running streams of one connection, and the events of type `E` that it waits for.
pub(super) struct Streams<E> {
    queue: StreamQueue<E>,
    running: FuturesUnordered<CatchUnwind<AssertUnwindSafe<Part<E>>>>,
}

impl<E> Clone for StreamQueue<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E, F> Executor<F> for StreamQueue<E>
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.lock().push(Box::pin(stream.map(|()| None)));
    }
}

impl<E> Default for Streams<E> {
    fn default() -> Self {
        Self { queue: StreamQueue(Arc::default()), running: FuturesUnordered::new() }
    }
}

impl<E: Send + 'static> Streams<E> {
    /// Waits for `event`, which [`Streams::poll`] then gives.
    pub(super) fn expect(&self, event: impl Future<Output = E> + Send + 'static) {
        self.start(Box::pin(event.map(Some)));
    }

    /// The executor to give to hyper.
    pub(super) fn queue(&self) -> StreamQueue<E> {
        self.queue.clone()
    }

    /// Takes over what was queued since the last call; whether there was anything.
    pub(super) fn adopt(&self) -> Adopted {
        let mut queue = self.queue.0.lock();
        if queue.is_empty() {
            return Adopted::Nothing;
        }
        queue.drain(..).for_each(|stream| self.start(stream));
        Adopted::Streams
    }

    fn start(&self, part: Part<E>) {
        self.running.push(AssertUnwindSafe(part).catch_unwind());
    }

    /// Runs every stream that can go on; gives an event that has happened.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Option<E> {
        while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(context) {
            match ended {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(panic) => tracing::error!(
                    panic = panic_message(&*panic),
                    "a request panicked; its stream was reset"
                ),
            }
        }
        None
    }
}

/// What [`Streams::adopt`] found.
#[derive(PartialEq)]
pub(super) enum Adopted {
    /// New streams, which now want to be polled.
    Streams,
    /// Nothing new.
    Nothing,
}

impl<E> Drop for Streams<E> {
    /// A queued stream holds the queue it is in; without this, the two would keep each other.
    fn drop(&mut self) {
        self.queue.0.lock().clear();
    }
}

/// The text of a panic, as far as it has one.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
