//! Requests through the client Envoy, one after the other on a few kept connections. None is ever
//! repeated, so that a lost one is seen.

use crate::runtime::{Shutdown, TaskSet};
use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, time::Instant};

/// Clients that send requests until they are stopped.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Tally>,
    tasks: TaskSet,
    shutdown: Shutdown,
}

/// How many clients, and how fast each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many clients send at once.
    pub clients: usize,
    /// How long each rests between an answer and its next request.
    pub rest: Duration,
}

/// A request that was not answered with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, since the start of the load.
    pub at: Duration,
    /// What happened.
    pub what: String,
}

/// What happened so far.
#[derive(Debug)]
struct Tally {
    started: Instant,
    requests: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("{status}: {body}")]
    Status { status: StatusCode, body: String },
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
}

/// Envoy's own limit on a connection attempt to the other side, which is the longest it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts when the client Envoy does not answer at all.
const PAUSE: Duration = Duration::from_millis(10);
/// Failures come in thousands when something is wrong; the first ones tell what.
const REMEMBERED: usize = 8;

impl Load {
    /// Starts sending requests to the client Envoy's plain listener.
    #[must_use]
    pub fn start(plain: SocketAddr, pace: Pace) -> Self {
        let tally = Arc::new(Tally {
            started: Instant::now(),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let (tasks, shutdown) = (TaskSet::new(), Shutdown::new());
        for _client in 0..pace.clients {
            let client = Client { plain, tally: Arc::clone(&tally), tasks: tasks.clone() };
            let shutdown = shutdown.clone();
            tasks.spawn("load client", client.run(pace.rest, shutdown));
        }
        Self { tally, tasks, shutdown }
    }

    /// How many requests were sent and answered, or failed.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.tally.requests.load(Ordering::Relaxed)
    }

    /// How many of them failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.tally.failed.load(Ordering::Relaxed)
    }

    /// The first failures.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        self.tally.failures.lock().clone()
    }

    /// Lets every client finish its request and waits for that.
    pub async fn stop(&self) {
        self.shutdown.request();
        self.tasks.finish(PATIENCE).await;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

struct Client {
    plain: SocketAddr,
    tally: Arc<Tally>,
    tasks: TaskSet,
}

impl Client {
    async fn run(self, rest: Duration, shutdown: Shutdown) {
        let mut connection = None;
        while !shutdown.is_requested() {
            let asked = tokio::time::timeout(PATIENCE, self.ask(&mut connection)).await;
            let result = asked.unwrap_or(Err(RequestError::Slow));
            self.tally.requests.fetch_add(1, Ordering::Relaxed);
            let pause = match result {
                Ok(()) => rest,
                Err(error) => {
                    self.tally.record(&error);
                    if !matches!(error, RequestError::Status { .. }) {
                        connection = None;
                    }
                    PAUSE.max(rest)
                }
            };
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn ask(
        &self,
        connection: &mut Option<SendRequest<Empty<Bytes>>>,
    ) -> Result<(), RequestError> {
        let sender = match connection {
            Some(sender) => sender,
            None => connection.insert(self.connect().await?),
        };
        let mut request = Request::new(Empty::new());
        request.headers_mut().insert(HOST, http::HeaderValue::from_static("server"));
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status == StatusCode::OK {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&body).chars().take(300).collect();
        Err(RequestError::Status { status, body })
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, RequestError> {
        let socket = TcpStream::connect(self.plain).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        // It ends with the sender; what ends it otherwise, the next request sees.
        self.tasks.spawn("load connection", async move { drop(connection.await) });
        Ok(sender)
    }
}

impl Tally {
    fn record(&self, error: &RequestError) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock();
        if failures.len() < REMEMBERED {
            failures.push(Failure { at: self.started.elapsed(), what: error.to_string() });
        }
    }
}
