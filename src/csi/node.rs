//! `csi.v1.Node`: the kubelet's calls, from the request to the answer, its log line and its count.
//!
//! Mounting runs off the event loop and is never cut short: a call that the kubelet has given up keeps
//! its target until the system calls are done.

use super::{
    CsiConfig,
    condition::Condition,
    metrics::CsiMetrics,
    mount::{self, Cleared, MountError},
    request::{self, Pod, RequestError},
    source::Source,
    target::{Target, TargetError},
    turns::{Busy, Operation, Turns},
};
use crate::{
    runtime::{TaskSet, tasks::BlockingError},
    transport::status::{Kind, shortened},
    wire::proto::csi::v1::{
        NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest,
        NodeGetInfoResponse, NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse,
        NodePublishVolumeRequest, NodePublishVolumeResponse, NodeServiceCapability,
        NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, VolumeCondition,
        node_server::Node,
        node_service_capability::{self, Rpc, rpc},
    },
};
use std::sync::Arc;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

/// The service. Clones share who is at work.
#[derive(Clone, Debug)]
pub(super) struct NodeService {
    config: Arc<CsiConfig>,
    turns: Turns,
    metrics: CsiMetrics,
}

/// Why a call is not done.
#[derive(Debug, thiserror::Error)]
enum NodeError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Blocking(#[from] BlockingError),
}

impl NodeError {
    const fn kind(&self) -> Kind {
        match self {
            Self::Request(_) | Self::Target(_) => Kind::Invalid,
            Self::Busy(_) => Kind::Busy,
            Self::Mount(error) => error.kind(),
            Self::Blocking(_) => Kind::Internal,
        }
    }
}

impl NodeService {
    pub(super) fn new(config: Arc<CsiConfig>, metrics: CsiMetrics) -> Self {
        Self { config, turns: Turns::default(), metrics }
    }

    fn target(&self, path: &str) -> Result<Target, TargetError> {
        Target::parse(path, self.config.pods_dir.as_deref())
    }

    /// Runs `work` alone on `target`, to its end.
    async fn work<T: Send + 'static>(
        &self,
        target: Target,
        operation: Operation,
        work: impl FnOnce(&Target) -> Result<T, MountError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let turn = self.turns.take(&target.path, operation).await?;
        let done = TaskSet::blocking(move || {
            let done = work(&target);
            drop(turn);
            done
        });
        Ok(done.await??)
    }

    /// Publishes and tells; what was mounted is told even if the kubelet has given the call up.
    async fn publish(&self, request: &NodePublishVolumeRequest) -> Result<(), NodeError> {
        request::publish(request)?;
        let target = self.target(&request.target_path)?;
        let (config, metrics) = (Arc::clone(&self.config), self.metrics.clone());
        let (pod, volume) = (Pod::of(&request.volume_context), request.volume_id.clone());
        self.work(target, Operation::Publish, move |target| {
            let published = mount::publish(&Source::open(&config.socket_dir)?, target)?;
            metrics.published(published);
            let Pod { namespace, name, uid, service_account } = pod;
            let target = target.path.display();
            tracing::info!(
                namespace, pod = name, uid, service_account, volume, %target, ?published,
                "volume published"
            );
            Ok(())
        })
        .await
    }

    /// Unpublishes and tells, likewise.
    async fn unpublish(&self, request: &NodeUnpublishVolumeRequest) -> Result<(), NodeError> {
        request::unpublish(request)?;
        let target = self.target(&request.target_path)?;
        let (metrics, volume) = (self.metrics.clone(), request.volume_id.clone());
        self.work(target, Operation::Unpublish, move |target| {
            let cleared @ Cleared { mounts, detached } = mount::unpublish(target)?;
            metrics.cleared(cleared);
            let target = target.path.display();
            if detached > 0 {
                tracing::warn!(volume, %target, detached, "volume was in use when unpublished");
            }
            tracing::info!(volume, %target, mounts, "volume unpublished");
            Ok(())
        })
        .await
    }

    /// Counts a call; a failure becomes its status.
    fn answer<T>(
        &self,
        method: &'static str,
        since: Instant,
        outcome: Result<T, NodeError>,
    ) -> Result<T, Status> {
        let answer = outcome.map_err(|error| error.kind().status(error.to_string()));
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        self.metrics.called(method, code, since.elapsed());
        answer
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let (since, request) = (Instant::now(), request.into_inner());
        let outcome = self.publish(&request).await;
        if let Err(error) = &outcome {
            let Pod { namespace, name, uid, service_account } = Pod::of(&request.volume_context);
            let (volume, target) = (&request.volume_id, shortened(&request.target_path));
            tracing::warn!(
                namespace, pod = name, uid, service_account, volume, target, %error,
                "volume not published"
            );
        }
        self.answer("NodePublishVolume", since, outcome)?;
        Ok(Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let (since, request) = (Instant::now(), request.into_inner());
        let outcome = self.unpublish(&request).await;
        if let Err(error) = &outcome {
            let NodeUnpublishVolumeRequest { volume_id: volume, target_path } = &request;
            let target = shortened(target_path);
            tracing::warn!(volume, target, %error, "volume not unpublished");
        }
        self.answer("NodeUnpublishVolume", since, outcome)?;
        Ok(Response::new(NodeUnpublishVolumeResponse {}))
    }

    /// Never an error, as upstream: the kubelet shows the condition, and logs an error only.
    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let condition = match self.target(&request.get_ref().volume_path) {
            Ok(target) => TaskSet::blocking(move || Condition::of(&target)).await,
            Err(_) => Ok(Condition::NotMounted),
        };
        let condition = condition.map_err(|error| Kind::Internal.status(error.to_string()))?;
        let volume_condition = Some(VolumeCondition {
            abnormal: condition.is_abnormal(),
            message: condition.to_string(),
        });
        Ok(Response::new(NodeGetVolumeStatsResponse { volume_condition }))
    }

    async fn node_get_capabilities(
        &self,
        _request: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let capability = |kind: rpc::Type| NodeServiceCapability {
            r#type: Some(node_service_capability::Type::Rpc(Rpc { r#type: kind.into() })),
        };
        let kinds = [rpc::Type::VolumeCondition, rpc::Type::GetVolumeStats];
        let capabilities = kinds.map(capability).to_vec();
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(
        &self,
        _request: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse { node_id: self.config.node_id.clone() }))
    }
}
