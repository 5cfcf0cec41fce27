//! gRPC health on the private socket, as `healthcheck` asks it: serving when nothing is missing from
//! readiness. Liveness is the answer itself.

use crate::{runtime::ready::Readiness, transport::status::Kind};
use tonic::{Request, Response, Status};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, HealthCheckResponse, health_server},
};

/// Answers for the whole server.
#[derive(Clone, Debug)]
pub struct HealthService {
    readiness: Readiness,
}

impl HealthService {
    /// Serving as long as `readiness` misses nothing.
    #[must_use]
    pub const fn new(readiness: Readiness) -> Self {
        Self { readiness }
    }

    fn status(&self) -> HealthCheckResponse {
        let status = if self.readiness.is_ready() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        HealthCheckResponse { status: status as i32 }
    }
}

#[tonic::async_trait]
impl health_server::Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.as_str() {
            "" => Ok(Response::new(self.status())),
            _ => Err(Kind::Invalid.status("per-service health is not supported")),
        }
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    /// As SPIRE's, which does not offer it either.
    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Kind::Unsupported.status("watching health is not supported, ask Check"))
    }
}
