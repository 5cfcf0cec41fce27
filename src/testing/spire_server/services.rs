//! The server's calls. Every one is noted before it is answered.

use super::state::{Asked, Behaviour, SpireServer};
use crate::{
    spiffe::TrustDomain,
    wire::proto::{
        finial::agent::v1::{
            WatchEvent, WatchRequest,
            watch_server::{Watch, WatchServer},
        },
        spire::api::{
            server::{
                agent::v1::{
                    AttestAgentRequest, AttestAgentResponse, BanAgentRequest, CountAgentsRequest,
                    CountAgentsResponse, CreateJoinTokenRequest, DeleteAgentRequest,
                    GetAgentRequest, ListAgentsRequest, ListAgentsResponse, PostStatusRequest,
                    PostStatusResponse, RenewAgentRequest, RenewAgentResponse,
                    agent_server::{Agent, AgentServer},
                    attest_agent_request, attest_agent_response,
                },
                bundle::v1::{
                    CountBundlesRequest, CountBundlesResponse, GetBundleRequest,
                    GetFederatedBundleRequest,
                    bundle_server::{Bundle, BundleServer},
                },
                entry::v1::{
                    BatchCreateEntryRequest, BatchCreateEntryResponse, BatchDeleteEntryRequest,
                    BatchDeleteEntryResponse, BatchUpdateEntryRequest, BatchUpdateEntryResponse,
                    CountEntriesRequest, CountEntriesResponse, EntryRevision,
                    GetAuthorizedEntriesRequest, GetAuthorizedEntriesResponse, GetEntryRequest,
                    ListEntriesRequest, ListEntriesResponse, SyncAuthorizedEntriesRequest,
                    SyncAuthorizedEntriesResponse,
                    entry_server::{Entry, EntryServer},
                },
                svid::v1::{
                    BatchNewX509svidRequest, BatchNewX509svidResponse, NewX509svidParams,
                    batch_new_x509svid_response::Result as SignResult,
                    svid_server::{Svid, SvidServer},
                },
            },
            types,
        },
    },
    x509::csr,
};
use futures_util::Stream;
use std::pin::Pin;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::Router},
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Messages on their way to one agent.
const QUEUE: usize = 64;

pub(super) fn add_all(mut server: Server, spire: &SpireServer) -> Router {
    server
        .add_service(AgentServer::new(spire.clone()))
        .add_service(BundleServer::new(spire.clone()))
        .add_service(EntryServer::new(spire.clone()))
        .add_service(SvidServer::new(spire.clone()))
        .add_service(WatchServer::new(spire.clone()))
}

impl SpireServer {
    fn refuse_denied(&self) -> Result<(), Status> {
        match self.set(|server| server.denial) {
            Some(reason) => Err(reason.status("denied by the test")),
            None => Ok(()),
        }
    }

    fn sign_agent(&self, csr: &[u8]) -> Result<types::X509svid, Status> {
        let key = csr::verify(csr).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (name, life) = self.set(|server| (server.agent_name.clone(), server.agent_life));
        let trust_domain = TrustDomain::parse("example.org").unwrap();
        let id = trust_domain.member(&format!("/spire/agent/{name}")).unwrap();
        Ok(self.sign(&id, &key, life))
    }

    fn sign_workload(&self, params: &NewX509svidParams) -> Result<types::X509svid, Status> {
        let failure = self.set(|server| server.sign_failures.get(&params.entry_id).cloned());
        if let Some(failure) = failure {
            return Err(failure);
        }
        let found = self.set(|server| {
            let entry = server.entries.get(&params.entry_id)?;
            Some((entry.spec.spiffe_id.clone(), server.svid_life))
        });
        let (id, life) = found.ok_or_else(|| Status::not_found("entry not found"))?;
        let key = csr::verify(&params.csr).map_err(|e| Status::invalid_argument(e.to_string()))?;
        Ok(self.sign(&id, &key, life))
    }

    fn snapshot(&self) -> WatchEvent {
        self.set(|server| WatchEvent {
            snapshot: true,
            entries: server.entries.values().map(types::Entry::from).collect(),
            bundles: bundles(server),
            ..WatchEvent::default()
        })
    }
}

fn bundles(server: &Behaviour) -> Vec<types::Bundle> {
    let own = std::iter::once(&server.bundle);
    own.chain(server.federated.values()).map(types::Bundle::from).collect()
}

#[tonic::async_trait]
impl Agent for SpireServer {
    type AttestAgentStream = Answers<AttestAgentResponse>;

    async fn attest_agent(
        &self,
        request: Request<Streaming<AttestAgentRequest>>,
    ) -> Result<Response<Self::AttestAgentStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|request| request.step);
        let Some(attest_agent_request::Step::Params(params)) = first else {
            return Err(Status::invalid_argument("malformed param: missing params"));
        };
        let payload = params.data.unwrap_or_default().payload;
        self.note(Asked::Attest(String::from_utf8_lossy(&payload).into_owned()));
        if let Some(failure) = self.set(|server| server.attest_failures.pop_front()) {
            return Err(failure);
        }
        let svid = self.sign_agent(&params.params.unwrap_or_default().csr)?;
        let reattestable = self.set(|server| server.is_reattestable);
        let result = attest_agent_response::Result { svid: Some(svid), reattestable };
        let step = Some(attest_agent_response::Step::Result(result));
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(AttestAgentResponse { step })))))
    }

    async fn renew_agent(
        &self,
        request: Request<RenewAgentRequest>,
    ) -> Result<Response<RenewAgentResponse>, Status> {
        self.note(Asked::Renew);
        self.refuse_denied()?;
        if let Some(failure) = self.set(|server| server.renew_failures.pop_front()) {
            return Err(failure);
        }
        let params = request.into_inner().params.unwrap_or_default();
        Ok(Response::new(RenewAgentResponse { svid: Some(self.sign_agent(&params.csr)?) }))
    }

    async fn post_status(
        &self,
        _: Request<PostStatusRequest>,
    ) -> Result<Response<PostStatusResponse>, Status> {
        self.note(Asked::Status);
        Ok(Response::new(PostStatusResponse {}))
    }

    async fn count_agents(
        &self,
        _: Request<CountAgentsRequest>,
    ) -> Result<Response<CountAgentsResponse>, Status> {
        Err(not_an_agents_call())
    }

    async fn list_agents(
        &self,
        _: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        Err(not_an_agents_call())
    }

    async fn get_agent(
        &self,
        _: Request<GetAgentRequest>,
    ) -> Result<Response<types::Agent>, Status> {
        Err(not_an_agents_call())
    }

    async fn delete_agent(&self, _: Request<DeleteAgentRequest>) -> Result<Response<()>, Status> {
        Err(not_an_agents_call())
    }

    async fn ban_agent(&self, _: Request<BanAgentRequest>) -> Result<Response<()>, Status> {
        Err(not_an_agents_call())
    }

    async fn create_join_token(
        &self,
        _: Request<CreateJoinTokenRequest>,
    ) -> Result<Response<types::JoinToken>, Status> {
        Err(not_an_agents_call())
    }
}

#[tonic::async_trait]
impl Bundle for SpireServer {
    async fn get_bundle(
        &self,
        _: Request<GetBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        self.note(Asked::Bundle);
        Ok(Response::new(self.set(|server| types::Bundle::from(&server.bundle))))
    }

    async fn get_federated_bundle(
        &self,
        request: Request<GetFederatedBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        let name = request.into_inner().trust_domain;
        self.note(Asked::FederatedBundle(name.clone()));
        let found = self.set(|server| server.federated.get(&name).map(types::Bundle::from));
        found.map(Response::new).ok_or_else(|| Status::not_found("bundle not found"))
    }

    async fn count_bundles(
        &self,
        _: Request<CountBundlesRequest>,
    ) -> Result<Response<CountBundlesResponse>, Status> {
        Err(not_an_agents_call())
    }
}

#[tonic::async_trait]
impl Entry for SpireServer {
    type SyncAuthorizedEntriesStream = Answers<SyncAuthorizedEntriesResponse>;

    async fn sync_authorized_entries(
        &self,
        request: Request<Streaming<SyncAuthorizedEntriesRequest>>,
    ) -> Result<Response<Self::SyncAuthorizedEntriesStream>, Status> {
        self.note(Asked::Sync);
        self.refuse_denied()?;
        let (answers, outgoing) = mpsc::channel(QUEUE);
        let (server, mut requests) = (self.clone(), request.into_inner());
        self.0.tasks.spawn("sync", async move {
            let first = requests.next().await;
            assert!(first.unwrap().unwrap().output_mask.unwrap().revision_number);
            for page in server.first_pages() {
                let _gone = answers.send(Ok(page)).await;
            }
            while let Some(Ok(request)) = requests.next().await {
                server.note(Asked::SyncIds(request.ids.len()));
                for page in server.requested_pages(&request.ids) {
                    let _gone = answers.send(Ok(page)).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn count_entries(
        &self,
        _: Request<CountEntriesRequest>,
    ) -> Result<Response<CountEntriesResponse>, Status> {
        Err(not_an_agents_call())
    }

    async fn list_entries(
        &self,
        _: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        Err(not_an_agents_call())
    }

    async fn get_entry(
        &self,
        _: Request<GetEntryRequest>,
    ) -> Result<Response<types::Entry>, Status> {
        Err(not_an_agents_call())
    }

    async fn batch_create_entry(
        &self,
        _: Request<BatchCreateEntryRequest>,
    ) -> Result<Response<BatchCreateEntryResponse>, Status> {
        Err(not_an_agents_call())
    }

    async fn batch_update_entry(
        &self,
        _: Request<BatchUpdateEntryRequest>,
    ) -> Result<Response<BatchUpdateEntryResponse>, Status> {
        Err(not_an_agents_call())
    }

    async fn batch_delete_entry(
        &self,
        _: Request<BatchDeleteEntryRequest>,
    ) -> Result<Response<BatchDeleteEntryResponse>, Status> {
        Err(not_an_agents_call())
    }

    async fn get_authorized_entries(
        &self,
        _: Request<GetAuthorizedEntriesRequest>,
    ) -> Result<Response<GetAuthorizedEntriesResponse>, Status> {
        Err(not_an_agents_call())
    }
}

impl SpireServer {
    /// SPIRE 1.15: everything in one message up to a page, else revisions in pages.
    fn first_pages(&self) -> Vec<SyncAuthorizedEntriesResponse> {
        let (page, entries) = self.set(|server| {
            (server.page, server.entries.values().map(types::Entry::from).collect::<Vec<_>>())
        });
        if entries.len() <= page {
            let whole = SyncAuthorizedEntriesResponse { entries, ..Default::default() };
            return vec![whole];
        }
        let revisions: Vec<_> = entries
            .iter()
            .map(|entry| EntryRevision {
                id: entry.id.clone(),
                revision_number: entry.revision_number,
                created_at: entry.created_at,
            })
            .collect();
        let last = revisions.len().div_ceil(page) - 1;
        let pages = revisions.chunks(page).enumerate();
        let response = |(number, lines): (usize, &[EntryRevision])| SyncAuthorizedEntriesResponse {
            entry_revisions: lines.to_vec(),
            entries: Vec::new(),
            more: number < last,
        };
        pages.map(response).collect()
    }

    fn requested_pages(&self, ids: &[String]) -> Vec<SyncAuthorizedEntriesResponse> {
        let page = self.set(|server| server.page);
        assert!(ids.len() <= page, "asked for {} entries, a page has {page}", ids.len());
        let entries = self.set(|server| {
            let found = ids.iter().filter_map(|id| server.entries.get(id));
            found.map(types::Entry::from).collect::<Vec<_>>()
        });
        // In two messages, as a server may.
        let (head, tail) = entries.split_at(entries.len() / 2);
        let response = |entries: &[types::Entry], more| SyncAuthorizedEntriesResponse {
            entries: entries.to_vec(),
            entry_revisions: Vec::new(),
            more,
        };
        vec![response(head, true), response(tail, false)]
    }
}

#[tonic::async_trait]
impl Svid for SpireServer {
    async fn batch_new_x509svid(
        &self,
        request: Request<BatchNewX509svidRequest>,
    ) -> Result<Response<BatchNewX509svidResponse>, Status> {
        let params = request.into_inner().params;
        self.note(Asked::Sign(params.iter().map(|params| params.entry_id.clone()).collect()));
        self.refuse_denied()?;
        let result = |params: &NewX509svidParams| match self.sign_workload(params) {
            Ok(svid) => SignResult { status: Some(types::Status::default()), svid: Some(svid) },
            Err(status) => {
                let (code, message) = (status.code() as i32, status.message().to_owned());
                SignResult { status: Some(types::Status { code, message }), svid: None }
            }
        };
        Ok(Response::new(BatchNewX509svidResponse { results: params.iter().map(result).collect() }))
    }
}

#[tonic::async_trait]
impl Watch for SpireServer {
    type WatchStream = Answers<WatchEvent>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !self.set(|server| server.has_watch) {
            return Err(Status::unimplemented("unknown service finial.agent.v1.Watch"));
        }
        self.note(Asked::Watch);
        self.refuse_denied()?;
        let (events, outgoing) = mpsc::channel(QUEUE);
        let _fits = events.send(Ok(self.snapshot())).await;
        self.0.watchers.lock().push(events);
        let (server, mut requests) = (self.clone(), request.into_inner());
        self.0.tasks.spawn("acknowledgements", async move {
            while let Some(Ok(request)) = requests.next().await {
                server.note(Asked::Serves(request.served_bundle_sequence));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

fn not_an_agents_call() -> Status {
    Status::permission_denied("not an agent's call")
}
