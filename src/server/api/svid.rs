//! The SVID service: agents send signing requests for entries that they may use, and get certificates.
//!
//! A request gives a public key and the proof that its sender has the private one; identity, names and
//! life come from the entry alone. Each item of a batch is answered on its own. The arithmetic runs in
//! chunks on the blocking pool, so that several cores share a batch and the event loop stays free.

use crate::{
    runtime::TaskSet,
    server::{
        authorized::Authorized,
        ca::{Ca, SignError},
        caller::Caller,
        ratelimit::{RateError, RateLimits},
    },
    spiffe::{EntryId, SpiffeId},
    transport::status::{Kind, OK_MESSAGE},
    wire::{
        self,
        proto::spire::api::{
            server::svid::v1::{
                BatchNewX509svidRequest, BatchNewX509svidResponse, NewX509svidParams,
                batch_new_x509svid_response::Result as Item, svid_server,
            },
            types,
        },
    },
    x509::csr::{self, CsrError},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::{num::NonZero, sync::Arc, thread::available_parallelism, time::Duration};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// The SVID service. Clones share its limit on simultaneous work.
#[derive(Clone)]
pub struct SvidService {
    ca: Ca,
    authorized: Authorized,
    limits: RateLimits,
    /// How many cores there are: asked once, since the answer takes a dozen system calls.
    parallelism: usize,
    /// One permit per core: more threads at once would only take turns.
    cores: Arc<Semaphore>,
}

/// Why one item of a batch gets no SVID. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
enum ItemError {
    #[error("missing entry ID")]
    NoEntryId,
    #[error("missing CSR")]
    NoCsr,
    #[error("entry not found or not authorized")]
    Entry,
    #[error(transparent)]
    MalformedCsr(CsrError),
    #[error("malformed CSR: {0}")]
    RefusedCsr(CsrError),
    #[error("invalid CSR signature: {0}")]
    CsrSignature(CsrError),
    #[error("failed to sign X509-SVID: {}", causes(.0))]
    Sign(#[from] SignError),
}

/// Why a whole batch is refused. The texts are SPIRE's where it has one.
#[derive(Debug, thiserror::Error)]
enum BatchError {
    #[error("missing parameters")]
    Empty,
    #[error(
        "rejecting request due to certificate signing rate limiting: rate ({0}) exceeds burst size \
         ({MAX_BATCH})"
    )]
    TooLarge(usize),
    #[error("rejecting request due to certificate signing rate limiting: {0}")]
    TooFast(#[from] RateError),
    #[error("the server has more to sign than it can, retry later")]
    Overloaded,
    #[error("signing stopped: the server is shutting down")]
    Stopped,
}

/// SPIRE's limit, which its agents keep.
const MAX_BATCH: usize = 500;

/// About 1.6 ms of work: small enough that batches of several agents take turns, large enough that
/// handing it to another thread (some 20 µs) does not count.
const CHUNK: usize = 32;

/// Agents give up after 30 s; a batch that has waited this long for a core would only be redone.
const QUEUE_DEADLINE: Duration = Duration::from_secs(10);

impl SvidService {
    /// Signs by `ca` what `authorized` allows, as often as `limits` allow.
    #[must_use]
    pub fn new(ca: Ca, authorized: Authorized, limits: RateLimits) -> Self {
        let parallelism = available_parallelism().map_or(1, NonZero::get);
        let cores = Arc::new(Semaphore::new(parallelism));
        Self { ca, authorized, limits, parallelism, cores }
    }

    async fn sign_batch(
        &self,
        caller: &Caller,
        agent: &SpiffeId,
        params: Vec<NewX509svidParams>,
    ) -> Result<Vec<Item>, BatchError> {
        match params.len() {
            0 => return Err(BatchError::Empty),
            1..=MAX_BATCH => {}
            size => return Err(BatchError::TooLarge(size)),
        }
        self.limits.signing(caller, params.len()).await?;
        let mut params = params.into_iter();
        let chunks: Vec<Vec<_>> =
            std::iter::from_fn(|| Some(params.by_ref().take(CHUNK).collect()))
                .take_while(|chunk: &Vec<_>| !chunk.is_empty())
                .collect();
        stream::iter(chunks)
            .map(|chunk| self.sign_chunk(agent.clone(), chunk))
            .buffered(self.parallelism)
            .try_concat()
            .await
    }

    async fn sign_chunk(
        &self,
        agent: SpiffeId,
        chunk: Vec<NewX509svidParams>,
    ) -> Result<Vec<Item>, BatchError> {
        let waited = tokio::time::timeout(QUEUE_DEADLINE, Arc::clone(&self.cores).acquire_owned());
        let permit = waited.await.map_err(|_| BatchError::Overloaded)?;
        let service = self.clone();
        TaskSet::blocking(move || {
            let _held_while_working = permit;
            chunk.iter().map(|params| service.sign(&agent, params).into()).collect()
        })
        .await
        .map_err(|_| BatchError::Stopped)
    }

    fn sign(
        &self,
        agent: &SpiffeId,
        params: &NewX509svidParams,
    ) -> Result<types::X509svid, ItemError> {
        if params.entry_id.is_empty() {
            return Err(ItemError::NoEntryId);
        }
        if params.csr.is_empty() {
            return Err(ItemError::NoCsr);
        }
        let id = EntryId::parse(&params.entry_id).map_err(|_| ItemError::Entry)?;
        let entry = self.authorized.may_use(agent, &id).ok_or(ItemError::Entry)?;
        let public_key = csr::verify(&params.csr).map_err(|error| match error {
            CsrError::Malformed => ItemError::MalformedCsr(error),
            CsrError::Signature => ItemError::CsrSignature(error),
            _ => ItemError::RefusedCsr(error),
        })?;
        let chain = self.ca.sign_workload(&entry, public_key)?;
        if let Some(leaf) = chain.first() {
            tracing::debug!(
                %agent,
                entry_id = %entry.id,
                spiffe_id = %entry.spec.spiffe_id,
                serial = %leaf.serial(),
                expires_at = leaf.expires_at(),
                "X.509-SVID signed"
            );
        }
        Ok(wire::svid::to_wire(&entry.spec.spiffe_id, &chain, entry.spec.hint.as_str()))
    }
}

/// An error with its causes: the requester sees no log.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl ItemError {
    const fn kind(&self) -> Kind {
        match self {
            Self::NoEntryId
            | Self::NoCsr
            | Self::MalformedCsr(_)
            | Self::RefusedCsr(_)
            | Self::CsrSignature(_) => Kind::Invalid,
            Self::Entry => Kind::NotFound,
            Self::Sign(error) => error.kind(),
        }
    }
}

impl BatchError {
    const fn kind(&self) -> Kind {
        match self {
            Self::Empty => Kind::Invalid,
            Self::TooLarge(_) => Kind::Exhausted,
            Self::TooFast(error) => error.kind(),
            Self::Overloaded | Self::Stopped => Kind::Unavailable,
        }
    }
}

/// The status is always there: SPIRE's agents read it without looking whether it is.
impl From<Result<types::X509svid, ItemError>> for Item {
    fn from(outcome: Result<types::X509svid, ItemError>) -> Self {
        let (code, message, svid) = match outcome {
            Ok(svid) => (0, OK_MESSAGE.to_owned(), Some(svid)),
            Err(error) => (error.kind().number(), error.to_string(), None),
        };
        Self { status: Some(types::Status { code, message }), svid }
    }
}

impl From<BatchError> for Status {
    fn from(error: BatchError) -> Self {
        error.kind().status(error.to_string())
    }
}

#[tonic::async_trait]
impl svid_server::Svid for SvidService {
    async fn batch_new_x509svid(
        &self,
        request: Request<BatchNewX509svidRequest>,
    ) -> Result<Response<BatchNewX509svidResponse>, Status> {
        let (caller, agent) = (Caller::of(&request)?.clone(), Caller::agent_of(&request)?.clone());
        let results = self.sign_batch(&caller, &agent, request.into_inner().params).await?;
        Ok(Response::new(BatchNewX509svidResponse { results }))
    }
}
