//! The agent service: attestation and renewal for agents, lists and bans for operators.
//!
//! Who may call is decided before a request gets here. Order and texts of the answers are SPIRE's
//! (server.md §1.9, §1.11), but every CSR must prove possession of its key.

use super::{
    ids,
    nodes::{self, Filter},
};
use crate::{
    runtime::{Clock, TaskSet},
    server::{
        attest::{attestors::Attestors, join_token::Token},
        ca::Ca,
        caller::Caller,
        ratelimit::{RateError, RateLimits},
        store::{Store, StoreError, TokenError},
    },
    spiffe::{EntrySpec, Selector, SelectorSet, SpiffeId, TrustDomain, entry::Hint, id, selector},
    transport::status::{Kind, Reason},
    wire::{
        self,
        proto::spire::api::{
            server::agent::v1::{
                AgentX509svidParams, AttestAgentRequest, AttestAgentResponse, BanAgentRequest,
                CountAgentsRequest, CountAgentsResponse, CreateJoinTokenRequest,
                DeleteAgentRequest, GetAgentRequest, ListAgentsRequest, ListAgentsResponse,
                PostStatusRequest, PostStatusResponse, RenewAgentRequest, RenewAgentResponse,
                agent_server, attest_agent_request, attest_agent_response,
            },
            types,
        },
    },
    x509::csr,
};
use std::{error::Error as StdError, time::Duration};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

/// For the first message of an attestation; an agent has it ready.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// The agent service of one trust domain.
#[derive(Clone)]
pub struct AgentService {
    trust_domain: TrustDomain,
    store: Store,
    ca: Ca,
    attestors: Attestors,
    limits: RateLimits,
    clock: Clock,
}

/// What an agent sends to be attested, checked for completeness.
struct Attestation {
    kind: String,
    payload: Vec<u8>,
    csr: Vec<u8>,
}

impl AgentService {
    /// Serves the agents of `trust_domain`.
    #[must_use]
    pub fn new(
        trust_domain: TrustDomain,
        store: Store,
        ca: Ca,
        attestors: Attestors,
        limits: RateLimits,
        clock: Clock,
    ) -> Self {
        Self { trust_domain, store, ca, attestors, limits, clock }
    }

    async fn attest(
        &self,
        caller: &Caller,
        requests: &mut Streaming<AttestAgentRequest>,
    ) -> Result<attest_agent_response::Result, Status> {
        let limited = self.limits.attestation(caller).await;
        limited.map_err(|error| too_fast("attest agent", error))?;
        let request = first_request(requests).await?;
        let Attestation { kind, payload, csr } = attestation(request)?;
        let attested = self.attestors.attest(kind, &payload, csr).await.map_err(|error| {
            tracing::warn!(?caller, error = &error as &dyn StdError, "agent not attested");
            error.status()
        })?;
        let serial = attested.chain.first().map(|leaf| leaf.serial().to_string());
        let serial = serial.as_deref();
        tracing::info!(agent = %attested.id, serial, "agent attested");
        let svid = Some(wire::svid::to_wire(&attested.id, &attested.chain, ""));
        Ok(attest_agent_response::Result { svid, reattestable: attested.is_reattestable })
    }

    async fn renew(
        &self,
        agent: &SpiffeId,
        params: Option<AgentX509svidParams>,
    ) -> Result<types::X509svid, Status> {
        let node =
            self.store.node(agent).ok_or_else(|| Kind::NotFound.status("agent not found"))?;
        if node.can_reattest {
            let text = "agent must reattest instead of renew";
            return Err(Reason::AgentMustReattest.status(text));
        }
        let params = params.ok_or_else(|| Kind::Invalid.status("params cannot be nil"))?;
        if params.csr.is_empty() {
            return Err(Kind::Invalid.status("missing CSR"));
        }
        let (ca, id) = (self.ca.clone(), agent.clone());
        let chain = TaskSet::blocking(move || {
            let key = csr::verify(&params.csr)
                .map_err(|error| because(Kind::Invalid, "failed to parse CSR", &error))?;
            ca.sign_agent(&id, key)
                .map_err(|error| because(error.kind(), "failed to sign X509 SVID", &error))
        })
        .await
        .map_err(|error| because(Kind::Unavailable, "the server is shutting down", &error))??;
        let leaf =
            chain.first().ok_or_else(|| Kind::Internal.status("an empty chain was signed"))?;
        let serial = leaf.serial().to_string();
        let stored = self.store.set_new_serial(agent, serial.clone(), leaf.expires_at()).await;
        stored.map_err(|error| not_updated(&error))?;
        tracing::info!(agent = %agent, serial, "agent SVID renewed");
        Ok(wire::svid::to_wire(agent, &chain, ""))
    }

    async fn create_token(
        &self,
        request: CreateJoinTokenRequest,
    ) -> Result<types::JoinToken, Status> {
        if request.ttl < 1 {
            return Err(Kind::Invalid.status("ttl is required, you must provide one"));
        }
        let alias = match &request.agent_id {
            Some(id) => Some(ids::workload(&self.trust_domain, Some(id))?),
            None => None,
        };
        let token = match request.token.as_str() {
            "" => Token::generate(),
            value => {
                Token::parse(value).map_err(|error| Kind::Invalid.status(error.to_string()))?
            }
        };
        let alias = match alias {
            Some(spiffe_id) => Some(alias_entry(&token, &self.trust_domain, spiffe_id)?),
            None => None,
        };
        let expires_at = self.clock.unix_now() + i64::from(request.ttl);
        let value = token.secret().to_owned();
        let created = self.store.create_join_token(value.clone(), expires_at, alias).await;
        created.map_err(|error| not_created(&error))?;
        tracing::info!(ttl_secs = request.ttl, "join token created");
        Ok(types::JoinToken { value, expires_at })
    }
}

/// An agent sends its proof at once, or it holds a stream for nothing.
async fn first_request(
    requests: &mut Streaming<AttestAgentRequest>,
) -> Result<AttestAgentRequest, Status> {
    let failed = |kind: Kind, cause: &str| {
        kind.status(format!("failed to receive request from stream: {cause}"))
    };
    match timeout(REQUEST_WITHIN, requests.message()).await {
        Ok(Ok(Some(request))) => Ok(request),
        Ok(Ok(None)) => Err(failed(Kind::Invalid, "EOF")),
        Ok(Err(error)) => Err(failed(Kind::Invalid, error.message())),
        Err(_) => Err(failed(Kind::Deadline, "nothing came in time")),
    }
}

/// Checks what an agent sent, in SPIRE's order.
fn attestation(request: AttestAgentRequest) -> Result<Attestation, Status> {
    let malformed = |what| Kind::Invalid.status(format!("malformed param: missing {what}"));
    let Some(attest_agent_request::Step::Params(params)) = request.step else {
        return Err(malformed("params"));
    };
    let data = params.data.ok_or_else(|| malformed("attestation data"))?;
    let svid = params.params.ok_or_else(|| malformed("X509-SVID parameters"))?;
    if svid.csr.is_empty() {
        return Err(malformed("CSR"));
    }
    if data.r#type.is_empty() {
        return Err(malformed("attestation data type"));
    }
    if data.payload.is_empty() {
        return Err(malformed("attestation data payload"));
    }
    Ok(Attestation { kind: data.r#type, payload: data.payload.into(), csr: svid.csr.into() })
}

/// The entry that gives the user of `token` a second name. Its form is what its removal with the agent
/// goes by.
fn alias_entry(
    token: &Token,
    trust_domain: &TrustDomain,
    spiffe_id: SpiffeId,
) -> Result<EntrySpec, Status> {
    let failed = |error: &dyn StdError| {
        because(Kind::Invalid, "failed to create join token registration entry", error)
    };
    let parent_id = token.agent_id(trust_domain).map_err(|error: id::Error| failed(&error))?;
    let is_the_agent = Selector::new("spiffe_id", parent_id.as_str())
        .map_err(|error: selector::Error| failed(&error))?;
    Ok(EntrySpec {
        spiffe_id,
        parent_id,
        selectors: SelectorSet::from_iter([is_the_agent]),
        x509_svid_ttl_secs: 0,
        jwt_svid_ttl_secs: 0,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: 0,
        dns_names: Vec::new(),
        store_svid: false,
        hint: Hint::default(),
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    })
}

/// SPIRE's form of an error with its cause.
fn because(kind: Kind, what: &str, cause: &dyn StdError) -> Status {
    kind.status(format!("{what}: {cause}"))
}

fn too_fast(what: &str, error: RateError) -> Status {
    because(error.kind(), &format!("rejecting request due to {what} rate limiting"), &error)
}

fn not_updated(error: &StoreError) -> Status {
    match error.kind() {
        Kind::NotFound => Kind::NotFound.status("agent not found"),
        kind => because(kind, "failed to update agent", error),
    }
}

fn not_created(error: &TokenError) -> Status {
    let what = match error {
        TokenError::Alias(_) => "failed to create join token registration entry",
        TokenError::Exists | TokenError::Store(_) => "failed to create token",
    };
    because(error.kind(), what, error)
}

#[tonic::async_trait]
impl agent_server::Agent for AgentService {
    type AttestAgentStream = tokio_stream::Once<Result<AttestAgentResponse, Status>>;

    async fn attest_agent(
        &self,
        request: Request<Streaming<AttestAgentRequest>>,
    ) -> Result<Response<Self::AttestAgentStream>, Status> {
        let caller = Caller::of(&request)?.clone();
        let result = self.attest(&caller, &mut request.into_inner()).await?;
        let step = Some(attest_agent_response::Step::Result(result));
        Ok(Response::new(tokio_stream::once(Ok(AttestAgentResponse { step }))))
    }

    async fn renew_agent(
        &self,
        request: Request<RenewAgentRequest>,
    ) -> Result<Response<RenewAgentResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.limits.signing(caller, 1).await.map_err(|error| too_fast("renew agent", error))?;
        let agent = Caller::agent_of(&request)?.clone();
        let svid = self.renew(&agent, request.into_inner().params).await?;
        Ok(Response::new(RenewAgentResponse { svid: Some(svid) }))
    }

    async fn post_status(
        &self,
        request: Request<PostStatusRequest>,
    ) -> Result<Response<PostStatusResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.limits.status(caller).await.map_err(|error| too_fast("post status", error))?;
        let agent = Caller::agent_of(&request)?.clone();
        let version = request.into_inner().agent_version;
        if version.len() > 255 {
            let text = "agent version is too long (max 255 characters)";
            return Err(Kind::Invalid.status(text));
        }
        if !version.is_empty() {
            let stored = self.store.set_agent_version(&agent, version).await;
            stored.map_err(|error| not_updated(&error))?;
        }
        Ok(Response::new(PostStatusResponse {}))
    }

    async fn create_join_token(
        &self,
        request: Request<CreateJoinTokenRequest>,
    ) -> Result<Response<types::JoinToken>, Status> {
        Ok(Response::new(self.create_token(request.into_inner()).await?))
    }

    async fn count_agents(
        &self,
        request: Request<CountAgentsRequest>,
    ) -> Result<Response<CountAgentsResponse>, Status> {
        let filter = Filter::read(request.into_inner().filter)?;
        let count = self.store.nodes().iter().filter(|node| filter.accepts(node)).count();
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        Ok(Response::new(CountAgentsResponse { count }))
    }

    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        let request = request.into_inner();
        let filter = Filter::read(request.filter)?;
        let page = filter.page(&self.store, request.page_size, &request.page_token)?;
        let mask = request.output_mask.as_ref();
        let agents = page.nodes.iter().map(|node| nodes::to_wire(node, mask)).collect();
        Ok(Response::new(ListAgentsResponse { agents, next_page_token: page.next }))
    }

    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<types::Agent>, Status> {
        let request = request.into_inner();
        let id = ids::agent(&self.trust_domain, request.id.as_ref())?;
        let node = self.store.node(&id).ok_or_else(|| Kind::NotFound.status("agent not found"))?;
        Ok(Response::new(nodes::to_wire(&node, request.output_mask.as_ref())))
    }

    async fn delete_agent(
        &self,
        request: Request<DeleteAgentRequest>,
    ) -> Result<Response<()>, Status> {
        let id = ids::agent(&self.trust_domain, request.into_inner().id.as_ref())?;
        let deleted = self.store.delete_node(&id).await;
        if !deleted.map_err(|error| because(error.kind(), "failed to remove agent", &error))? {
            return Err(Kind::NotFound.status("agent not found"));
        }
        tracing::info!(agent = %id, "agent evicted");
        Ok(Response::new(()))
    }

    async fn ban_agent(&self, request: Request<BanAgentRequest>) -> Result<Response<()>, Status> {
        let id = ids::agent(&self.trust_domain, request.into_inner().id.as_ref())?;
        let banned = self.store.ban_node(&id).await;
        if !banned.map_err(|error| because(error.kind(), "failed to ban agent", &error))? {
            return Err(Kind::NotFound.status("agent not found"));
        }
        tracing::info!(agent = %id, "agent banned");
        Ok(Response::new(()))
    }
}
