//! Speaks HTTP/2 on accepted connections: one task per connection, which owns the connection, its
//! streams, its timer until the first request, and the watch on its peer's process.
//!
//! A connection ends when the peer closes it or its process ends, when it stays silent at the start,
//! or at shutdown: GOAWAY first, then the time of [`DRAIN_WITHIN`] for streams to end. Knows nothing of
//! gRPC; the service finds the peer as `Arc<PeerCred>` in each request's extensions.

use crate::{
    runtime::{Shutdown, TaskSet},
    transport::{
        accept::{Accepted, Acceptor},
        authority::Acceptable,
        greeting::Greeted,
        patience::{Missing, Patience, Progress},
        peer::PeerCred,
        rounds::Rounds,
        settings,
        slices::Sliced,
        streams::{Adopted, StreamQueue, Streams},
    },
};
use futures_util::future::BoxFuture;
use http_body::Body;
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::http2,
    service::{HttpService, Service},
};
use hyper_util::rt::TokioIo;
use std::{
    error::Error as StdError,
    future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{net::UnixStream, time::Sleep};

/// From GOAWAY to the hard end of a connection; below the 10 s in which a program must end on SIGTERM.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(8);

/// Any error of a service or body.
type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The peer closed it, or all its streams ended after GOAWAY.
    Closed,
    /// The peer's process ended.
    PeerExited,
    /// The peer was silent for too long.
    Silent(Missing),
    /// Streams were still open at the end of [`DRAIN_WITHIN`].
    DrainTimeout,
    /// The peer or the transport broke HTTP/2.
    Broken(hyper::Error),
}

/// Serves what `acceptor` takes until `shutdown`, each connection as a task of `tasks` with a service
/// of its own from `service`. Then stops accepting; the tasks end by themselves.
pub async fn serve_all<S, B>(
    mut acceptor: Acceptor,
    tasks: TaskSet,
    shutdown: Shutdown,
    mut service: impl FnMut(&Arc<PeerCred>) -> S,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => return,
            accepted = acceptor.next() => accepted,
        };
        let Some(accepted) = accepted else { return };
        let pid = accepted.peer().pid;
        let serving = serve(service(accepted.peer()), accepted, shutdown.clone());
        tasks.spawn("connection", async move {
            let ended = serving.await;
            tracing::debug!(pid, ?ended, "connection ended");
        });
    }
}

/// Serves one connection until it ends. Dropping it closes the connection and drops its streams.
pub async fn serve<S, B>(service: S, accepted: Accepted, shutdown: Shutdown) -> Ended
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let Accepted { stream, peer, seat, greeting } = accepted;
    let progress = Progress::default();
    let io = Acceptable::new(greeting.already_sent_on(stream), progress.clone());
    let io = Sliced::new(io);
    let service = Introduced {
        service: Arc::new(service),
        peer: Arc::clone(&peer),
        progress: progress.clone(),
    };
    let streams = Streams::default();
    streams.expect(async move {
        peer.exited().await;
        Event::PeerExited
    });
    streams.expect(async move {
        shutdown.requested().await;
        Event::Shutdown
    });
    let http2 = settings::builder(streams.queue()).serve_connection(TokioIo::new(io), service);
    let patience = Patience::new(progress);
    let mut connection = Connection { http2, streams, patience, deadline: None };
    let rounds = Rounds::new();
    let ended = future::poll_fn(|task| rounds.poll(task, |context| connection.poll(context))).await;
    // Held until the connection is gone.
    drop((connection, seat));
    ended
}

/// What a connection waits for beside its streams.
enum Event {
    PeerExited,
    Shutdown,
}

type Http2<S> = http2::Connection<
    TokioIo<Sliced<Acceptable<Greeted<UnixStream>>>>,
    Introduced<S>,
    StreamQueue<Event>,
>;

/// A connection and everything that is polled with it.
struct Connection<S: Service<Request<Incoming>>>
where
    Introduced<S>: HttpService<Incoming>,
{
    http2: Http2<S>,
    streams: Streams<Event>,
    patience: Patience,
    /// The hard end, once the end was asked for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S, B> Connection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    /// Takes the connection as far as it goes. Streams come before the connection, so that what they
    /// send goes out in the same round.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match self.streams.poll(context) {
                Some(Event::PeerExited) => return Poll::Ready(Ended::PeerExited),
                Some(Event::Shutdown) => {
                    Pin::new(&mut self.http2).graceful_shutdown();
                    self.deadline = Some(Box::pin(tokio::time::sleep(DRAIN_WITHIN)));
                    continue;
                }
                None => {}
            }
            if let Poll::Ready(result) = Pin::new(&mut self.http2).poll(context) {
                return Poll::Ready(result.map_or_else(Ended::Broken, |()| Ended::Closed));
            }
            if self.streams.adopt() == Adopted::Nothing {
                break;
            }
        }
        if let Some(deadline) = &mut self.deadline {
            return deadline.as_mut().poll(context).map(|()| Ended::DrainTimeout);
        }
        self.patience.poll(context).map(Ended::Silent)
    }
}

/// A service whose requests carry their peer. Its own call runs within the stream, so that a panic in
/// it ends the stream and not the connection.
struct Introduced<S> {
    service: Arc<S>,
    peer: Arc<PeerCred>,
    progress: Progress,
}

impl<S, B> Service<Request<Incoming>> for Introduced<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.progress.saw_request();
        request.extensions_mut().insert(Arc::clone(&self.peer));
        let service = Arc::clone(&self.service);
        Box::pin(async move { service.call(request).await })
    }
}

#[cfg(test)]
mod tests;
