//! Runs the streams of one connection inside that connection's task: one task per sidecar, a push and
//! its write in one wake-up, and nothing left behind when the connection ends.
//!
//! A stream that panics ends alone. What else a connection waits for runs among its streams, so that it
//! is looked at only when it has happened.

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, CatchUnwind},
    stream::FuturesUnordered,
};
use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

/// The running streams of one connection, each an `S`, and the events of type `E` that it waits for.
pub(super) struct Streams<S, E> {
    running: FuturesUnordered<CatchUnwind<AssertUnwindSafe<Part<S, E>>>>,
}

enum Part<S, E> {
    Stream(S),
    Event(BoxFuture<'static, E>),
}

impl<S: Future<Output = ()> + Unpin, E> Future for Part<S, E> {
    type Output = Option<E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<E>> {
        match self.get_mut() {
            Self::Stream(stream) => Pin::new(stream).poll(context).map(|()| None),
            Self::Event(event) => event.as_mut().poll(context).map(Some),
        }
    }
}

impl<S: Future<Output = ()> + Unpin, E> Streams<S, E> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { running: FuturesUnordered::new() }
    }

    /// Waits for `event`, which [`Streams::poll`] then gives.
    pub(super) fn expect(&self, event: impl Future<Output = E> + Send + 'static) {
        self.start(Part::Event(Box::pin(event)));
    }

    /// Runs a stream with the next [`Streams::poll`].
    pub(super) fn add(&self, stream: S) {
        self.start(Part::Stream(stream));
    }

    fn start(&self, part: Part<S, E>) {
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

/// The text of a panic, as far as it has one.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
