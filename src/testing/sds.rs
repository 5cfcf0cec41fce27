//! An SDS client whose every acknowledgement is the test's own decision: it can ACK, NACK or stay
//! silent, per stream, as Envoys do and as broken ones do.

use super::{
    grpc::{Call, CallError, Connection},
    node,
};
use crate::wire::proto::{
    envoy::{
        config::core::v3::Node,
        extensions::transport_sockets::tls::v3::Secret,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        },
    },
    google::rpc,
};
use prost::Message;
use std::{collections::HashMap, path::Path};
use tokio::net::UnixStream;

/// The type URL of every SDS message.
pub const SECRET_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

const STREAM: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
const DELTA: &str = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";
const FETCH: &str = "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";

/// One Envoy: a connection and the node that its streams introduce themselves with.
#[derive(Debug)]
pub struct SdsClient {
    connection: Connection,
    node: Node,
    size: FirstMessage,
}

/// How large the first message of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstMessage {
    /// What the node holds and nothing else.
    Small,
    /// 61 kB, as from a real Envoy.
    EnvoySized,
}

/// A state-of-the-world stream.
#[derive(Debug)]
pub struct SdsStream {
    call: Call<DiscoveryResponse>,
    names: Vec<String>,
    accepted_version: String,
    last_nonce: String,
}

/// A delta stream.
#[derive(Debug)]
pub struct DeltaStream {
    call: Call<DeltaDiscoveryResponse>,
}

/// One response, its secrets decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `version_info`, or `system_version_info`.
    pub version: String,
    /// The nonce to acknowledge it with.
    pub nonce: String,
    /// The secrets, in the order of the message.
    pub secrets: Vec<Secret>,
    /// Delta only: the version of each secret, in the same order.
    pub versions: Vec<String>,
    /// Delta only: names that no longer exist.
    pub removed: Vec<String>,
}

impl Answer {
    /// The secret called `name`.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.iter().find(|secret| secret.name == name)
    }

    /// The names of the secrets, in the order of the message.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.secrets.iter().map(|secret| secret.name.as_str()).collect()
    }
}

impl SdsClient {
    /// Connects to the SDS socket at `path` as an Istio proxy would.
    ///
    /// # Errors
    /// When nobody accepts there.
    pub async fn connect(path: &Path) -> Result<Self, CallError> {
        Ok(Self::on(Connection::open(path).await?))
    }

    /// The same, on a socket that is connected already.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub async fn over(socket: UnixStream) -> Result<Self, CallError> {
        Ok(Self::on(Connection::over(socket).await?))
    }

    fn on(connection: Connection) -> Self {
        Self { connection, node: node::istio_proxy("web"), size: FirstMessage::Small }
    }

    /// The same client as another node.
    #[must_use]
    pub fn with_node(mut self, node: Node) -> Self {
        self.node = node;
        self
    }

    /// The same client with first messages of this size.
    #[must_use]
    pub const fn with_first_message(mut self, size: FirstMessage) -> Self {
        self.size = size;
        self
    }

    /// The same client with another `:authority`.
    #[must_use]
    pub fn with_authority(self, authority: &str) -> Self {
        Self { connection: self.connection.with_authority(authority), ..self }
    }

    /// The connection, for calls that are no SDS.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Opens a stream and subscribes it to `names`.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn stream(&self, names: &[&str]) -> Result<SdsStream, CallError> {
        self.resume(names, "").await
    }

    /// As [`SdsClient::stream`], for a client that holds `version` from an earlier connection.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn resume(&self, names: &[&str], version: &str) -> Result<SdsStream, CallError> {
        let mut stream = self.silent_stream().await?;
        stream.names = owned(names);
        version.clone_into(&mut stream.accepted_version);
        let request = DiscoveryRequest { node: Some(self.node.clone()), ..stream.request() };
        match self.size {
            FirstMessage::Small => stream.call.send(&request)?,
            FirstMessage::EnvoySized => {
                stream.call.send_encoded(&node::first_request_of_envoys_size(&request))?;
            }
        }
        Ok(stream)
    }

    /// Opens a stream that has sent no message yet.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn silent_stream(&self) -> Result<SdsStream, CallError> {
        Ok(SdsStream {
            call: self.connection.call(STREAM).await?,
            names: Vec::new(),
            accepted_version: String::new(),
            last_nonce: String::new(),
        })
    }

    /// Opens a delta stream subscribed to `names`, holding `versions` from an earlier connection.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn delta(
        &self,
        names: &[&str],
        versions: HashMap<String, String>,
    ) -> Result<DeltaStream, CallError> {
        let mut call = self.connection.call(DELTA).await?;
        call.send(&DeltaDiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: SECRET_TYPE.to_owned(),
            resource_names_subscribe: owned(names),
            initial_resource_versions: versions,
            ..DeltaDiscoveryRequest::default()
        })?;
        Ok(DeltaStream { call })
    }

    /// Asks once for `names`.
    ///
    /// # Errors
    /// When the server answers with an error.
    pub async fn fetch(&self, names: &[&str]) -> Result<Answer, CallError> {
        let mut call = self.connection.call::<DiscoveryResponse>(FETCH).await?;
        call.send(&DiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: SECRET_TYPE.to_owned(),
            resource_names: owned(names),
            ..DiscoveryRequest::default()
        })?;
        call.finish()?;
        answer(call.next().await?)
    }

    /// Closes the socket at once, as a killed Envoy does.
    pub fn hang_up(&self) {
        self.connection.hang_up();
    }
}

impl SdsStream {
    /// The next response, which stays unanswered. Dropping it is safe.
    ///
    /// # Errors
    /// When the stream has ended, or is silent for too long.
    pub async fn next(&mut self) -> Result<Answer, CallError> {
        let next = self.call.next().await;
        self.received(next.map_err(|error| error.of_call_for(&self.names))?)
    }

    /// The next response, however long it takes, which stays unanswered. Dropping it is safe.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn wait(&mut self) -> Result<Answer, CallError> {
        let next = self.call.wait().await?;
        self.received(next)
    }

    fn received(&mut self, response: DiscoveryResponse) -> Result<Answer, CallError> {
        let answer = answer(response)?;
        self.last_nonce.clone_from(&answer.nonce);
        Ok(answer)
    }

    /// The next response, acknowledged.
    ///
    /// # Errors
    /// When the stream has ended, or is silent for too long.
    pub async fn accept(&mut self) -> Result<Answer, CallError> {
        let answer = self.next().await?;
        self.ack(&answer)?;
        Ok(answer)
    }

    /// Acknowledges `answer`.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn ack(&mut self, answer: &Answer) -> Result<(), CallError> {
        self.accepted_version.clone_from(&answer.version);
        let request = DiscoveryRequest { response_nonce: answer.nonce.clone(), ..self.request() };
        self.send(&request)
    }

    /// Refuses `answer`, as Envoy does: with the version that it accepted before.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn nack(&mut self, answer: &Answer, message: &str) -> Result<(), CallError> {
        let request = DiscoveryRequest {
            response_nonce: answer.nonce.clone(),
            error_detail: Some(refusal(message)),
            ..self.request()
        };
        self.send(&request)
    }

    /// Changes the subscription to `names`, answering the last response with it.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn ask(&mut self, names: &[&str]) -> Result<(), CallError> {
        self.names = owned(names);
        let request =
            DiscoveryRequest { response_nonce: self.last_nonce.clone(), ..self.request() };
        self.send(&request)
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn send(&mut self, request: &DiscoveryRequest) -> Result<(), CallError> {
        self.call.send(request)
    }

    /// The call below, for what no well-behaved client does.
    pub const fn call(&mut self) -> &mut Call<DiscoveryResponse> {
        &mut self.call
    }

    /// A request for this stream's names with the version it holds, without nonce and node.
    #[must_use]
    pub fn request(&self) -> DiscoveryRequest {
        DiscoveryRequest {
            version_info: self.accepted_version.clone(),
            resource_names: self.names.clone(),
            type_url: SECRET_TYPE.to_owned(),
            ..DiscoveryRequest::default()
        }
    }
}

impl DeltaStream {
    /// The next response, which stays unanswered. Dropping it is safe.
    ///
    /// # Errors
    /// When the stream has ended, or is silent for too long.
    pub async fn next(&mut self) -> Result<Answer, CallError> {
        let response = self.call.next().await?;
        let decode = |any: &prost_types::Any| Secret::decode(any.value.as_slice());
        let resources = response.resources.iter();
        let secrets = resources.filter_map(|found| found.resource.as_ref()).map(decode);
        Ok(Answer {
            version: response.system_version_info,
            nonce: response.nonce,
            secrets: secrets.collect::<Result<_, _>>()?,
            versions: response.resources.into_iter().map(|resource| resource.version).collect(),
            removed: response.removed_resources,
        })
    }

    /// The next response, acknowledged.
    ///
    /// # Errors
    /// When the stream has ended, or is silent for too long.
    pub async fn accept(&mut self) -> Result<Answer, CallError> {
        let answer = self.next().await?;
        self.ack(&answer)?;
        Ok(answer)
    }

    /// Acknowledges `answer`.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn ack(&mut self, answer: &Answer) -> Result<(), CallError> {
        let response_nonce = answer.nonce.clone();
        self.send(DeltaDiscoveryRequest { response_nonce, ..DeltaDiscoveryRequest::default() })
    }

    /// Refuses `answer`.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn nack(&mut self, answer: &Answer, message: &str) -> Result<(), CallError> {
        self.send(DeltaDiscoveryRequest {
            response_nonce: answer.nonce.clone(),
            error_detail: Some(refusal(message)),
            ..DeltaDiscoveryRequest::default()
        })
    }

    /// Adds and removes names, answering nothing.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn change(&mut self, subscribe: &[&str], unsubscribe: &[&str]) -> Result<(), CallError> {
        self.send(DeltaDiscoveryRequest {
            resource_names_subscribe: owned(subscribe),
            resource_names_unsubscribe: owned(unsubscribe),
            ..DeltaDiscoveryRequest::default()
        })
    }

    fn send(&mut self, request: DeltaDiscoveryRequest) -> Result<(), CallError> {
        self.call.send(&DeltaDiscoveryRequest { type_url: SECRET_TYPE.to_owned(), ..request })
    }
}

fn answer(response: DiscoveryResponse) -> Result<Answer, CallError> {
    let secrets = response.resources.iter().map(|any| Secret::decode(any.value.as_slice()));
    Ok(Answer {
        secrets: secrets.collect::<Result<_, _>>()?,
        version: response.version_info,
        nonce: response.nonce,
        versions: Vec::new(),
        removed: Vec::new(),
    })
}

/// Envoy's NACK carries INTERNAL.
fn refusal(message: &str) -> rpc::Status {
    rpc::Status { code: 13, message: message.to_owned(), ..rpc::Status::default() }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests;
