//! A small SDS server: it answers what it was given to answer, right or wrong, and keeps a log of what
//! it was asked. For proving clients and load generators, which must notice when a server is wrong.

use super::sds::SECRET_TYPE;
use crate::{
    runtime::{Publisher, Reader, Shutdown, TaskSet},
    spiffe::{Bundle, X509Svid},
    wire::proto::envoy::{
        config::core::v3::{DataSource, TypedExtensionConfig, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
            secret::Type, spiffe_cert_validator_config,
        },
        service::{
            discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            },
            secret::v3::secret_discovery_service_server::{
                SecretDiscoveryService, SecretDiscoveryServiceServer,
            },
        },
    },
    x509::pem,
};
use bytes::Bytes;
use prost::Message;
use std::{collections::BTreeMap, path::Path, pin::Pin, sync::Arc};
use tokio::{net::UnixListener, sync::mpsc};
use tokio_stream::{Stream, StreamExt, wrappers};
use tonic::{Request, Response, Status, Streaming};

/// A running server. Dropping it ends every stream.
#[derive(Debug)]
pub struct SdsServer {
    served: Arc<Publisher<Served>>,
    log: Arc<Publisher<Vec<DiscoveryRequest>>>,
    shutdown: Shutdown,
}

/// What is served: each secret with the version at which it last changed.
#[derive(Clone, Debug, Default)]
struct Served {
    version: u64,
    secrets: BTreeMap<String, (u64, Secret)>,
}

struct Service {
    served: Reader<Served>,
    log: Arc<Publisher<Vec<DiscoveryRequest>>>,
    tasks: TaskSet,
}

impl SdsServer {
    /// Binds `path` and serves it.
    pub fn bind(path: &Path) -> Self {
        Self::on(UnixListener::bind(path).unwrap())
    }

    /// Serves a listener.
    #[must_use]
    pub fn on(listener: UnixListener) -> Self {
        let served = Arc::new(Publisher::new(Served::default()));
        let log = Arc::new(Publisher::new(Vec::new()));
        let shutdown = Shutdown::new();
        let tasks = TaskSet::new();
        let service =
            Service { served: served.reader(), log: Arc::clone(&log), tasks: tasks.clone() };
        let ended = shutdown.clone();
        tasks.spawn("test SDS server", async move {
            let serving = tonic::transport::Server::builder()
                .add_service(SecretDiscoveryServiceServer::new(service))
                .serve_with_incoming(wrappers::UnixListenerStream::new(listener));
            tokio::select! {
                biased;
                () = ended.requested() => {}
                result = serving => result.unwrap(),
            }
        });
        Self { served, log, shutdown }
    }

    /// Serves `secret` under its name from now on, and pushes it to the streams that hold the name.
    pub fn serve(&self, secret: Secret) {
        self.served.update(|served| {
            served.version += 1;
            served.secrets.insert(secret.name.clone(), (served.version, secret));
            true
        });
    }

    /// Every request so far, in the order of arrival.
    #[must_use]
    pub fn log(&self) -> Reader<Vec<DiscoveryRequest>> {
        self.log.reader()
    }
}

impl Drop for SdsServer {
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
        Err(Status::unimplemented("this test server speaks state of the world only"))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (responses, stream) = mpsc::channel(1);
        let served = self.served.clone();
        let work = answer_stream(request.into_inner(), served, Arc::clone(&self.log), responses);
        self.tasks.spawn("test SDS stream", work);
        Ok(Response::new(Box::pin(wrappers::ReceiverStream::new(stream))))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let names = request.into_inner().resource_names;
        let (response, _) = self.served.current().newer(&names, 0);
        response.map(Response::new).ok_or_else(|| Status::not_found("no such secret"))
    }
}

async fn answer_stream(
    mut requests: Streaming<DiscoveryRequest>,
    mut served: Reader<Served>,
    log: Arc<Publisher<Vec<DiscoveryRequest>>>,
    responses: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    let (mut names, mut sent) = (Vec::new(), 0);
    loop {
        tokio::select! {
            request = requests.next() => {
                let Some(Ok(request)) = request else { return };
                names.clone_from(&request.resource_names);
                log.update(|log| { log.push(request); true });
            }
            changed = served.changed() => if changed.is_err() { return },
        }
        let (response, version) = served.current().newer(&names, sent);
        sent = version;
        let Some(response) = response else { continue };
        if responses.send(Ok(response)).await.is_err() {
            return;
        }
    }
}

impl Served {
    /// The secrets of `names` that changed after version `sent`, and the version sent with them.
    fn newer(&self, names: &[String], sent: u64) -> (Option<DiscoveryResponse>, u64) {
        let newer = names.iter().filter_map(|name| self.secrets.get(name));
        let newer: Vec<_> = newer.filter(|(version, _)| *version > sent).collect();
        let Some(version) = newer.iter().map(|(version, _)| *version).max() else {
            return (None, sent);
        };
        let resources = newer.iter().map(|(_, secret)| prost_types::Any {
            type_url: SECRET_TYPE.to_owned(),
            value: secret.encode_to_vec(),
        });
        let response = DiscoveryResponse {
            version_info: version.to_string(),
            resources: resources.collect(),
            type_url: SECRET_TYPE.to_owned(),
            nonce: format!("nonce-{version}"),
        };
        (Some(response), version)
    }
}

/// An SVID as a secret of this name.
#[must_use]
pub fn certificate_secret(name: &str, svid: &X509Svid) -> Secret {
    let tls = TlsCertificate {
        certificate_chain: Some(inline(pem::certificates(svid.chain()))),
        private_key: Some(inline(pem::secret_key(svid.key()).to_vec())),
    };
    Secret { name: name.to_owned(), r#type: Some(Type::TlsCertificate(tls)) }
}

/// Bundles as a secret of this name, for Envoy's SPIFFE validator.
#[must_use]
pub fn validation_secret(name: &str, bundles: &[&Bundle]) -> Secret {
    let trust_domains = bundles.iter().map(|bundle| {
        let authorities = bundle.x509_authorities().iter().map(|a| a.certificate.clone());
        spiffe_cert_validator_config::TrustDomain {
            name: bundle.trust_domain().name().to_owned(),
            trust_bundle: Some(inline(pem::certificates(&authorities.collect::<Vec<_>>()))),
        }
    });
    let config = SpiffeCertValidatorConfig { trust_domains: trust_domains.collect() };
    let typed_config = prost_types::Any {
        type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\
                   SPIFFECertValidatorConfig"
            .to_owned(),
        value: config.encode_to_vec(),
    };
    let validator = TypedExtensionConfig {
        name: "envoy.tls.cert_validator.spiffe".to_owned(),
        typed_config: Some(typed_config),
    };
    let context = CertificateValidationContext {
        custom_validator_config: Some(validator),
        ..CertificateValidationContext::default()
    };
    Secret { name: name.to_owned(), r#type: Some(Type::ValidationContext(context)) }
}

fn inline(text: Vec<u8>) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(Bytes::from(text))) }
}
