//! The gRPC services of a socket as `transport` serves them.

use crate::transport::RequestBody;
use futures_util::future::BoxFuture;
use hyper::{Request, Response, service::Service};
use std::convert::Infallible;
use tonic::service::Routes;
use tower::ServiceExt as _;

/// All services of one socket, for one connection.
#[derive(Clone)]
pub(super) struct Services(pub(super) Routes);

impl Service<Request<RequestBody>> for Services {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<RequestBody>) -> Self::Future {
        Box::pin(self.0.clone().oneshot(request))
    }
}
