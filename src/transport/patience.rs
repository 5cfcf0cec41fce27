//! How long a connection may be silent before it asked for anything. Owns the two deadlines.
//!
//! A connection has one timer until its first request and none afterwards, so that a held stream
//! costs no wake-up for as long as it lasts.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Until the 24 octets that open HTTP/2. A client sends them with its first write.
pub(super) const PREFACE_WITHIN: Duration = Duration::from_secs(5);
/// Until the first request. Istio's probe closes at once, Envoy asks at once.
pub(super) const REQUEST_WITHIN: Duration = Duration::from_secs(60);

/// How far a connection has come; shared by the layers that see the steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU8>);

const PREFACE: u8 = 1;
const REQUEST: u8 = 2;

impl Progress {
    /// The client sent the octets that open HTTP/2.
    pub(super) fn saw_preface(&self) {
        self.0.fetch_max(PREFACE, Ordering::Relaxed);
    }

    /// The client sent a request.
    pub(super) fn saw_request(&self) {
        self.0.fetch_max(REQUEST, Ordering::Relaxed);
    }

    fn step(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a silent connection failed to send in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The octets that open HTTP/2.
    Preface,
    /// A request.
    Request,
}

/// The timer of one connection, until its first request.
#[derive(Debug)]
pub(super) struct Patience {
    progress: Progress,
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Patience that begins now.
    pub(super) fn new(progress: Progress) -> Self {
        let since = Instant::now();
        let timer = Box::pin(sleep_until(since + PREFACE_WITHIN));
        Self { progress, since, timer: Some(timer) }
    }

    /// Ready when the client was silent for too long; never once it has sent a request.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Missing> {
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        if self.progress.step() >= REQUEST {
            self.timer = None;
            return Poll::Pending;
        }
        std::task::ready!(timer.as_mut().poll(context));
        let request_deadline = self.since + REQUEST_WITHIN;
        if self.progress.step() < PREFACE {
            return Poll::Ready(Missing::Preface);
        }
        if timer.deadline() >= request_deadline {
            return Poll::Ready(Missing::Request);
        }
        timer.as_mut().reset(request_deadline);
        timer.as_mut().poll(context).map(|()| Missing::Request)
    }
}
