//! Runs the streams of one connection inside that connection's task.
//!
//! hyper hands each accepted stream to an executor. This one queues it, and the connection's task
//! polls it beside the connection itself: one task per sidecar, a push and its write in one wake-up,
//! and nothing left behind when the connection ends. A stream that panics ends alone.

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

/// Where hyper puts accepted streams.
#[derive(Clone, Default)]
pub(super) struct StreamQueue(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

/// The running streams of one connection.
#[derive(Default)]
pub(super) struct Streams {
    queue: StreamQueue,
    running: FuturesUnordered<CatchUnwind<AssertUnwindSafe<BoxFuture<'static, ()>>>>,
}

impl<F> Executor<F> for StreamQueue
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.lock().push(Box::pin(stream));
    }
}

impl Streams {
    /// The executor to give to hyper.
    pub(super) fn queue(&self) -> StreamQueue {
        self.queue.clone()
    }

    /// Takes over what was queued since the last call; whether there was anything.
    pub(super) fn adopt(&mut self) -> Adopted {
        let mut queue = self.queue.0.lock();
        if queue.is_empty() {
            return Adopted::Nothing;
        }
        self.running.extend(queue.drain(..).map(|stream| AssertUnwindSafe(stream).catch_unwind()));
        Adopted::Streams
    }

    /// Runs every stream that can go on.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(context) {
            if let Err(panic) = ended {
                tracing::error!(
                    panic = panic_message(&*panic),
                    "a request panicked; its stream was reset"
                );
            }
        }
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

impl Drop for Streams {
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
