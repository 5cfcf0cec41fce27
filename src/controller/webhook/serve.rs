//! The webhook's listener: TLS, HTTP/1.1, one task a connection, every part of it bounded.
//!
//! Knows nothing of admission; that is `review`. An API server keeps its connections open and sends one
//! request after the other.

use super::{certificate::Shown, judge::Judge, review};
use crate::runtime::{Shutdown, TaskSet};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, crypto::aws_lc_rs, server::NoServerSessionStorage};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// API servers of a control plane and their connections; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 64;
/// An object and the one before it: etcd takes 1.5 MiB of each.
const MAX_REQUEST_BYTES: usize = 8 << 20;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// An API server waits 10 s for an answer unless told otherwise, 30 s at most.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// After an accept that failed: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves until `shutdown`, each connection as a task of `tasks`. Dropping it is safe.
///
/// # Errors
/// When the TLS library cannot be set up.
pub(in crate::controller) fn serve(
    listener: TcpListener,
    shown: Shown,
    judge: Arc<Judge>,
    tasks: &TaskSet,
    shutdown: &Shutdown,
) -> Result<(), rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (connections, ended) = (tasks.clone(), shutdown.clone());
    tasks.spawn("webhook listener", async move {
        let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                biased;
                () = ended.requested() => return,
                accepted = accept(&listener, &seats) => accepted,
            };
            let Some((stream, seat)) = accepted else { return };
            let (acceptor, judge, ended) = (acceptor.clone(), Arc::clone(&judge), ended.clone());
            connections.spawn("webhook connection", async move {
                tokio::select! {
                    biased;
                    () = ended.requested() => {}
                    () = converse(stream, &acceptor, &judge) => {}
                }
                drop(seat);
            });
        }
    });
    Ok(())
}

/// A connection and its seat; `None` only if seats were closed, which nobody does.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, seat)),
            Err(error) => {
                tracing::warn!(%error, "a webhook connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, acceptor: &TlsAcceptor, judge: &Judge) {
    let stream = match timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "webhook handshake failed"),
        Err(_) => return tracing::debug!("webhook handshake took too long"),
    };
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(request, judge).await));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "webhook connection ended");
    }
}

async fn answer(request: Request<Incoming>, judge: &Judge) -> Response<Full<Bytes>> {
    if !review::is_served(request.uri().path()) {
        return response(StatusCode::NOT_FOUND, "text/plain", "no such webhook\n");
    }
    if request.method() != Method::POST {
        return response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only POST\n");
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
    match timeout(BODY_WITHIN, body).await {
        Ok(Ok(body)) => match review::answer(&body.to_bytes(), judge) {
            Ok(review) => response(StatusCode::OK, "application/json", review),
            Err(error) => response(StatusCode::BAD_REQUEST, "text/plain", format!("{error}\n")),
        },
        Ok(Err(_)) => {
            response(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "too large or broken\n")
        }
        Err(_) => response(StatusCode::REQUEST_TIMEOUT, "text/plain", "the request is too slow\n"),
    }
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
