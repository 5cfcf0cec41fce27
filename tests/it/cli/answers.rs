//! A gRPC server that answers each call by a function: for programs that call, it cannot be told from
//! one with generated services.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use finial::runtime::TaskSet;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::{convert::Infallible, path::Path, sync::Arc};
use tokio::net::UnixListener;
use tonic::{Code, Status};

/// What to answer.
pub(crate) enum Answer {
    /// One message, then OK.
    Message(Vec<u8>),
    /// A status.
    Refusal(Status),
    /// Nothing, for ever.
    Silence,
}

impl Answer {
    pub(crate) fn of(message: &impl Message) -> Self {
        Self::Message(message.encode_to_vec())
    }

    pub(crate) fn refusal(code: Code, message: &str) -> Self {
        Self::Refusal(Status::new(code, message))
    }
}

/// Given the full method name and the request's bytes.
pub(crate) type Answers = Arc<dyn Fn(&str, Bytes) -> Answer + Send + Sync>;

/// Serves `answers` on `path`, which is bound when this returns.
pub(crate) fn serve(path: &Path, tasks: &TaskSet, answers: Answers) {
    let listener = UnixListener::bind(path).unwrap();
    let connections = tasks.clone();
    tasks.spawn("accept", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            let service = service_fn(move |request| respond(request, Arc::clone(&answers)));
            connections.spawn("connection", async move {
                let server = http2::Builder::new(TokioExecutor::new());
                // A client that is done hangs up.
                let _ended = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

type Body = BoxBody<Bytes, Infallible>;

async fn respond(
    request: Request<Incoming>,
    answers: Answers,
) -> Result<Response<Body>, hyper::Error> {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let mut body = request.into_body().collect().await?.to_bytes();
    body.advance(5);
    let mut response = Response::builder().header("content-type", "application/grpc");
    match answers(&method, body) {
        Answer::Message(message) => {
            let mut frame = BytesMut::new();
            frame.put_u8(0);
            frame.put_u32(u32::try_from(message.len()).unwrap());
            frame.put_slice(&message);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let body = Full::new(frame.freeze()).with_trailers(async { Some(Ok(trailers)) });
            Ok(response.body(body.boxed()).unwrap())
        }
        Answer::Refusal(status) => {
            status.add_header(response.headers_mut().unwrap()).unwrap();
            Ok(response.body(Full::new(Bytes::new()).boxed()).unwrap())
        }
        Answer::Silence => std::future::pending().await,
    }
}
