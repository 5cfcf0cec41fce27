//! The calls that give the agent a new SVID: attestation over a connection of its own, renewal over the
//! one that stands. Each makes a new key in the slot that is not in use.

use super::{
    bootstrap::BootstrapError,
    own_svid::{self, OwnSvidError},
    trust::Trust,
};
use crate::{
    agent::{
        metrics::Outcome,
        node_attestation::{
            NodeAttestor,
            attestor::{ProofError, ProofValidity},
            exchange::{self, ExchangeError},
        },
        patience::Reach,
        storage::{Keys, NodeFile, Slot, keys::KeysError},
        upstream::{Credentials, Upstream},
    },
    runtime::{Clock, TaskSet, tasks::BlockingError},
    spiffe::{TrustDomain, X509Svid, svid::leaf_subject},
    transport::{channel::ConnectError, mtls::ServerTrust, status::Reason},
    wire::{
        proto::spire::api::server::agent::v1::{
            AgentX509svidParams, RenewAgentRequest, agent_client::AgentClient,
        },
        svid,
    },
    x509::{
        KeyPair, KeyType,
        cert::CertificateError,
        csr::{self, CsrError},
        key::KeyError,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};

/// What both calls need. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Renewer {
    pub(super) trust_domain: TrustDomain,
    pub(super) upstream: Upstream,
    pub(super) attestor: Arc<NodeAttestor>,
    pub(super) trust: Arc<Trust>,
    pub(super) keys: Arc<Keys>,
    pub(super) node: Arc<NodeFile>,
    pub(super) clock: Clock,
}

/// A new SVID.
#[derive(Debug)]
pub(super) struct Renewed {
    pub(super) svid: Arc<X509Svid>,
    pub(super) is_reattestable: bool,
}

/// No new SVID.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The server cannot be known.
    #[error("no server can be known")]
    Bootstrap(#[from] BootstrapError),
    /// The server cannot be reached, or is not to be believed.
    #[error("no connection to the server")]
    Connect(#[from] ConnectError),
    /// No key can be made.
    #[error("no key for the agent")]
    Key(#[from] KeyError),
    /// The key cannot be kept, so that a restart would lose what the server gives once.
    #[error("the agent's key cannot be stored")]
    Keys(#[from] KeysError),
    /// No request can be made.
    #[error("no CSR for the agent")]
    Csr(#[from] CsrError),
    /// The agent has no proof to give.
    #[error("this node cannot prove what it is")]
    Proof(#[from] ProofError),
    /// The attestation failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The server refuses to renew.
    #[error("the server does not renew this agent's SVID: {}", .0.message())]
    Call(#[source] Box<Status>),
    /// The server said nothing for too long.
    #[error("the server has not answered within {} s", WITHIN.as_secs())]
    Timeout,
    /// There is no SVID in the answer.
    #[error("the server's answer holds no SVID")]
    Empty,
    /// The SVID in the answer is unreadable.
    #[error("the server gave an unreadable SVID")]
    Certificate(#[from] CertificateError),
    /// The SVID in the answer is not this agent's.
    #[error("the server gave an SVID that is not this agent's")]
    Svid(#[from] OwnSvidError),
    /// No bundle was learned, so that nothing verifies the SVID.
    #[error("there is no bundle to verify the SVID with")]
    NoBundle,
    /// The agent is ending.
    #[error(transparent)]
    Ending(#[from] BlockingError),
}

/// SPIRE's agent allows 30 s per call.
const WITHIN: Duration = Duration::from_secs(30);

/// A new key's slot, the key and its CSR.
struct Request {
    pair: KeyPair,
    csr: Vec<u8>,
    stored: Result<(), KeysError>,
}

impl RenewalError {
    /// Why the server denies this agent, if it does and says so.
    pub(super) fn denial(&self) -> Option<Reason> {
        match self {
            Self::Call(status) => Reason::of(status),
            Self::Exchange(error) if error.is_ban() => Some(Reason::AgentBanned),
            _ => None,
        }
    }

    /// How far the attempt came. Reading the operator's bundle is no work of the server's.
    pub(super) fn reach(&self) -> Reach {
        match self {
            Self::Bootstrap(_) => Reach::Nobody,
            Self::Connect(error) => error.into(),
            _ => Reach::Somebody,
        }
    }

    /// How metrics call it.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Call(status) => Outcome::code(status.code()),
            Self::Exchange(ExchangeError::Call(status)) => Outcome::code(status.code()),
            Self::Timeout | Self::Exchange(ExchangeError::Timeout) => {
                Outcome::code(Code::DeadlineExceeded)
            }
            Self::Connect(_) => Outcome::UNAVAILABLE,
            _ => Outcome::code(Code::Unknown),
        }
    }
}

impl Renewer {
    /// Attests this node over a connection of its own.
    pub(super) async fn attest(&self, slot: Slot) -> Result<Renewed, RenewalError> {
        let attestor = Arc::clone(&self.attestor);
        let payload = TaskSet::blocking(move || attestor.payload()).await??;
        let channel = self.connect().await?;
        let request = self.make_request(slot).await?;
        match (request.stored, self.attestor.validity()) {
            // What a join token gives must survive a restart.
            (Err(error), ProofValidity::Once) => return Err(error.into()),
            (Err(error), ProofValidity::Again) => {
                tracing::warn!(%error, "the agent's new key lives in memory only");
            }
            (Ok(()), _) => {}
        }
        let attested = exchange::attest(channel, &self.attestor, payload, request.csr).await?;
        let (pair, bundle) = (request.pair, attested.bundle);
        let now = self.clock.now();
        let svid = own_svid::check(&self.trust_domain, attested.chain, &pair, &bundle, now)?;
        let (trust, is_reattestable) = (Arc::clone(&self.trust), attested.is_reattestable);
        TaskSet::blocking(move || {
            if let Err(error) = trust.learn(bundle) {
                tracing::warn!(%error, "the bundle cannot be stored");
            }
        })
        .await?;
        self.keep(&svid, is_reattestable).await?;
        Ok(Renewed { svid, is_reattestable })
    }

    /// Has the server certify a new key in place of `current`'s.
    pub(super) async fn renew(
        &self,
        channel: Channel,
        slot: Slot,
    ) -> Result<Renewed, RenewalError> {
        let bundle = self.trust.learned().current().ok_or(RenewalError::NoBundle)?;
        let request = self.make_request(slot).await?;
        if let Err(error) = request.stored {
            // The old SVID and its key are still on disk, and a restart would renew again.
            tracing::warn!(%error, "the agent's new key lives in memory only");
        }
        let params = Some(AgentX509svidParams { csr: request.csr.into() });
        let mut client = AgentClient::new(channel);
        let answer = timeout(WITHIN, client.renew_agent(RenewAgentRequest { params }))
            .await
            .map_err(|_| RenewalError::Timeout)?
            .map_err(|status| RenewalError::Call(Box::new(status)))?;
        let chain = svid::chain(&answer.into_inner().svid.ok_or(RenewalError::Empty)?)?;
        let now = self.clock.now();
        let svid = own_svid::check(&self.trust_domain, chain, &request.pair, &bundle, now)?;
        self.keep(&svid, false).await?;
        Ok(Renewed { svid, is_reattestable: false })
    }

    async fn connect(&self) -> Result<Channel, RenewalError> {
        let trust = Arc::clone(&self.trust);
        let believed: ServerTrust = TaskSet::blocking(move || trust.next_attempt()).await??;
        let connected = self.upstream.connect(believed, Credentials::Anonymous).await;
        connected.map_err(|error| {
            if error.peer().is_some() {
                self.trust.refused();
            }
            error.into()
        })
    }

    async fn make_request(&self, slot: Slot) -> Result<Request, RenewalError> {
        let keys = Arc::clone(&self.keys);
        TaskSet::blocking(move || {
            let pair = KeyPair::generate(KeyType::EcP256)?;
            let csr = csr::create(&pair, &leaf_subject(None), None)?;
            let stored = keys.put(slot, pair.secret_key()?);
            Ok(Request { pair, csr, stored })
        })
        .await?
    }

    /// Stores an SVID; the agent works on without when it cannot be stored.
    async fn keep(&self, svid: &Arc<X509Svid>, is_reattestable: bool) -> Result<(), BlockingError> {
        let (node, svid) = (Arc::clone(&self.node), Arc::clone(svid));
        TaskSet::blocking(move || {
            let stored = node.update(|state| {
                state.svid = svid.chain().to_vec();
                state.is_reattestable = is_reattestable;
            });
            if let Err(error) = stored {
                tracing::warn!(%error, "the agent's SVID cannot be stored");
            }
        })
        .await
    }
}
