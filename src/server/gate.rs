//! Every request's way in: authorised by its caller and method, handed to its service with the caller
//! in its extensions, counted by its answer. One [`Gate`] serves one connection.

use super::{
    authorize::Authorizer,
    caller::Caller,
    metrics::{RpcCall, RpcMetrics},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::{Request, Response, service::Service};
use std::{
    convert::Infallible,
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Code, Status, service::Routes};
use tower::ServiceExt as _;

/// Any error of a request's body.
type BoxError = Box<dyn StdError + Send + Sync>;

/// What the gates of one listener have in common.
#[derive(Clone)]
pub struct Gatehouse {
    /// Who may call what.
    pub authorizer: Authorizer,
    /// Counts the answers.
    pub metrics: RpcMetrics,
    /// The services of this listener.
    pub routes: Routes,
}

/// The way in for one caller.
#[derive(Clone)]
pub struct Gate {
    house: Gatehouse,
    caller: Caller,
}

/// An answer's body, which at its end tells how the call went.
#[derive(Debug)]
pub struct Counted {
    body: tonic::body::Body,
    call: Option<RpcCall>,
}

impl Gatehouse {
    /// The way in for `caller`.
    #[must_use]
    pub fn gate(&self, caller: Caller) -> Gate {
        Gate { house: self.clone(), caller }
    }
}

impl Gate {
    async fn pass<B>(self, mut request: Request<B>) -> Response<Counted>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let Self { house, caller } = self;
        let method = request.uri().path();
        let call = house.metrics.begin(method);
        if let Err(denied) = house.authorizer.authorize(method, &caller).await {
            return counted(denied.into_http(), call);
        }
        request.extensions_mut().insert(caller);
        match house.routes.oneshot(request).await {
            Ok(response) => counted(response, call),
            Err(never) => match never {},
        }
    }
}

impl<B> Service<Request<B>> for Gate
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let gate = self.clone();
        Box::pin(async move { Ok(gate.pass(request).await) })
    }
}

/// Follows an answer to its end. An error may stand in the headers already; otherwise in the trailers.
fn counted(response: Response<tonic::body::Body>, call: RpcCall) -> Response<Counted> {
    let (parts, body) = response.into_parts();
    let call = match status_of(&parts.headers) {
        Some(code) => {
            call.finish(code);
            None
        }
        None => Some(call),
    };
    Response::from_parts(parts, Counted { body, call })
}

fn status_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(code) = frame.trailers_ref().and_then(status_of)
            && let Some(call) = self.call.take()
        {
            call.finish(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
