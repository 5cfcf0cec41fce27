//! The TLS listener: accepts, shakes hands, and speaks HTTP/2, one task per connection.
//!
//! A connection's way: a place by [`super::admission`] → TLS handshake within `HANDSHAKE_WITHIN` →
//! HTTP/2 until one side ends. A connection that proves no identity is told to go after
//! `UNPROVEN_FOR`; one that proved one may stay, as authorisation looks at its certificate again
//! with each request. At shutdown: GOAWAY, then `DRAIN_WITHIN` for streams to end. The accept loop
//! never spins and ends at shutdown only. Knows nothing of gRPC; the caller makes the service of each
//! connection from its [`TlsPeer`].

use super::{
    admission::{Admission, Place, Places},
    verify::{self, Proof, Role},
};
use crate::runtime::{Shutdown, TaskSet};
use http_body::Body;
use hyper::{
    Request, Response, body::Incoming, rt::Executor, server::conn::http2, service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::{
    error::Error as StdError,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// From the accept to the end of the handshake; an honest one takes two round trips.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// For a connection without certificate, and until the first request of any: attesting takes two
/// requests.
const UNPROVEN_FOR: Duration = Duration::from_secs(60);
/// From GOAWAY to the hard end of a connection; below the 10 s in which a program must end on SIGTERM.
const DRAIN_WITHIN: Duration = Duration::from_secs(8);
/// After running out of descriptors: long enough not to spin, short enough to recover unnoticed.
const PAUSE: Duration = Duration::from_millis(50);
/// At most one line about refused connections in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

// HTTP/2 (crates.md §1.3). Agents send small requests, entries come in messages of megabytes.
const MAX_STREAMS: u32 = 1_000;
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
const MAX_SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Rapid reset (CVE-2023-44487): h2 closes the connection with `ENHANCE_YOUR_CALM` beyond these.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1_024;
/// A peer that vanished without a word is noticed within 40 s (F-10).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Any error of a service or body.
type BoxError = Box<dyn StdError + Send + Sync>;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    /// Where it connects from.
    pub address: SocketAddr,
    /// What its certificate proves; `None` when it showed none.
    pub proof: Option<Proof>,
}

/// Serves what `listener` takes until `shutdown`, each connection as a task of `tasks` with a service
/// of its own from `service`. Then stops accepting; the tasks end by themselves.
pub async fn serve_all<S, B>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    limits: Admission,
    tasks: TaskSet,
    shutdown: Shutdown,
    service: impl Fn(&TlsPeer) -> S + Clone + Send + Sync + 'static,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (acceptor, places) = (TlsAcceptor::from(tls), Places::new(limits));
    let mut complaint = Complaint::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_peers(&error) => continue,
            Err(error) => {
                complaint.say(|times| tracing::error!(%error, times, "cannot accept connections"));
                sleep(PAUSE).await;
                continue;
            }
        };
        let place = match places.take(address.ip()) {
            Ok(place) => place,
            Err(full) => {
                complaint.say(|times| tracing::warn!(reason = %full, times, "connection refused"));
                continue;
            }
        };
        let arrival = Arrival { stream, address, place };
        let serving =
            arrival.serve(acceptor.clone(), service.clone(), tasks.clone(), shutdown.clone());
        tasks.spawn("TLS connection", serving);
    }
}

/// Whether an error of accept is the fault of the connection that is lost by it.
fn is_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// A connection that was let in.
struct Arrival {
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
}

impl Arrival {
    async fn serve<S, B>(
        self,
        acceptor: TlsAcceptor,
        service: impl Fn(&TlsPeer) -> S,
        tasks: TaskSet,
        shutdown: Shutdown,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError> + Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let Self { stream, address, mut place } = self;
        let handshake = tokio::select! {
            biased;
            () = shutdown.requested() => return,
            handshake = timeout(HANDSHAKE_WITHIN, shake_hands(stream, address, &acceptor)) => handshake,
        };
        let (stream, peer) = match handshake {
            Ok(Ok(established)) => established,
            Ok(Err(error)) => {
                let cause = error.source().map(ToString::to_string);
                tracing::info!(%address, %error, cause, "TLS handshake refused");
                return;
            }
            Err(_) => return tracing::debug!(%address, "no TLS handshake in time"),
        };
        if peer.proof.is_some() {
            place.proven();
        }
        let ended = serve_http2(stream, &peer, service(&peer), tasks, shutdown).await;
        tracing::debug!(%address, ended, "connection ended");
        drop(place);
    }
}

/// The handshake, and what the client proved in it.
async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: &TlsAcceptor,
) -> Result<(TlsStream<TcpStream>, TlsPeer), BoxError> {
    // Small answers to small requests: never wait to fill a segment.
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    // The verifier has let it pass, so this is what it found.
    let proof = leaf.map(|leaf| verify::claim(Role::Client, leaf)).transpose()?;
    Ok((stream, TlsPeer { address, proof }))
}

async fn serve_http2<S, B>(
    stream: TlsStream<TcpStream>,
    peer: &TlsPeer,
    service: S,
    tasks: TaskSet,
    shutdown: Shutdown,
) -> &'static str
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let was_used = Arc::new(AtomicBool::new(false));
    let service = Watched { service, was_used: Arc::clone(&was_used) };
    let mut connection =
        pin!(builder(Spawner(tasks)).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        () = shutdown.requested() => {}
        () = outstays(peer, &was_used) => {}
        result = connection.as_mut() => return outcome(&result),
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        () = sleep(DRAIN_WITHIN) => "streams were open for too long after GOAWAY",
        result = connection => outcome(&result),
    }
}

fn outcome(result: &hyper::Result<()>) -> &'static str {
    if result.is_ok() { "closed" } else { "broken" }
}

/// Completes when the connection is to be told to go; never for one that proved an identity and then
/// made a request.
async fn outstays(peer: &TlsPeer, was_used: &AtomicBool) {
    sleep(UNPROVEN_FOR).await;
    if peer.proof.is_some() && was_used.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn builder(spawner: Spawner) -> http2::Builder<Spawner> {
    let mut builder = http2::Builder::new(spawner);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}

/// Runs each stream as a task of its own, so that one agent's signing uses every core.
#[derive(Clone)]
struct Spawner(TaskSet);

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("stream", stream);
    }
}

/// A service that remembers whether it was ever called.
struct Watched<S> {
    service: S,
    was_used: Arc<AtomicBool>,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Watched<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.was_used.store(true, Ordering::Relaxed);
        self.service.call(request)
    }
}

/// Trouble with accepting, told at most once per [`COMPLAIN_EVERY`].
#[derive(Default)]
struct Complaint {
    last: Option<Instant>,
    untold: u64,
}

impl Complaint {
    /// Counts one occurrence; calls `tell` with how many there were since it was last called.
    fn say(&mut self, tell: impl FnOnce(u64)) {
        self.untold += 1;
        if self.last.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        tell(std::mem::take(&mut self.untold));
    }
}

#[cfg(test)]
mod tests;
