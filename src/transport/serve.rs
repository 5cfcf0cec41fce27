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
        body::{Answer, Payload, RequestBody},
        opening::{FirstTurn, Opening},
        patience::{Missing, Patience, Progress},
        peer::PeerCred,
        rounds::{Part, Rounds},
        settings,
        slices::Sliced,
        streams::Streams,
    },
};
use bytes::Buf;
use h2::server::{self, Handshake, SendResponse};
use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;
use std::{
    future,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{net::UnixStream, time::Sleep};

/// From GOAWAY to the hard end of a connection; below the 10 s in which a program must end on SIGTERM.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(8);

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
    Broken(h2::Error),
}

/// Serves what `acceptor` takes until `shutdown`, each connection as a task of `tasks` with a service
/// of its own from `service`. Then stops accepting; the tasks end by themselves.
pub async fn serve_all<S, B>(
    mut acceptor: Acceptor,
    tasks: TaskSet,
    shutdown: Shutdown,
    mut service: impl FnMut(&Arc<PeerCred>) -> S,
) where
    S: Service<Request<RequestBody>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + Unpin,
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => return,
            accepted = acceptor.next() => accepted,
        };
        let Some(accepted) = accepted else { return };
        let pid = accepted.peer().pid;
        let (service, shutdown) = (service(accepted.peer()), shutdown.clone());
        tasks.spawn("connection", async move {
            // Made here, and not moved in: the task would hold its two kilobytes twice.
            let ended = serve(service, accepted, shutdown).await;
            tracing::debug!(pid, ?ended, "connection ended");
        });
    }
}

/// Serves one connection until it ends. Dropping it closes the connection and drops its streams.
pub async fn serve<S, B>(service: S, accepted: Accepted, shutdown: Shutdown) -> Ended
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + Unpin,
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    let Accepted { stream, peer, seat, greeting } = accepted;
    let progress = Progress::default();
    let first_turn = FirstTurn::default();
    let io = Opening::new(stream, greeting.already_sent(), first_turn.clone());
    let io = Sliced::new(Acceptable::new(io, progress.clone()));
    let streams = Streams::new();
    let watched = Arc::clone(&peer);
    streams.expect(async move {
        watched.exited().await;
        Event::PeerExited
    });
    streams.expect(async move {
        shutdown.requested().await;
        Event::Shutdown
    });
    let service = Arc::new(service);
    let start = |mut request: Request<RequestBody>, respond| {
        progress.saw_request();
        request.extensions_mut().insert(Arc::clone(&peer));
        Answer::new(Arc::clone(&service), request, respond)
    };
    let http2 = Http2::Opening(settings::builder().handshake(io));
    let patience = Patience::new(progress.clone());
    let mut connection = Connection { http2, start, streams, patience, deadline: None };
    let rounds = Rounds::new();
    let mut turn = |task: &mut Context<'_>| {
        rounds.poll(task, |part, context| match part {
            Part::Streams => connection.poll_streams(context, &rounds),
            Part::Transport => connection.poll_transport(context, &rounds),
        })
    };
    let ended = future::poll_fn(|task| {
        let polled = turn(task);
        if polled.is_pending() && first_turn.end() {
            rounds.call(Part::Transport);
            return turn(task);
        }
        polled
    });
    let ended = ended.await;
    // Held until the connection is gone.
    drop((connection, seat));
    ended
}

/// What a connection waits for beside its streams.
enum Event {
    PeerExited,
    Shutdown,
}

type Io = Sliced<Acceptable<Opening<UnixStream>>>;

/// The protocol's two phases.
enum Http2<D: Buf> {
    /// The client has not sent its preface.
    Opening(Handshake<Io, Payload<D>>),
    Open(server::Connection<Io, Payload<D>>),
}

/// A connection and everything that is polled with it. `start` makes the stream of a request.
struct Connection<F, S, D: Buf> {
    http2: Http2<D>,
    start: F,
    streams: Streams<S, Event>,
    patience: Patience,
    /// The hard end, once the end was asked for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<F, S, D> Connection<F, S, D>
where
    F: Fn(Request<RequestBody>, SendResponse<Payload<D>>) -> S,
    S: Future<Output = ()> + Unpin,
    D: Buf,
{
    /// Runs the streams as far as they go. What they send is h2's then, which calls for the transport.
    fn poll_streams(&mut self, context: &mut Context<'_>, rounds: &Rounds) -> ControlFlow<Ended> {
        while let Some(event) = self.streams.poll(context) {
            match event {
                Event::PeerExited => return ControlFlow::Break(Ended::PeerExited),
                Event::Shutdown => {
                    self.deadline = Some(Box::pin(tokio::time::sleep(DRAIN_WITHIN)));
                    self.say_goodbye();
                    rounds.call(Part::Transport);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Sends and receives what there is, and looks at the time.
    fn poll_transport(&mut self, context: &mut Context<'_>, rounds: &Rounds) -> ControlFlow<Ended> {
        while let Poll::Ready(next) = self.poll_http2(context) {
            match next {
                Ok(Some((request, respond))) => {
                    self.streams.add((self.start)(request.map(RequestBody::new), respond));
                    rounds.call(Part::Streams);
                }
                Ok(None) => return ControlFlow::Break(Ended::Closed),
                Err(error) => return ControlFlow::Break(Ended::Broken(error)),
            }
        }
        let is_late = match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(context).map(|()| Ended::DrainTimeout),
            None => self.patience.poll(context).map(Ended::Silent),
        };
        match is_late {
            Poll::Ready(ended) => ControlFlow::Break(ended),
            Poll::Pending => ControlFlow::Continue(()),
        }
    }

    /// The next request; `None` when the connection has ended.
    fn poll_http2(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Asked<D>>, h2::Error>> {
        if let Http2::Opening(handshake) = &mut self.http2 {
            self.http2 = Http2::Open(ready!(Pin::new(handshake).poll(context))?);
            if self.deadline.is_some() {
                self.say_goodbye();
            }
        }
        let Http2::Open(connection) = &mut self.http2 else { return Poll::Pending };
        connection.poll_accept(context).map(Option::transpose)
    }

    /// Announces the end, as soon as the connection is open.
    fn say_goodbye(&mut self) {
        if let Http2::Open(connection) = &mut self.http2 {
            connection.graceful_shutdown();
        }
    }
}

/// A request, and the way to answer it.
type Asked<D> = (Request<h2::RecvStream>, SendResponse<Payload<D>>);

#[cfg(test)]
mod tests;
