//! `csi.v1.Identity`: what the driver is, and whether it can do its work.

use super::source::{Source, SourceError};
use crate::{
    runtime::TaskSet,
    transport::status::Kind,
    wire::proto::csi::v1::{
        GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
        GetPluginInfoResponse, ProbeRequest, ProbeResponse, identity_server::Identity,
    },
};
use std::path::PathBuf;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub(super) struct IdentityService {
    pub(super) plugin_name: String,
    pub(super) socket_dir: PathBuf,
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn get_plugin_info(
        &self,
        _request: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: self.plugin_name.clone(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _request: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        Ok(Response::new(GetPluginCapabilitiesResponse {}))
    }

    /// Ready when there is something to mount. A directory that was deleted under us stays deleted for
    /// us, even if there is a new one of its name on the host: only a restart helps, which is what CSI has
    /// FAILED_PRECONDITION for.
    async fn probe(
        &self,
        _request: Request<ProbeRequest>,
    ) -> Result<Response<ProbeResponse>, Status> {
        let path = self.socket_dir.clone();
        let looked = TaskSet::blocking(move || Source::open(&path).map(drop)).await;
        match looked {
            Ok(Ok(())) => Ok(Response::new(ProbeResponse { ready: Some(true) })),
            Ok(Err(error @ SourceError::Deleted(_))) => {
                Err(Kind::Precondition.status(error.to_string()))
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready");
                Ok(Response::new(ProbeResponse { ready: Some(false) }))
            }
            Err(error) => Err(Kind::Internal.status(error.to_string())),
        }
    }
}
