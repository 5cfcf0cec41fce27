//! Which service answers a request: SDS streams here, everything else by tonic.

use super::{
    body::{ServeBody, StreamBody},
    caller::Caller,
    grpc, sds,
    workload_api::WorkloadApi,
};
use crate::{
    transport::{RequestBody, status::Kind},
    wire::proto::{self, workload::spiffe_workload_api_server::SpiffeWorkloadApiServer},
};
use futures_util::future::{self, BoxFuture, Either, Ready};
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::service::Service;
use std::{convert::Infallible, sync::Arc};
use tonic::{Status, service::Routes};
use tonic_health::server::HealthReporter;
use tower::ServiceExt;

/// The services of one connection.
pub(super) struct Route {
    caller: Arc<Caller>,
    others: Routes,
}

const SDS: &str = "/envoy.service.secret.v3.SecretDiscoveryService/";
const WORKLOAD_API: &str = "/SpiffeWorkloadAPI/";

/// The services that tonic answers on every connection, and the switch of their health service.
pub(super) async fn others() -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("SpiffeWorkloadAPI")
        .with_service_name("envoy.service.secret.v3.SecretDiscoveryService")
        .with_service_name("grpc.health.v1.Health")
        .build_v1()?;
    let routes = Routes::new(SpiffeWorkloadApiServer::new(WorkloadApi))
        .add_service(health_service)
        .add_service(reflection);
    Ok((routes.prepare(), health))
}

impl Route {
    pub(super) const fn new(caller: Arc<Caller>, others: Routes) -> Self {
        Self { caller, others }
    }

    /// The SDS method that `path` names.
    fn sds(&self, path: &str) -> Option<fn(Arc<Caller>, RequestBody) -> StreamBody> {
        match path.strip_prefix(SDS)? {
            "StreamSecrets" => Some(sds::stream_secrets),
            "DeltaSecrets" => Some(sds::delta_secrets),
            "FetchSecrets" => Some(sds::fetch_secrets),
            _ => None,
        }
    }
}

impl Service<Request<RequestBody>> for Route {
    type Response = Response<ServeBody>;
    type Error = Infallible;
    type Future = Either<
        Ready<Result<Self::Response, Infallible>>,
        BoxFuture<'static, Result<Self::Response, Infallible>>,
    >;

    fn call(&self, mut request: Request<RequestBody>) -> Self::Future {
        let path = request.uri().path();
        if let Some(refusal) = refuse_non_grpc(&request) {
            return Either::Left(future::ok(refusal));
        }
        if let Some(method) = self.sds(path) {
            let body = method(Arc::clone(&self.caller), request.into_body());
            return Either::Left(future::ok(grpc::response(ServeBody::Stream(body))));
        }
        if path.starts_with(WORKLOAD_API) && !has_security_header(request.headers()) {
            self.caller.serving.metrics.refused();
            let refusal = Kind::Invalid.status("security header missing from request");
            return Either::Left(future::ok(refused(&refusal)));
        }
        request.extensions_mut().insert(Arc::clone(&self.caller));
        let others = self.others.clone();
        Either::Right(Box::pin(async move {
            let response = others.oneshot(request.map(tonic::body::Body::new)).await?;
            Ok(response.map(ServeBody::Tonic))
        }))
    }
}

/// What is not gRPC gets an HTTP status that says so.
fn refuse_non_grpc(request: &Request<RequestBody>) -> Option<Response<ServeBody>> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc && request.method() == http::Method::POST {
        return None;
    }
    let mut response = Response::new(ServeBody::Tonic(tonic::body::Body::empty()));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some(response)
}

/// SPIFFE Workload Endpoint §5: exactly once, exactly `true`, so that no browser or proxy can be made
/// to ask in somebody's name.
fn has_security_header(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all("workload.spiffe.io").iter();
    matches!((values.next(), values.next()), (Some(value), None) if value.as_bytes() == b"true")
}

/// A gRPC answer without messages.
fn refused(status: &Status) -> Response<ServeBody> {
    let mut response = grpc::response(ServeBody::Tonic(tonic::body::Body::empty()));
    response.headers_mut().extend(grpc::trailers(&Err(status.clone())));
    response
}
