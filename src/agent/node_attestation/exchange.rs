//! The exchange of AttestAgent (agent.md §4.1), and the bundle that follows it on the same connection.

use super::{NodeAttestor, attestor::ProofError};
use crate::{
    spiffe::Bundle,
    transport::{channel::MAX_MESSAGE_BYTES, status::Reason},
    wire::{
        bundle::{self, BundleError},
        proto::spire::api::{
            server::{
                agent::v1::{
                    AgentX509svidParams, AttestAgentRequest, AttestAgentResponse,
                    agent_client::AgentClient, attest_agent_request, attest_agent_response,
                },
                bundle::v1::{GetBundleRequest, bundle_client::BundleClient},
            },
            types::AttestationData,
        },
        svid,
    },
    x509::{Certificate, cert::CertificateError},
};
use bytes::Bytes;
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Channel};

/// What the server gave.
#[derive(Debug)]
pub struct Attested {
    /// The agent's chain, leaf first.
    pub chain: Vec<Certificate>,
    /// Whether it may attest again.
    pub is_reattestable: bool,
    /// The trust domain's bundle.
    pub bundle: Bundle,
}

/// An attestation that led to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The agent has no answer to a challenge.
    #[error("this node cannot prove what it is")]
    Proof(#[from] ProofError),
    /// The server refuses or cannot answer.
    #[error("the server does not attest this agent: {}", .0.message())]
    Call(#[source] Box<Status>),
    /// The server said nothing for too long.
    #[error("the server has not answered within {} s", WITHIN.as_secs())]
    Timeout,
    /// The exchange ended without a result.
    #[error("the server ended the attestation without a result")]
    NoResult,
    /// More challenges than any attestor has.
    #[error("the server challenged this agent more than {MAX_CHALLENGES} times")]
    Challenges,
    /// The SVID is unreadable.
    #[error("the server gave an unreadable SVID")]
    Certificate(#[from] CertificateError),
    /// The bundle is unreadable.
    #[error("the server gave an unreadable bundle")]
    Bundle(#[from] BundleError),
}

/// Each whole exchange; SPIRE's agent allows 30 s per call.
const WITHIN: Duration = Duration::from_secs(30);
/// TPM attestation, the longest, takes two.
const MAX_CHALLENGES: usize = 8;

impl ExchangeError {
    /// Whether the server says that this agent is banned.
    #[must_use]
    pub fn is_ban(&self) -> bool {
        let Self::Call(status) = self else { return false };
        // SPIRE says it without a detail (SPIRE 1.15: "failed to attest: agent is banned").
        Reason::of(status) == Some(Reason::AgentBanned)
            || (status.code() == Code::PermissionDenied
                && status.message().ends_with("agent is banned"))
    }
}

/// Proves over `channel` which node this is, beginning with `payload`, and has the key of `csr`
/// certified. Dropping the future ends the exchange; a join token may be used up then.
///
/// # Errors
/// Why there is no SVID.
pub async fn attest(
    channel: Channel,
    attestor: &NodeAttestor,
    payload: Bytes,
    csr: Vec<u8>,
) -> Result<Attested, ExchangeError> {
    let exchange = exchange(channel, attestor, payload, csr);
    timeout(WITHIN, exchange).await.map_err(|_| ExchangeError::Timeout)?
}

async fn exchange(
    channel: Channel,
    attestor: &NodeAttestor,
    payload: Bytes,
    csr: Vec<u8>,
) -> Result<Attested, ExchangeError> {
    let data = AttestationData { r#type: attestor.kind().to_owned(), payload };
    let params = attest_agent_request::Params {
        data: Some(data),
        params: Some(AgentX509svidParams { csr: csr.into() }),
    };
    let first = request(attest_agent_request::Step::Params(params));
    let result = converse(channel.clone(), attestor, first).await.inspect_err(|error| {
        // The proof itself is refused: what SPIRE and finial answer to a used or expired token.
        if matches!(error, ExchangeError::Call(status) if status.code() == Code::InvalidArgument) {
            attestor.rejected();
        }
    })?;
    let chain = svid::chain(&result.svid.ok_or(ExchangeError::NoResult)?)?;
    let bundle = fetch_bundle(channel).await?;
    Ok(Attested { chain, is_reattestable: result.reattestable, bundle })
}

async fn converse(
    channel: Channel,
    attestor: &NodeAttestor,
    first: AttestAgentRequest,
) -> Result<attest_agent_response::Result, ExchangeError> {
    let (answers, requests) = mpsc::channel(1);
    // There is room for one, so this never waits.
    let _first_fits = answers.send(first).await;
    let mut client = AgentClient::new(channel);
    let call = client.attest_agent(ReceiverStream::new(requests));
    let mut responses = call.await.map_err(failed)?.into_inner();
    for _ in 0..=MAX_CHALLENGES {
        let response = responses.message().await.map_err(failed)?;
        match response.and_then(|AttestAgentResponse { step }| step) {
            Some(attest_agent_response::Step::Result(result)) => return Ok(result),
            Some(attest_agent_response::Step::Challenge(challenge)) => {
                let answer = attestor.answer(&challenge)?;
                let answer = request(attest_agent_request::Step::ChallengeResponse(answer));
                if answers.send(answer).await.is_err() {
                    return Err(ExchangeError::NoResult);
                }
            }
            None => return Err(ExchangeError::NoResult),
        }
    }
    Err(ExchangeError::Challenges)
}

async fn fetch_bundle(channel: Channel) -> Result<Bundle, ExchangeError> {
    let mut client = BundleClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let call = client.get_bundle(GetBundleRequest::default());
    let found = call.await.map_err(failed)?.into_inner();
    Ok(bundle::bundle(&found)?)
}

const fn request(step: attest_agent_request::Step) -> AttestAgentRequest {
    AttestAgentRequest { step: Some(step) }
}

fn failed(status: Status) -> ExchangeError {
    ExchangeError::Call(Box::new(status))
}
