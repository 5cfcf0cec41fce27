//! `api fetch sds`: what an Envoy in this place would be given. SPIRE has no such command.
//!
//! Asks as Envoy does, on one stream for all names, and accepts what comes. An agent holds the question of a
//! caller that has no identity yet, so there is a time after which the command gives up.

use super::{
    connection::{PublicSocket, WORKLOAD_TIMEOUT},
    secrets::{self, Secrets},
};
use crate::{
    agent::serve::secret::SECRET_TYPE,
    cli::{
        Failure,
        command::Command,
        console,
        flags::{Deadline, FlagSet},
        go::duration::GoDuration,
        output::Output,
        rpc,
    },
    runtime::Clock,
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::envoy::{
        config::core::v3::Node,
        service::{
            discovery::v3::{DiscoveryRequest, DiscoveryResponse},
            secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
        },
    },
};
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

/// Fetches the secrets of the calling process.
#[derive(Debug)]
pub(super) struct FetchSds {
    socket: PublicSocket,
    timeout: Deadline,
    names: Vec<String>,
    output: Output,
}

/// The names that a sidecar asks for.
const USUAL_NAMES: [&str; 2] = ["default", "ROOTCA"];
/// One acknowledgement is sent at a time.
const ACKNOWLEDGEMENTS: usize = 1;

/// No secret for every name.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// No connection, or a refusal.
    #[error(transparent)]
    Call(#[from] rpc::Error),
    /// Not in time.
    #[error(
        "no secret {} within {}: the agent waits until the caller has an identity, and then for each name; \
         `finial doctor -pid PID` on the node says what is missing",
        .names.join(" and no secret "), GoDuration(*.waited)
    )]
    Held {
        /// What was not answered, quoted.
        names: Vec<String>,
        /// How long it took.
        waited: Duration,
    },
    /// Unusable.
    #[error(transparent)]
    Secret(#[from] secrets::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Call(status.into())
    }
}

impl Default for FetchSds {
    fn default() -> Self {
        Self {
            socket: PublicSocket::default(),
            timeout: WORKLOAD_TIMEOUT,
            names: Vec::new(),
            output: Output::default(),
        }
    }
}

impl Command for FetchSds {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.socket.flags(flags);
        flags.add("timeout", &mut self.timeout, "How long to wait for the secrets");
        flags.add(
            "name",
            &mut self.names,
            "The name of a secret; can be used more than once. Without one, default and ROOTCA",
        );
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let start = Instant::now();
        let target = self.socket.target(self.timeout.0)?;
        let names = if self.names.is_empty() {
            USUAL_NAMES.map(str::to_owned).to_vec()
        } else {
            self.names
        };
        let mut secrets = Secrets::default();
        let fetched = target.call(async |channel| fetch(channel, &names, &mut secrets).await);
        if let Err(Error::Call(rpc::Error::Deadline { .. })) = fetched {
            let names = secrets.missing(&names).map(|name| format!("{name:?}")).collect();
            return Err(Error::Held { names, waited: self.timeout.0 }.into());
        }
        fetched?;
        secrets.verify(Clock::system().now())?;
        if self.output.is_json() {
            return console::print(&secrets.json());
        }
        console::print(&secrets.text(start.elapsed()))
    }
}

/// Follows the stream until each name has a secret.
async fn fetch(channel: Channel, names: &[String], secrets: &mut Secrets) -> Result<(), Error> {
    let (requests, outgoing) = mpsc::channel(ACKNOWLEDGEMENTS);
    let mut client =
        SecretDiscoveryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut request = subscription(names);
    send(&requests, &request).await;
    let mut responses = client.stream_secrets(ReceiverStream::new(outgoing)).await?.into_inner();
    while secrets.missing(names).next().is_some() {
        let ended = || Status::unavailable("the agent ended the stream");
        let response: DiscoveryResponse = responses.message().await?.ok_or_else(ended)?;
        secrets.take(&response)?;
        request.node = None;
        request.version_info = response.version_info;
        request.response_nonce = response.nonce;
        send(&requests, &request).await;
    }
    Ok(())
}

fn subscription(names: &[String]) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(Node { id: "finial".to_owned(), ..Node::default() }),
        resource_names: names.to_vec(),
        type_url: SECRET_TYPE.to_owned(),
        ..DiscoveryRequest::default()
    }
}

/// A stream that has ended says so where its answers are read.
async fn send(requests: &mpsc::Sender<DiscoveryRequest>, request: &DiscoveryRequest) {
    let sent = requests.send(request.clone()).await;
    sent.unwrap_or_else(|closed| tracing::trace!(%closed, "the stream has ended"));
}
