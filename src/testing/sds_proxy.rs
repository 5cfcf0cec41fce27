//! A proxy between one Envoy and its agent that spoils secrets on their way, so that an Envoy refuses
//! what the agent would never send. Everything else passes as it is, refusals included.

use super::sds::SECRET_TYPE;
use crate::{
    runtime::{Shutdown, TaskSet},
    transport::channel,
    wire::proto::envoy::{
        extensions::transport_sockets::tls::v3::Secret,
        service::{
            discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            },
            secret::v3::{
                secret_discovery_service_client::SecretDiscoveryServiceClient,
                secret_discovery_service_server::{
                    SecretDiscoveryService, SecretDiscoveryServiceServer,
                },
            },
        },
    },
};
use futures_util::{StreamExt, future};
use parking_lot::Mutex;
use prost::Message;
use std::{path::Path, pin::Pin, sync::Arc};
use tokio::net::UnixListener;
use tokio_stream::{Stream, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

/// A running proxy. Dropping it ends every stream.
#[derive(Debug)]
pub struct SdsProxy {
    refusals: Arc<Mutex<Vec<String>>>,
    shutdown: Shutdown,
}

type Spoil = Arc<dyn Fn(&mut Secret) + Send + Sync>;

#[derive(Clone)]
struct Service {
    agent: SecretDiscoveryServiceClient<Channel>,
    spoil: Spoil,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl SdsProxy {
    /// Serves `path` from the agent at `agent`, over one connection, with every secret seen and perhaps
    /// changed by `spoil`.
    pub async fn start(
        path: &Path,
        agent: &Path,
        spoil: impl Fn(&mut Secret) + Send + Sync + 'static,
    ) -> Self {
        let agent = channel::connect_uds(agent).await.unwrap();
        let refusals = Arc::new(Mutex::default());
        let service = Service {
            agent: SecretDiscoveryServiceClient::new(agent),
            spoil: Arc::new(spoil),
            refusals: Arc::clone(&refusals),
        };
        let listener = UnixListener::bind(path).unwrap();
        let shutdown = Shutdown::new();
        let ended = shutdown.clone();
        TaskSet::new().spawn("test SDS proxy", async move {
            let serving = tonic::transport::Server::builder()
                .add_service(SecretDiscoveryServiceServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener));
            tokio::select! {
                biased;
                () = ended.requested() => {}
                result = serving => result.unwrap(),
            }
        });
        Self { refusals, shutdown }
    }

    /// What the Envoy said when it refused something, in order.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.refusals.lock().clone()
    }
}

impl Drop for SdsProxy {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SecretDiscoveryService for Service {
    type DeltaSecretsStream = Responses<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Responses<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("this test proxy speaks state of the world only"))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let refusals = Arc::clone(&self.refusals);
        // A broken stream ends the agent's side too.
        let requests = request
            .into_inner()
            .take_while(|request| future::ready(request.is_ok()))
            .filter_map(|request| future::ready(request.ok()))
            .inspect(move |request| {
                let refused = request.error_detail.as_ref().map(|detail| detail.message.clone());
                refusals.lock().extend(refused);
            });
        let responses = self.agent.clone().stream_secrets(requests).await?.into_inner();
        let spoil = Arc::clone(&self.spoil);
        let spoiled = responses.map(move |response| response.map(|r| spoiled(r, &spoil)));
        Ok(Response::new(Box::pin(spoiled)))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let response = self.agent.clone().fetch_secrets(request.into_inner()).await?;
        Ok(response.map(|response| spoiled(response, &self.spoil)))
    }
}

fn spoiled(mut response: DiscoveryResponse, spoil: &Spoil) -> DiscoveryResponse {
    for resource in &mut response.resources {
        let mut secret = Secret::decode(resource.value.as_slice()).unwrap();
        spoil(&mut secret);
        SECRET_TYPE.clone_into(&mut resource.type_url);
        resource.value = secret.encode_to_vec();
    }
    response
}
