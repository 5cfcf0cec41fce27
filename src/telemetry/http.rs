//! The HTTP pages of a program: `/live`, `/ready`, `/metrics`.
//!
//! Every page is made from memory: asking costs other work nothing, and liveness never depends on a
//! remote system (a database that is down must not have the program restarted). One request a
//! connection, few connections at once, and a time for each, so that this door cannot be used to tie
//! the program up. One task accepts; each connection is one more.

use crate::{
    config::listen::HealthChecks,
    runtime::{Shutdown, TaskSet, ready::Readiness},
    telemetry::Metrics,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap, convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// SPIRE 1.15: `ReadHeaderTimeout`.
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// From the accept to the last octet of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A kubelet, a Prometheus and some people; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 64;
/// A request to these pages is a line and a few headers.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// After an accept that failed: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(500);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is shown under which path.
#[derive(Clone, Debug, Default)]
pub struct Pages(BTreeMap<String, Page>);

#[derive(Clone, Debug)]
enum Page {
    Live(&'static [&'static str]),
    Ready(&'static [&'static str], Readiness),
    Metrics(Metrics),
}

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address} for {purpose}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What for.
    pub purpose: &'static str,
    #[source]
    source: io::Error,
}

impl Pages {
    /// No pages yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the two health pages. `subsystems` are the names under which SPIRE's own checks stand
    /// there, for tools that look for them.
    #[must_use]
    pub fn with_health(
        mut self,
        config: &HealthChecks,
        subsystems: &'static [&'static str],
        readiness: Readiness,
    ) -> Self {
        self.0.insert(config.live_path.clone(), Page::Live(subsystems));
        self.0.insert(config.ready_path.clone(), Page::Ready(subsystems, readiness));
        self
    }

    /// Adds `/metrics`, and the same under `/`, where SPIRE shows it too.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.0.insert("/".to_owned(), Page::Metrics(metrics.clone()));
        self.0.insert("/metrics".to_owned(), Page::Metrics(metrics));
        self
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer
                .headers_mut()
                .insert(ALLOW, const { hyper::header::HeaderValue::from_static("GET, HEAD") });
            return answer;
        }
        match self.0.get(path) {
            Some(page) => page.render(),
            None => text(StatusCode::NOT_FOUND, "no such page\n"),
        }
    }
}

impl Page {
    fn render(&self) -> Response<Full<Bytes>> {
        match self {
            Self::Live(subsystems) => health(StatusCode::OK, subsystems, BTreeMap::new()),
            Self::Ready(subsystems, readiness) => {
                let missing = readiness.missing();
                let ready = missing.is_empty();
                let status = if ready { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
                health(status, subsystems, missing)
            }
            Self::Metrics(metrics) => page(StatusCode::OK, OPEN_METRICS, metrics.render()),
        }
    }
}

/// SPIRE's health document: an object per subsystem, empty when all is well. A part that is not ready
/// says there what it waits for.
fn health(
    status: StatusCode,
    subsystems: &[&'static str],
    missing: BTreeMap<&'static str, String>,
) -> Response<Full<Bytes>> {
    let well = subsystems.iter().map(|name| ((*name).to_owned(), json!({})));
    let waiting =
        missing.into_iter().map(|(name, what)| (name.to_owned(), json!({"waits_for": what})));
    let document = Value::Object(well.chain(waiting).collect::<Map<_, _>>());
    page(status, "application/json", format!("{document}\n"))
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// Opens a listener for pages; `purpose` is what logs call it.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn listen(
    address: SocketAddr,
    purpose: &'static str,
) -> Result<TcpListener, ListenError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ListenError {
        address,
        purpose,
        source,
    })?;
    tracing::info!(%address, purpose, "serving http");
    Ok(listener)
}

/// Serves `pages` until `shutdown`, each connection as a task of `tasks`. Dropping it is safe.
pub async fn serve(listener: TcpListener, pages: Pages, tasks: TaskSet, shutdown: Shutdown) {
    let (pages, seats) = (Arc::new(pages), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    loop {
        let (stream, seat) = tokio::select! {
            biased;
            () = shutdown.requested() => return,
            Some(accepted) = accept(&listener, &seats) => accepted,
        };
        let (pages, shutdown) = (Arc::clone(&pages), shutdown.clone());
        tasks.spawn("http connection", async move {
            tokio::select! {
                biased;
                () = shutdown.requested() => {}
                () = converse(stream, &pages) => {}
            }
            drop(seat);
        });
    }
}

/// A connection and its seat; waits for a free seat first. `None` only if seats were closed, which
/// nobody does.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, seat)),
            Err(error) => {
                tracing::warn!(%error, "an http connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers the one request of a connection.
async fn converse(stream: TcpStream, pages: &Pages) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = pages.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WITHIN)
        .max_buf_size(MAX_REQUEST_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(ANSWER_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "http request failed"),
        Err(_) => tracing::debug!("http request took too long"),
    }
}

#[cfg(test)]
mod tests;
