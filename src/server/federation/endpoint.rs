//! The bundle endpoint, profile `https_spiffe` (SPIFFE Federation §5.2): the trust domain's bundle as a
//! document, to everybody, under the server's own SVID.
//!
//! Answers from memory. One request a connection, few connections at once and fewer of one address, and a
//! time for each step: nobody can tie the server up by this door. HTTP/1.1 only, which every client of a
//! document speaks. One task accepts; each connection is one more. Knows nothing of other trust domains.

use crate::{
    runtime::{Reader, Shutdown, TaskSet},
    server::{config::BundleEndpoint, store::Store},
    spiffe::{Bundle, TrustDomain, X509Svid, bundle_doc},
    telemetry::http::{self, ListenError},
    transport::{
        admission::{Admission, Places},
        mtls::{self, MtlsError},
    },
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// A few readers for each of a thousand trust domains, each for milliseconds every few minutes.
const LIMITS: Admission = Admission { connections: 256, unproven_per_ip: 32 };
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// SPIRE 1.15: `ReadHeaderTimeout`.
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// From the end of the handshake to the last octet of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// After an accept that failed: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(500);

/// The endpoint, bound.
pub(in crate::server) struct Endpoint {
    listener: TcpListener,
    /// Where it is.
    pub(in crate::server) local_addr: SocketAddr,
    tls: TlsAcceptor,
    document: Arc<Document>,
}

/// The endpoint cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address is not known.
    #[error("the address of the bundle endpoint")]
    Address(#[source] std::io::Error),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] MtlsError),
}

/// The bundle as a document. What was written for a bundle is kept as long as that bundle is the current
/// one.
struct Document {
    store: Store,
    trust_domain: TrustDomain,
    refresh_hint_secs: i64,
    written: Mutex<Option<(Arc<Bundle>, Bytes)>>,
}

impl Endpoint {
    /// Binds it, for the bundle in `store` and under `svid`.
    pub(in crate::server) async fn bind(
        config: &BundleEndpoint,
        svid: Reader<Arc<X509Svid>>,
        store: Store,
        trust_domain: TrustDomain,
    ) -> Result<Self, EndpointError> {
        let listener = http::listen(config.bind, "the trust bundle").await?;
        let local_addr = listener.local_addr().map_err(EndpointError::Address)?;
        let tls = TlsAcceptor::from(mtls::public_config(svid)?);
        let refresh_hint_secs = i64::try_from(config.refresh_hint.as_secs()).unwrap_or(i64::MAX);
        let written = Mutex::default();
        let document = Document { store, trust_domain, refresh_hint_secs, written };
        Ok(Self { listener, local_addr, tls, document: Arc::new(document) })
    }

    /// Serves until `shutdown`, each connection as a task of `tasks`.
    pub(in crate::server) async fn run(self, tasks: TaskSet, shutdown: Shutdown) {
        let places = Places::new(LIMITS);
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.requested() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a reader of the trust bundle was not accepted");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let place = match places.take(address.ip()) {
                Ok(place) => place,
                Err(full) => {
                    tracing::debug!(reason = %full, "a reader of the trust bundle was turned away");
                    continue;
                }
            };
            let (tls, document) = (self.tls.clone(), Arc::clone(&self.document));
            let end = shutdown.clone();
            tasks.spawn("bundle endpoint connection", async move {
                tokio::select! {
                    biased;
                    () = end.requested() => {}
                    () = converse(stream, address, tls, &document) => {}
                }
                drop(place);
            });
        }
    }
}

/// Shakes hands and answers the one request of a connection.
async fn converse(stream: TcpStream, address: SocketAddr, tls: TlsAcceptor, document: &Document) {
    let stream = match timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake refused"),
        Err(_) => return tracing::debug!(%address, "no TLS handshake in time"),
    };
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), document);
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
        Ok(Err(error)) => tracing::debug!(%address, %error, "reading the trust bundle failed"),
        Err(_) => tracing::debug!(%address, "reading the trust bundle took too long"),
    }
}

/// SPIRE 1.15: endpoints/bundle/server.go, to the word.
fn answer(method: &Method, path: &str, document: &Document) -> Response<Full<Bytes>> {
    if method != Method::GET {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n");
    }
    if path != "/" {
        return refusal(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let Some(bundle) = document.store.bundle(&document.trust_domain) else {
        let text = "500 unable to retrieve local bundle\n";
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, text);
    };
    match document.of(bundle) {
        Ok(text) => response(StatusCode::OK, "application/json", text),
        Err(error) => {
            tracing::error!(%error, "the trust bundle cannot be written as a document");
            let text = "500 unable to marshal local bundle\n";
            refusal(StatusCode::INTERNAL_SERVER_ERROR, text)
        }
    }
}

impl Document {
    fn of(&self, bundle: Arc<Bundle>) -> Result<Bytes, bundle_doc::DocumentError> {
        let mut written = self.written.lock();
        if let Some((known, text)) = &*written
            && Arc::ptr_eq(known, &bundle)
        {
            return Ok(text.clone());
        }
        let text = Bytes::from(bundle_doc::write_with(&bundle, self.refresh_hint_secs)?);
        *written = Some((bundle, text.clone()));
        Ok(text)
    }
}

fn refusal(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
